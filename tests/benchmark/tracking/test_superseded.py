"""Runs that were set aside in MLflow: each keeps its own run, hidden, whatever was away when it happened."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.leaderboard import main as leaderboard
from analysis.store import read_runs
from benchmark.runs.attempts import METHOD_CODE, SHARED_CODE
from benchmark.runs.superseded import set_aside, take_back
from benchmark.tracking.address import default_uri
from benchmark.tracking.pusher import Pusher
from benchmark.tracking.spool import Pushed, Spool
from benchmark.tracking.tracker import Tracker
from tests.benchmark.tracking.test_tracker import EXPERIMENT, KEY, Run, empty, root

__all__ = ["empty", "root"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),  # MLflow never closes its connections
]


def made(root: Path, code: str, fails: bool = False) -> Path:
    """The run, made by this code of its method."""
    run = Run(root)
    run.attempt(1, **{METHOD_CODE: code, SHARED_CODE: "s"})
    run.log(10, 1001, **{"evaluation/success": 0.5})
    if fails:
        run.end(1, "failed")
        run.write("failed.json", {"error": "Diverged", "message": "it diverged", "attempt": 1})
    else:
        run.finish()
    return run.folder


def aside(root: Path, folder: Path, code: str) -> Path:
    """Set aside, as a launch does it."""
    assert set_aside(root, folder.name, "other than that")
    return root / "superseded" / KEY / code


def back(root: Path, place: Path) -> Path:
    assert take_back(root, KEY, place.name)
    return root / "runs" / KEY[:2] / KEY


def push(root: Path, *folders: Path) -> None:
    assert Tracker(default_uri(root), EXPERIMENT).push_all(folders) == []


def found(root: Path) -> dict[str, tuple[str, str]]:
    """Code -> whether it is hidden, and its status."""
    runs = read_runs(str(root)).to_dicts()
    assert {run["tags.bench.key"] for run in runs} == {KEY}
    codes = [run[f"tags.{METHOD_CODE}"] for run in runs]
    assert len(set(codes)) == len(codes)
    return {run[f"tags.{METHOD_CODE}"]: (run["tags.bench.superseded"], run["status"]) for run in runs}


Case = Callable[[Path], None]


def in_order(root: Path) -> None:
    old = made(root, "a")
    push(root, old)
    old = aside(root, old, "a")
    push(root, old)
    push(root, made(root, "b"))


def store_away_at_the_launch(root: Path) -> None:
    """The mark could not be sent before the new run is; it is sent later."""
    old = made(root, "a")
    push(root, old)
    old = aside(root, old, "a")
    push(root, made(root, "b"))
    push(root, old)


def old_run_never_sent(root: Path) -> None:
    old = aside(root, made(root, "a"), "a")
    push(root, made(root, "b"))
    push(root, old)


def old_run_never_sent_and_first(root: Path) -> None:
    push(root, aside(root, made(root, "a"), "a"), made(root, "b"))


def notes_lost(root: Path) -> None:
    """What was sent of which is found again by the store alone."""
    in_order(root)
    for path in root.glob("*/*/*/mlflow.json"):
        path.unlink()
    push(root, *root.glob("superseded/*/*"), *root.glob("runs/*/*"))


@pytest.mark.parametrize(
    "case", [in_order, store_away_at_the_launch, old_run_never_sent, old_run_never_sent_and_first, notes_lost]
)
def test_the_old_run_is_hidden_and_the_new_one_counts(root: Path, case: Case) -> None:
    case(root)
    assert found(root) == {"a": ("true", "FINISHED"), "b": ("false", "FINISHED")}


def test_a_run_may_be_superseded_twice(root: Path) -> None:
    places = []
    for code in "ab":
        folder = made(root, code)
        push(root, folder)
        places.append(aside(root, folder, code))
    push(root, made(root, "c"), *places)
    assert found(root) == {"a": ("true", "FINISHED"), "b": ("true", "FINISHED"), "c": ("false", "FINISHED")}


def test_a_new_run_that_fails_brings_the_old_one_not_back(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The old one stays hidden, and the leaderboard counts a run that failed."""
    old = made(root, "a")
    push(root, old)
    push(root, aside(root, old, "a"), made(root, "b", fails=True))
    assert found(root) == {"a": ("true", "FINISHED"), "b": ("false", "FAILED")}
    from analysis.leaderboard import Arguments

    assert leaderboard(Arguments(((str(root),),), out=root)) == 0
    assert "0 finished, 1 failed" in capsys.readouterr().out


