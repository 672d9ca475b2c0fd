"""A whole tiny run, stopped anywhere, packed or alone, with a neighbour that diverges: the numbers are the same."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmark.execution import serving
from benchmark.execution.serving import run_pack
from benchmark.runs import checkpoint
from benchmark.runs.attempts import attempts_of, ends_of, starts_of
from benchmark.runs.records import Records, folder_of, state_of
from benchmark.training import agents, trainer
from benchmark.training.build import share
from benchmark.training.endings import Stopped
from tests.benchmark import tiny

pytestmark = [
    pytest.mark.slow,  # all share the programs that the first compiles
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # numpy's, as in test_checkpoint
]


class Stop:
    """Asks to pause at its n-th question, counted from 1; 0 is never."""

    def __init__(self, at: int = 0) -> None:
        self.at, self.asked = at, 0

    def __call__(self) -> str:
        self.asked += 1
        return "stopped" if self.asked == self.at else ""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Results of the pack that never stopped, and how often it asked whether to stop."""
    root, stop = tmp_path_factory.mktemp("whole"), Stop()
    assert tiny.run(root, tiny.cells(), stop) == []
    return root, stop.asked


def assert_same(root: Path, wanted: Path, cells: list[Any] | None = None, tolerance: float = 0.0) -> None:
    for cell in cells or tiny.cells():
        assert tiny.done(root, cell) == tiny.done(wanted, cell)
        ours, theirs = tiny.history(root, cell), tiny.history(wanted, cell)
        assert [point[:2] for point in ours] == [point[:2] for point in theirs]
        np.testing.assert_allclose(
            [value for *_, value in ours], [value for *_, value in theirs], rtol=tolerance, atol=tolerance
        )
        mine, others = tiny.arrays(root, cell), tiny.arrays(wanted, cell)
        assert mine.keys() == others.keys()
        for name, array in others.items():
            np.testing.assert_allclose(mine[name], array, rtol=tolerance, atol=tolerance, err_msg=name)


def pause(root: Path, at: int, method: str = "flow") -> None:
    cells = tiny.cells(method=method)
    with pytest.raises(Stopped):
        tiny.run(root, cells, Stop(at))
    assert {state_of(folder_of(root, cell.key)) for cell in cells} == {"begun"}


def test_what_a_run_records(whole: tuple[Path, int]) -> None:
    """The points of the protocol: evaluations at multiples and at the ends of phases, none at 0."""
    for cell in tiny.cells():
        points = tiny.history(whole[0], cell)
        assert [step for step, name, _ in points if name == "evaluation/success"] == [10, 20, 30, 40, 44]
        assert [step for step, name, _ in points if name == "offline/loss"] == [5, 10, 15, 20]
        assert [step for step, name, _ in points if name == "online/loss"] == [25, 30, 35, 40, 44]
        last = {name: value for step, name, value in points if step == 44}
        assert tiny.done(whole[0], cell)["online_return"] == last["evaluation/return"]
        assert state_of(folder_of(whole[0], cell.key)) == "done"
        assert all(value != 0.0 for _, name, value in points if name.endswith("/loss"))


def test_seeds_differ(whole: tuple[Path, int]) -> None:
    """Their networks, their data and their noise: equal seeds would pass every other check here."""
    first_losses = [dict(point[1:] for point in tiny.history(whole[0], cell)[:4]) for cell in tiny.cells()]
    assert first_losses[0]["offline/flow_loss"] != first_losses[1]["offline/flow_loss"]  # before either has acted
    one, other = (tiny.arrays(whole[0], cell) for cell in tiny.cells())
    for name in ("rows/row['actions']", "rows/place['observations']", ".parameters['flow']"):
        found = [key for key in one if key.startswith(name)]
        assert found
        assert any(one[key].shape != other[key].shape or (one[key] != other[key]).any() for key in found)


def test_updates_are_counted_as_published(whole: tuple[Path, int]) -> None:
    """One for each offline step; online, one for each step from ``start_training`` on."""
    counts = {int(array) for name, array in tiny.arrays(whole[0], tiny.cells()[0]).items() if name.endswith(".count")}
    assert counts == {20 + 24 - 4 + 1}


