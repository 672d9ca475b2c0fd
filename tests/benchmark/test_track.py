"""Records into MLflow by a command of its own, for clusters whose nodes can't reach it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from analysis.store import read_runs
from benchmark import track
from benchmark.planning.errors import LaunchError
from benchmark.runs.lease import Lease
from benchmark.tracking.tracker import TrackingError
from tests.benchmark.tracking.test_tracker import empty, finished, root

__all__ = ["empty", "root"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),  # MLflow never closes its connections
]


def test_it_sends_what_is_there_and_then_what_is_new(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(root, "ab0", seed=0)
    assert track.run(["--out", str(root)]) == 0
    assert "toy/v1: 1 run, 0 could not be sent" in capsys.readouterr().out
    finished(root, "ab1", seed=1)
    assert track.run(["--out", str(root)]) == 0
    assert sorted(read_runs(str(root))["tags.seed"]) == ["0", "1"]


def test_there_is_one_at_a_time(root: Path) -> None:
    lease = Lease(root / "tracking.json")
    finished(root)
    with pytest.raises(LaunchError, match="are being sent already"):
        track.run(["--out", str(root)])
    lease.release()
    assert track.run(["--out", str(root)]) == 0


def test_a_folder_without_runs_is_told(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="name their folder with --out"):
        track.run(["--out", str(tmp_path)])


def test_a_damaged_run_keeps_no_other_from_being_sent(
    root: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    finished(root, "ab0", seed=0)
    (finished(root, "ab1", seed=1).folder / "config.json").write_text("")
    assert track.run(["--out", str(root)]) == 1
    assert list(read_runs(str(root))["tags.seed"]) == ["0"]
    assert "ab1/config.json is not valid JSON" in capsys.readouterr().err


class Enough(BaseException):
    """Ends the loop, as Ctrl-C would."""


def after(rounds: int, then: Callable[[], object]) -> Callable[[float], None]:
    """A sleep that does something, and at the last round ends."""
    left = iter(range(rounds))

    def sleep(_: float) -> None:
        if next(left, None) is None:
            raise Enough
        then()

    return sleep


def test_it_follows_a_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(root, "ab0", seed=0)
    monkeypatch.setattr(track, "time", SimpleNamespace(sleep=after(1, lambda: finished(root, "ab1", seed=1))))
    with pytest.raises(Enough):
        track.run(["--out", str(root), "--follow"])
    assert sorted(read_runs(str(root))["tags.seed"]) == ["0", "1"]
    assert not (root / "tracking.json").exists()


def test_a_tracker_that_is_away_is_waited_for_while_it_follows(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    finished(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError):
        track.run(["--out", str(root)])
    back = after(1, lambda: monkeypatch.delenv("MLFLOW_TRACKING_URI"))
    monkeypatch.setattr(track, "time", SimpleNamespace(sleep=back))
    with pytest.raises(Enough):
        track.run(["--out", str(root), "--follow"])
    assert "No MLflow server answers" in capsys.readouterr().err
    assert len(read_runs(str(root))) == 1