def test_a_run_that_comes_back_is_its_own_again(root: Path) -> None:
    old = made(root, "a")
    push(root, old)
    old = aside(root, old, "a")
    new = made(root, "b")
    push(root, old, new)
    new = aside(root, new, "b")
    old = back(root, old)
    push(root, new, old)
    assert found(root) == {"a": ("false", "FINISHED"), "b": ("true", "FINISHED")}


def test_what_is_set_aside_while_it_is_sent_is_not_noted_as_another(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between what is sent and the note of it a launch would set the run aside, and a new one begin: it waits."""
    old, order = made(root, "a"), []
    tracker = Tracker(default_uri(root), EXPERIMENT)
    log = Tracker._log

    def slowly(self: Tracker, pushed: Pushed, spool: Spool) -> None:
        log(self, pushed, spool)
        mover = threading.Thread(target=lambda: order.append(("aside", set_aside(root, KEY, "b"))), daemon=True)
        mover.start()
        time.sleep(0.5)
        order.append(("sent", old.exists()))

    monkeypatch.setattr(Tracker, "_log", slowly)
    tracker.push(old)
    deadline = time.monotonic() + 30.0
    while len(order) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert order == [("sent", True), ("aside", True)]
    monkeypatch.setattr(Tracker, "_log", log)
    new = made(root, "b")
    push(root, *root.glob("superseded/*/*"), new)
    assert found(root) == {"a": ("true", "FINISHED"), "b": ("false", "FINISHED")}


def test_what_moved_before_it_could_be_sent_is_sent_from_where_it_is(root: Path) -> None:
    old = made(root, "a")
    there = aside(root, old, "a")
    push(root, old, there)
    assert found(root) == {"a": ("true", "FINISHED")}


def test_what_was_only_refused_is_not_sent(root: Path) -> None:
    folder = root / "runs" / KEY[:2] / KEY
    folder.mkdir(parents=True)
    (folder / "refused.json").write_text("{}")
    pusher = Pusher(Tracker(default_uri(root), EXPERIMENT), lambda: [folder, root / "nowhere"])
    assert pusher.push() == []
    assert len(read_runs(str(root))) == 0


def test_a_run_that_went_on_by_other_code_names_both(root: Path) -> None:
    run = Run(root)
    run.attempt(1, **{METHOD_CODE: "a"})
    run.end(1, "stopped")
    run.attempt(2, **{METHOD_CODE: "b"})
    run.end(2, "stopped")
    assert Spool(run.folder).tags[METHOD_CODE] == "a+b"
    shutil.rmtree(run.folder)
    run = Run(root)
    run.attempt(1)
    run.end(1, "stopped")
    assert Spool(run.folder).tags[METHOD_CODE] == ""


def test_what_was_swept_is_in_the_name_and_in_a_tag(root: Path) -> None:
    run = Run(root)
    origin = "command line, swept"
    run.write("provenance.json", {"hyperparameters.alpha": origin, "settings.widths": origin, "settings.clip": "x"})
    run.attempt(1)
    push(root, run.folder)
    run.leave()
    (row,) = read_runs(str(root)).to_dicts()
    assert row["tags.swept"] == "alpha=0.3, widths=[64,64]"
    assert row["tags.mlflow.runName"] == "walk alpha=0.3, widths=[64,64] door-open 0"