def test_every_environment_step_is_stored_once_and_in_order(whole: tuple[Path, int]) -> None:
    for cell in tiny.cells():
        rows = tiny.arrays(whole[0], cell)
        assert len(rows["rows/row['actions']"]) == 24
        ends = rows["rows/row['terminals']"] > 0
        assert ends.any()
        left = rows["rows/row['masks']"][ends] > 0  # after a success nobody looks
        assert len(rows["rows/end['observations']"]) == left.sum()
        clock = rows["rows/place['observations']"][:, 2]  # turns at every step, and is 0 at each start
        starts = np.concatenate([[True], ends[:-1]])
        assert (clock[:24][starts] == 0.0).all()
        assert (clock[1:24][~ends[:-1]] != clock[:23][~ends[:-1]]).all()
        assert (rows["rows/row['masks']"][~ends] == 1.0).all()  # nothing terminates inside a trajectory


def test_a_run_that_stopped_is_the_run_that_never_did(whole: tuple[Path, int], tmp_path: Path) -> None:
    """Stopped at each question in turn, between two dispatches, two chunks or two phases."""
    assert whole[1] > 4 + 4  # the boundaries of the two phases, and more in between
    wrong = []
    for at in range(1, whole[1] + 1):
        root = tmp_path / str(at)
        pause(root, at)
        assert tiny.run(root, tiny.cells()) == []
        found = attempts_of(folder_of(root, tiny.cells()[0].key))
        assert len(starts_of(found)) == 2
        assert [end["how"] for end in ends_of(found).values()] == ["stopped", "done"]
        try:
            assert_same(root, whole[0])
        except AssertionError as error:
            wrong.append(f"stopped at question {at}: {str(error).strip().splitlines()[0]}")
    assert wrong == []


def test_a_run_that_stops_at_every_point_gets_there(whole: tuple[Path, int], tmp_path: Path) -> None:
    for _ in range(3 * whole[1]):
        try:
            tiny.run(tmp_path, tiny.cells(), lambda: "stopped")
            break
        except Stopped:
            pass
    assert_same(tmp_path, whole[0])


