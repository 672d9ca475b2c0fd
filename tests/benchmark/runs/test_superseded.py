"""Runs that are set aside and taken back: by one rename, under their lease, with what they keep."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmark.planning.plan import Cell
from benchmark.runs import checkpoint, superseded
from benchmark.runs.lease import Lease, LeaseHeld
from benchmark.runs.records import LEASE, REFUSED, Records, folder_of, refuse, state_of
from benchmark.runs.superseded import (
    MARK,
    all_of,
    is_superseded,
    key_of_folder,
    others_of,
    place_of,
    set_aside,
    take_back,
)
from benchmark.training import trainer
from tests.benchmark import pretend, tiny
from tests.benchmark.pretend import OTHER

TODAY = "fedcba9876543210"


@pytest.fixture
def cell() -> Cell:
    return pretend.plan("fql", "0").cells[0]


def files(folder: Path) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return found - {"mlflow.lock"}


def test_a_finished_run_goes_aside_with_its_networks(tmp_path: Path, cell: Cell) -> None:
    folder = pretend.run(tmp_path, cell)
    before = files(folder)
    assert set_aside(tmp_path, cell.key, TODAY)
    aside = place_of(tmp_path, cell.key, OTHER)
    assert not folder.exists()
    gone, new = {"checkpoint/state.npz", "checkpoint/previous.npz"}, {"checkpoint/final.npz", MARK}
    assert files(aside) == before - gone | new
    assert json.loads((aside / MARK).read_text())["by"] == TODAY
    assert is_superseded(aside)
    assert key_of_folder(aside) == cell.key
    assert all_of(tmp_path, [cell.key, "nothing"]) == [aside]
    assert others_of(aside) == [folder]
    assert others_of(folder) == [aside]


def test_an_unfinished_run_keeps_what_it_would_go_on_from(tmp_path: Path, cell: Cell) -> None:
    pretend.run(tmp_path, cell, how="stopped")
    assert set_aside(tmp_path, cell.key, TODAY)
    aside = place_of(tmp_path, cell.key, OTHER)
    assert [found.note for found in checkpoint.usable(aside / "checkpoint")] == [{"step": 2}, {"step": 1}]


def test_a_run_comes_back_as_it_went(tmp_path: Path, cell: Cell) -> None:
    folder = pretend.run(tmp_path, cell, how="stopped")
    before = {name: (folder / name).read_bytes() for name in files(folder)}
    assert set_aside(tmp_path, cell.key, TODAY)
    assert take_back(tmp_path, cell.key, OTHER)
    assert {name: (folder / name).read_bytes() for name in files(folder)} == before
    assert all_of(tmp_path, [cell.key]) == []


def test_what_today_made_or_nobody_knows_stays(tmp_path: Path, cell: Cell) -> None:
    folder = pretend.run(tmp_path, cell, code=TODAY)
    assert not set_aside(tmp_path, cell.key, TODAY)
    assert state_of(folder) == "done"
    assert not (folder / LEASE).exists()
    other = pretend.plan("flow", "0").cells[0]
    pretend.run(tmp_path, other, code=None)
    assert not set_aside(tmp_path, other.key, TODAY)
    assert not set_aside(tmp_path, "0000000000000000", TODAY)
    assert not take_back(tmp_path, cell.key, OTHER)


def test_a_run_that_somebody_works_on_is_not_touched(tmp_path: Path, cell: Cell) -> None:
    folder = pretend.run(tmp_path, cell)
    lease = Lease(folder / LEASE)
    before = files(folder)
    with pytest.raises(LeaseHeld):
        set_aside(tmp_path, cell.key, TODAY)
    assert files(folder) == before
    lease.release()
    assert set_aside(tmp_path, cell.key, TODAY)


def test_a_run_does_not_come_back_onto_another(tmp_path: Path, cell: Cell) -> None:
    pretend.run(tmp_path, cell)
    assert set_aside(tmp_path, cell.key, TODAY)
    newer = pretend.run(tmp_path, cell, code=TODAY)
    assert not take_back(tmp_path, cell.key, OTHER)
    assert state_of(newer) == "done"
    assert all_of(tmp_path, [cell.key]) == [place_of(tmp_path, cell.key, OTHER)]


def test_a_note_that_it_was_refused_is_no_run(tmp_path: Path, cell: Cell) -> None:
    pretend.run(tmp_path, cell)
    assert set_aside(tmp_path, cell.key, TODAY)
    refuse(tmp_path, cell, TODAY, OTHER)
    assert take_back(tmp_path, cell.key, OTHER)
    assert state_of(folder_of(tmp_path, cell.key)) == "done"
    assert not (folder_of(tmp_path, cell.key) / REFUSED).exists()


def test_what_a_kill_left_of_a_run_that_never_began_gives_way(tmp_path: Path, cell: Cell) -> None:
    """A worker was killed between making the folder and its first attempt."""
    pretend.run(tmp_path, cell)
    assert set_aside(tmp_path, cell.key, TODAY)
    records = Records(tmp_path, cell)
    records.close()
    assert (records.folder / "config.json").exists()
    assert take_back(tmp_path, cell.key, OTHER)
    assert state_of(folder_of(tmp_path, cell.key)) == "done"


class Killed(BaseException):
    """As a kill -9 would: nothing after it is carried out."""


STEPS = ("reduce", "write_json", "rename", "release")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", ["aside", "back"])
def test_a_kill_between_two_steps_loses_nothing(
    tmp_path: Path, cell: Cell, monkeypatch: pytest.MonkeyPatch, step: str, when: str, what: str
) -> None:
    """Wherever it is, the run is whole in one of its two places, and the same call once more ends what was begun."""
    folder, place = pretend.run(tmp_path, cell), place_of(tmp_path, cell.key, OTHER)
    metrics = (folder / "metrics.jsonl").read_bytes()
    if what == "back":
        assert set_aside(tmp_path, cell.key, TODAY)
    owner = {"reduce": checkpoint, "write_json": superseded, "rename": Path, "release": Lease}[step]
    real = getattr(owner, step)

    def killed(*arguments: object) -> None:
        if when == "after":
            real(*arguments)
        raise Killed

    def once() -> bool:
        return set_aside(tmp_path, cell.key, TODAY) if what == "aside" else take_back(tmp_path, cell.key, OTHER)

    with monkeypatch.context() as patched:
        patched.setattr(owner, step, killed)
        with contextlib.suppress(Killed):
            once()
    for lease in (*tmp_path.rglob("lease.json"), *tmp_path.rglob(".lease.json*")):
        lease.unlink()  # as of a process that is dead
    there = [each for each in (folder, place) if (each / "metrics.jsonl").exists()]
    assert len(there) == 1
    assert state_of(there[0]) == "done"
    once()
    end = place if what == "aside" else folder
    assert (end / "metrics.jsonl").read_bytes() == metrics
    assert state_of(end) == "done"
    assert (end / "checkpoint" / "final.npz").exists()


def test_a_damaged_checkpoint_keeps_no_run_from_being_set_aside(tmp_path: Path, cell: Cell) -> None:
    folder = pretend.run(tmp_path, cell)
    for path in (folder / "checkpoint").iterdir():
        path.write_bytes(b"damaged")
    assert set_aside(tmp_path, cell.key, TODAY)
    assert state_of(place_of(tmp_path, cell.key, OTHER)) == "done"


def test_the_same_code_may_be_set_aside_twice(tmp_path: Path, cell: Cell) -> None:
    for _ in range(2):
        pretend.run(tmp_path, cell)
        assert set_aside(tmp_path, cell.key, TODAY)
    assert [path.name for path in all_of(tmp_path, [cell.key])] == [OTHER, f"{OTHER}-2"]


@pytest.mark.slow
def test_the_networks_that_stay_are_those_that_are_kept_of_any_run(tmp_path: Path) -> None:
    """Of a run that kept everything, what is left when it is set aside is what `--keep parameters` would have left."""
    agent, seeds = tiny.shared().agent, [3]
    state = jax.tree.map(lambda leaf: leaf[0], trainer.init(agent, seeds))
    checkpoint.save(tmp_path / "all", state, {"actions": np.zeros(3)}, {"step": 1})
    checkpoint.reduce(tmp_path / "all")
    checkpoint.keep_final(tmp_path / "few", "parameters", {"parameters": state.parameters, "slow": state.slow})
    assert files(tmp_path / "all") == {"final.npz"}
    like = {"parameters": state.parameters, "slow": state.slow}
    for folder in ("all", "few"):
        found, *rows = checkpoint.load(tmp_path / folder / "final.npz", like)
        assert rows == [{}, {}]
        assert jax.tree.all(jax.tree.map(jnp.array_equal, found, like))