@pytest.mark.parametrize("at", [2, 8])
def test_a_run_that_was_killed_starts_from_its_last_checkpoint(
    whole: tuple[Path, int], tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it saves: what it had logged since the last checkpoint is logged once."""

    class Killed(BaseException):
        pass

    calls = iter(range(1, 100))

    def save(*arguments: Any) -> None:
        if next(calls) == at:
            raise Killed
        original(*arguments)

    original = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", save)
    with pytest.raises(Killed):
        tiny.run(tmp_path, tiny.cells())
    monkeypatch.undo()
    assert tiny.run(tmp_path, tiny.cells()) == []
    assert_same(tmp_path, whole[0])


def test_members_that_an_interruption_left_in_different_phases(whole: tuple[Path, int], tmp_path: Path) -> None:
    """Killed between the saves of two members: one stands in the online phase, the other at the end of the first."""
    _, second = tiny.cells()
    pause(tmp_path, 4)  # the end of the offline phase
    kept = tmp_path / "kept"
    shutil.copytree(folder_of(tmp_path, second.key), kept)
    pause(tmp_path, 2)  # the second chunk
    shutil.rmtree(folder_of(tmp_path, second.key))
    shutil.move(kept, folder_of(tmp_path, second.key))
    with pytest.raises(Stopped):  # while the first group runs: the second is told as well
        tiny.run(tmp_path, tiny.cells(), Stop(1))
    for cell in tiny.cells():
        last = (folder_of(tmp_path, cell.key) / "attempts.jsonl").read_text().splitlines()[-1]
        assert json.loads(last)["how"] == "stopped"
    assert tiny.run(tmp_path, tiny.cells()) == []
    assert_same(tmp_path, whole[0], tolerance=1e-5)


def test_a_seed_alone_is_the_seed_in_its_pack(whole: tuple[Path, int], tmp_path: Path) -> None:
    alone = tiny.cells()[1:]
    assert tiny.run(tmp_path, alone) == []
    assert_same(tmp_path, whole[0], alone, tolerance=1e-5)


@pytest.mark.parametrize("change", [{"log_every": 2}, {"evaluate_every": 5}])
def test_a_chunk_goes_on_across_boundaries(whole: tuple[Path, int], tmp_path: Path, change: dict[str, Any]) -> None:
    """How often the host looks changes nothing but what is logged."""
    assert tiny.run(tmp_path, tiny.cells(**change)) == []
    for cell, base in zip(tiny.cells(**change), tiny.cells(), strict=True):
        assert tiny.done(tmp_path, cell) == tiny.done(whole[0], base)
        for name, array in tiny.arrays(whole[0], base).items():
            np.testing.assert_allclose(tiny.arrays(tmp_path, cell)[name], array, rtol=1e-5, atol=1e-5, err_msg=name)


def poisoned(state: agents.State, s: int) -> agents.State:
    """The state with parameters of seed ``s`` that are no numbers."""
    parameters = jax.tree.map(lambda leaf: leaf.at[s].set(jnp.nan), state.parameters)
    return state._replace(parameters=parameters)


def assert_one_diverged(root: Path, whole: Path, failed: list[Any]) -> None:
    """The first seed went on as if it had been alone; the second failed with a sentence, and is tried again."""
    first, second = tiny.cells()
    assert_same(root, whole, [first], tolerance=1e-5)
    assert [cell.key for cell, _ in failed] == [second.key]
    folder = folder_of(root, second.key)
    assert state_of(folder) == "failed"
    failure = json.loads((folder / "failed.json").read_text())
    assert failure["error"] == "Diverged"
    assert failure["message"].startswith("seed 8 of flow on corridor-v0 diverged by step")
    assert "learning_rate" in failure["message"]
    assert '"diverged": 1.0' in (folder / "metrics.jsonl").read_text()


def test_a_seed_that_diverges_leaves_and_is_tried_again(
    whole: tuple[Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = trainer.init
    monkeypatch.setattr(trainer, "init", lambda agent, seeds: poisoned(init(agent, seeds), 1))
    assert_one_diverged(tmp_path, whole[0], tiny.run(tmp_path, tiny.cells()))
    monkeypatch.undo()
    assert tiny.run(tmp_path, tiny.cells()[1:]) == []
    assert_same(tmp_path, whole[0], tiny.cells()[1:], tolerance=1e-5)
    assert not (folder_of(tmp_path, tiny.cells()[1].key) / "failed.json").exists()


def poisoning(function: Callable[..., Any], after: int, s: int) -> Callable[..., Any]:
    """``function``, whose ``after``-th call ends in a gradient that is no number, of a loss that was one."""
    calls = iter(range(1, 1000))

    def call(*arguments: Any, **named: Any) -> Any:
        state, *rest, metrics = function(*arguments, **named)
        if next(calls) != after:
            return state, *rest, metrics
        norm = metrics["gradient_norm"].at[s].set(jnp.nan)
        return poisoned(state, s), *rest, metrics | {"gradient_norm": norm}

    return call


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(4 + 5, id="between two chunks"),
        pytest.param(2, id="by the last update before an evaluation"),
    ],
)
def test_a_seed_that_diverges_unseen_does_not_take_its_mate_along(
    whole: tuple[Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Its next action is not a number, before its next loss could tell."""
    monkeypatch.setattr(trainer, "train", poisoning(trainer.train, after, 1))
    assert_one_diverged(tmp_path, whole[0], tiny.run(tmp_path, tiny.cells()))


def test_when_all_diverge_all_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init = trainer.init
    monkeypatch.setattr(trainer, "init", lambda agent, seeds: poisoned(poisoned(init(agent, seeds), 0), 1))
    failed = tiny.run(tmp_path, tiny.cells())
    assert [cell.seed for cell, _ in failed] == [6, 8]
    assert {state_of(folder_of(tmp_path, cell.key)) for cell in tiny.cells()} == {"failed"}


def test_a_disk_that_is_full_fails_the_pack_with_a_sentence(
    whole: tuple[Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", "state.npz")

    monkeypatch.setattr(np, "savez", full)
    failed = tiny.run(tmp_path, tiny.cells())
    assert {text for _, text in failed} == {
        "No space left on device (state.npz); make room or mend the path, then run the same command again"
    }
    monkeypatch.undo()
    assert tiny.run(tmp_path, tiny.cells()) == []
    assert_same(tmp_path, whole[0])


def test_a_damaged_checkpoint_says_what_to_do(whole: tuple[Path, int], tmp_path: Path) -> None:
    pause(tmp_path, 2)
    folder = folder_of(tmp_path, tiny.cells()[0].key) / "checkpoint"
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    failed = tiny.run(tmp_path, tiny.cells())
    assert {cell.seed for cell, _ in failed} == {6, 8}
    assert "to start this run again" in failed[0][1]
    shutil.rmtree(folder)
    assert tiny.run(tmp_path, tiny.cells()) == []
    assert_same(tmp_path, whole[0], tolerance=1e-5)


def test_a_checkpoint_that_is_damaged_leaves_the_one_before(whole: tuple[Path, int], tmp_path: Path) -> None:
    """The pack goes back to what both members have, and is the same run."""
    pause(tmp_path, 6)
    path = folder_of(tmp_path, tiny.cells()[0].key) / "checkpoint" / "state.npz"
    path.write_bytes(path.read_bytes()[:-100])
    assert tiny.run(tmp_path, tiny.cells()) == []
    assert_same(tmp_path, whole[0])


def test_a_run_that_another_worker_finished_is_left_alone(whole: tuple[Path, int], tmp_path: Path) -> None:
    """Two launchers of one folder: between the plan and the lock the other one was faster."""
    for cell in tiny.cells():
        shutil.copytree(folder_of(whole[0], cell.key), folder_of(tmp_path, cell.key))
    attempts = [(folder_of(tmp_path, cell.key) / "attempts.jsonl").read_text() for cell in tiny.cells()]
    assert tiny.run(tmp_path, tiny.cells()) == []
    assert attempts == [(folder_of(tmp_path, cell.key) / "attempts.jsonl").read_text() for cell in tiny.cells()]


def test_a_run_that_fails_before_it_begins_says_where_and_with_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room for checkpoints: the attempt still names machine and simulator, or the run would be a table apart."""
    first, second = tiny.cells()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    failed = tiny.run(tmp_path, [first, second])
    assert {cell.key for cell, _ in failed} == {first.key, second.key}
    assert "make room" in failed[0][1]
    found = attempts_of(folder_of(tmp_path, first.key))
    assert {"plan", "versions"} <= set(starts_of(found)[1])
    assert [end["error"] for end in ends_of(found).values()] == ["DiskTooSmall"]


def test_a_run_without_an_offline_phase(tmp_path: Path) -> None:
    """RLPD: no offline updates and numbers; half of each batch its own; the same run wherever it stops."""
    cells, stop = tiny.cells(method="rlpd"), Stop()
    whole = tmp_path / "whole"
    assert tiny.run(whole, cells, stop) == []
    assert share(tiny.site(whole), cells[0]).agent.optimiser.balanced
    for cell in cells:
        points = tiny.history(whole, cell)
        assert [step for step, name, _ in points if name == "evaluation/success"] == [10, 20, 24]
        assert [step for step, name, _ in points if name == "online/loss"] == [5, 10, 15, 20, 24]
        assert {name.split("_")[0] for name in tiny.done(whole, cell)} == {"online"}
        counts = {int(array) for name, array in tiny.arrays(whole, cell).items() if name.endswith(".count")}
        assert counts == {24 - 4 + 1}
    for at in range(1, stop.asked + 1):
        root = tmp_path / str(at)
        pause(root, at, "rlpd")
        assert tiny.run(root, cells) == []
        assert_same(root, whole, cells)


def test_a_warm_up_does_not_ask_the_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that stands still is first seen at ``start_training``, even inside a chunk."""
    act = trainer.act_rows
    still = partial(jax.tree.map, lambda leaf: 0.0 * leaf)
    monkeypatch.setattr(trainer, "act_rows", lambda *arguments: still(act(*arguments)))
    cells = tiny.cells(method="rlpd")
    assert tiny.run(tmp_path, cells) == []
    warm = []
    for cell in cells:
        actions = tiny.arrays(tmp_path, cell)["rows/row['actions']"]
        assert (actions[:3] != 0.0).all()
        assert (np.abs(actions[:3]) <= 1.0).all()
        assert (actions[3:] == 0.0).all()
        warm.append(actions[:3])
    assert (warm[0] != warm[1]).any()


@pytest.mark.parametrize("step", ["state", "mark"])
@pytest.mark.parametrize("at", [1, 2, 3, 6, 7, 10])
def test_killed_between_two_members_the_pack_stays_together(
    whole: tuple[Path, int], tmp_path: Path, at: int, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has saved and the other has not: both go back to what they share, so that not a bit is different."""

    class Killed(BaseException):
        pass

    owner: Any = {"state": checkpoint, "mark": Records}[step]
    name = {"state": "save", "mark": "mark_saved"}[step]
    calls, original = iter(range(1, 1000)), getattr(owner, name)

    def after(*arguments: Any) -> None:
        original(*arguments)
        if next(calls) == at:
            raise Killed

    monkeypatch.setattr(owner, name, after)
    with pytest.raises(Killed):
        tiny.run(tmp_path, tiny.cells())
    monkeypatch.undo()
    groups: list[int] = []
    together = serving.side_by_side

    def grouped(members: Any) -> Any:
        groups.append(len(together(members)))
        return together(members)

    monkeypatch.setattr(serving, "side_by_side", grouped)
    assert tiny.run(tmp_path, tiny.cells()) == []
    assert groups == [1]
    assert_same(tmp_path, whole[0])


def test_what_stays_of_a_finished_run(whole: tuple[Path, int], tmp_path: Path) -> None:
    """Its networks, or nothing; the checkpoints of a run that goes on always stay."""
    for keep, files in {"parameters": {"final.npz"}, "nothing": set[str]()}.items():
        site = dataclasses.replace(tiny.site(tmp_path / keep), keep=keep)
        with pytest.raises(Stopped):
            run_pack(site, tiny.cells(), lambda event: None, Stop(4))
        folders = [folder_of(site.root, cell.key) / "checkpoint" for cell in tiny.cells()]
        assert {path.name for path in folders[0].iterdir()} == {"state.npz", "previous.npz"}
        assert run_pack(site, tiny.cells(), lambda event: None, tiny.never).failed == []
        for cell, folder in zip(tiny.cells(), folders, strict=True):
            assert {path.name for path in folder.iterdir()} == files if folder.exists() else not files
            if files:
                with np.load(folder / "final.npz", allow_pickle=False) as stored:
                    kept = {name: stored[name] for name in stored.files}
                last = tiny.arrays(whole[0], cell)
                networks = {n: a for n, a in last.items() if n.startswith((".parameters", ".slow"))}
                assert len(kept) == len(networks) > 4
                for name, array in networks.items():
                    owner, _, rest = name.removeprefix(".").partition("[")
                    np.testing.assert_array_equal(kept[f"['{owner}'][{rest}"], array)


def test_a_cell_that_another_process_works_on_is_left_to_it(whole: tuple[Path, int], tmp_path: Path) -> None:
    first, second = tiny.cells()
    other = Records(tmp_path, second)
    found = run_pack(tiny.site(tmp_path), [first, second], lambda event: None, tiny.never)
    other.close()
    assert [cell.key for cell, _ in found.held] == [second.key]
    assert found.failed == []
    assert state_of(folder_of(tmp_path, second.key)) == "planned"
    assert_same(tmp_path, whole[0], [first], tolerance=1e-5)


def test_a_run_that_was_taken_over_is_left_at_once(tmp_path: Path) -> None:
    """Its files are the other's: nothing is written any more, not even a failure."""
    seen: dict[Path, bytes] = {}

    def take_over() -> str:
        if not seen:
            for cell in tiny.cells():
                lease = folder_of(tmp_path, cell.key) / "lease.json"
                lease.write_text(json.dumps(json.loads(lease.read_text()) | {"token": "other"}))
                seen.update({path: path.read_bytes() for path in lease.parent.rglob("*") if path.is_file()})
        return ""

    found = run_pack(tiny.site(tmp_path), tiny.cells(), lambda event: None, take_over)
    assert {cell.key for cell, _ in found.held} == {cell.key for cell in tiny.cells()}
    assert found.failed == []
    assert {path: path.read_bytes() for path in seen} == seen


def test_a_full_disk_keeps_what_was_there(whole: tuple[Path, int], small_disk: Path) -> None:
    """A real one, of a megabyte, filled by somebody else in the middle of a run; with room again the run goes on."""
    filler = small_disk / "filler"

    def fill() -> str:
        if not filler.exists() and (folder_of(small_disk, tiny.cells()[0].key) / "checkpoint" / "state.npz").exists():
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
        return ""

    failed = run_pack(tiny.site(small_disk), tiny.cells(), lambda event: None, fill).failed
    wanted = f"No space left on device ({small_disk}); make room or mend the path, then run the same command again"
    assert {text for _, text in failed} == {wanted}
    filler.unlink()
    assert tiny.run(small_disk, tiny.cells()) == []
    assert_same(small_disk, whole[0])


def test_killed_between_two_members_again_and_again_the_pack_stays_together(
    whole: tuple[Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the pack went back from is never gone back to: not even when the next save is cut short as well."""

    class Killed(BaseException):
        pass

    original = checkpoint.save
    for first in (3, 1, 1, 3, 1):  # after so many saves: always the first member's
        calls = iter(range(1, 1000))

        def after(*arguments: Any, calls: Any = calls, first: int = first) -> None:
            original(*arguments)
            if next(calls) == first:
                raise Killed

        monkeypatch.setattr(checkpoint, "save", after)
        with pytest.raises(Killed):
            tiny.run(tmp_path, tiny.cells())
    monkeypatch.undo()
    assert tiny.run(tmp_path, tiny.cells()) == []
    assert_same(tmp_path, whole[0])


def test_a_pack_whose_records_cannot_be_opened_has_failed(tmp_path: Path) -> None:
    """Where nothing can be written not even a failure can be noted; it must be told all the same."""
    (tmp_path / "runs").write_text("this is no folder")
    failed = tiny.run(tmp_path, tiny.cells())
    assert [cell.key for cell, _ in failed] == [cell.key for cell in tiny.cells()]
    assert "mend the path" in failed[0][1]


def test_a_member_that_gets_nowhere_fails_and_the_others_go_on(whole: tuple[Path, int], tmp_path: Path) -> None:
    """One was killed at its start three times, in other company."""
    first, second = tiny.cells()
    for _ in range(3):
        records = Records(tmp_path, second)
        records.begin({})
        records.opened(0)
        records.close()
    failed = tiny.run(tmp_path, [first, second])
    assert [cell.key for cell, _ in failed] == [second.key]
    assert "without getting further" in failed[0][1]
    assert_same(tmp_path, whole[0], [first], tolerance=1e-5)


def test_when_one_is_taken_over_the_others_go_on(whole: tuple[Path, int], tmp_path: Path) -> None:
    first, second = tiny.cells()
    asked = Stop()

    def take_over() -> str:
        if asked() == "" and asked.asked == 5:
            lease = folder_of(tmp_path, second.key) / "lease.json"
            lease.write_text(json.dumps(json.loads(lease.read_text()) | {"token": "other"}))
        return ""

    found = run_pack(tiny.site(tmp_path), [first, second], lambda event: None, take_over)
    assert [cell.key for cell, _ in found.held] == [second.key]
    assert found.failed == []
    assert state_of(folder_of(tmp_path, second.key)) == "begun"
    assert_same(tmp_path, whole[0], [first], tolerance=1e-5)
