"""Data files as a task trains on them: layout, labels, and what is kept unpacked on the disk."""

from __future__ import annotations

import dataclasses
import errno
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PUZZLE, file_columns

from envs import ogbench
from envs._suite import SuiteError, Task
from envs.ogbench import _dataset, _relabel, identity, prepare
from envs.ogbench._dataset import LabelledFiles, unpacked
from envs.ogbench._environments import Environment, clone, reset
from envs.ogbench._tasks import Domain, domains, tasks

Get = Callable[[str], Environment]
Writer = Callable[..., Path]


@pytest.fixture
def labelled(environment: Get, monkeypatch: pytest.MonkeyPatch) -> type[LabelledFiles]:
    """`LabelledFiles` that label puzzles with a copy of the session's environment."""

    def copied(task: Task) -> Environment:
        env = clone(environment(task.name), own_model=False)
        monkeypatch.setattr(env, "close", lambda: None)
        return env

    monkeypatch.setattr(_relabel._environments, "make", copied)
    return LabelledFiles


def test_a_file_becomes_the_transitions_of_each_task(
    tmp_path: Path, write_file: Writer, puzzle_domain: Domain, labelled: type[LabelledFiles], environment: Get
):
    buttons = np.random.default_rng(0).integers(2, size=(10, 9))
    goals = [info["goal_button_states"] for info in environment(PUZZLE).unwrapped.task_infos]
    buttons[1], buttons[6] = goals[0], goals[3]
    file = write_file(tmp_path / "a.npz", puzzle_domain, button_states=buttons, actions=np.ones((10, 5), np.float32))
    source, kept = file_columns(puzzle_domain)["observations"], [0, 1, 2, 3, 5, 6, 7, 8]
    for number, task in enumerate(puzzle_domain.tasks):
        data = labelled(dataclasses.replace(task, sparse=False), puzzle_domain, [file], False)
        rows = data[0]
        assert len(data) == 1
        expected = (buttons == goals[number]).sum(axis=1) - 9
        np.testing.assert_array_equal(rows.rewards, expected[kept])
        np.testing.assert_array_equal(rows.masks, expected[kept] != 0)
        np.testing.assert_array_equal(rows.terminals, [0, 0, 0, 1, 0, 0, 0, 1])
        np.testing.assert_array_equal(rows.actions, np.full((8, 5), 1 - 1e-5, np.float32))
        np.testing.assert_array_equal(rows.observations, source[[*kept, 4, 9]])
        assert {values.dtype for values in vars(rows).values()} == {np.dtype(np.float32)}
        sparse = labelled(dataclasses.replace(task, sparse=True), puzzle_domain, [file], False)[0]
        np.testing.assert_array_equal(sparse.rewards, np.where(expected[kept] == 0, 0, -1))
        np.testing.assert_array_equal(sparse.masks, rows.masks)


def test_mazes_are_labelled_by_distance_to_the_goal(tmp_path: Path, write_file: Writer, environment: Get):
    name = "antmaze-large-navigate-singletask-task1-v0"
    domain = dataclasses.replace(domains()["antmaze-large-navigate"], episodes=1, rows=4)
    env = environment(name)
    reset(env, 0)  # another test may have left it in an episode with a goal of its own
    goal = env.unwrapped.cur_goal_xy
    qpos = np.zeros((4, 15), np.float32)
    qpos[:, :2] = np.add(goal, [[0.49, 0], [0.51, 0], [0, -0.49], [9, 9]])
    rows = LabelledFiles(tasks()[name], domain, [write_file(tmp_path / "a.npz", domain, qpos=qpos)], False)[0]
    np.testing.assert_array_equal(rows.rewards, [0, -1, 0])
    np.testing.assert_array_equal(rows.masks, [0, 1, 0])


def test_shards_keep_their_actions_and_are_told_apart(
    tmp_path: Path, write_file: Writer, puzzle_domain: Domain, labelled: type[LabelledFiles]
):
    ones = np.ones((10, 5), np.float32)
    files = [write_file(tmp_path / f"{n}.npz", puzzle_domain, seed=n, actions=ones) for n in range(2)]
    data = labelled(tasks()[PUZZLE], puzzle_domain, files, True)
    assert len(data) == 2
    assert (data[0].actions == 1).all()
    assert not np.array_equal(data[0].observations, data[1].observations)
    single = labelled(tasks()[PUZZLE], puzzle_domain, files[:1], True)
    swapped = labelled(tasks()[PUZZLE], puzzle_domain, files[::-1], True)
    assert len({data.sha256, single.sha256, swapped.sha256}) == 3
    assert data.sha256 == labelled(tasks()[PUZZLE], puzzle_domain, files, True).sha256


def test_unequal_shards_are_refused(
    tmp_path: Path, write_file: Writer, puzzle_domain: Domain, labelled: type[LabelledFiles]
):
    files = [
        write_file(tmp_path / "0.npz", puzzle_domain),
        write_file(tmp_path / "1.npz", dataclasses.replace(puzzle_domain, episodes=3)),
    ]
    data = labelled(tasks()[PUZZLE], puzzle_domain, files, True)
    assert len(data[0].rewards) == 8
    with pytest.raises(SuiteError, match=r"1.npz holds 12 transitions but another shard 8"):
        _ = data[1]


def test_wrong_values_are_told_before_anything_trains(
    tmp_path: Path, write_file: Writer, puzzle_domain: Domain, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ogbench, "domain_of_data", lambda identity: puzzle_domain)
    data = identity(tasks()[PUZZLE], "official", {})
    columns = file_columns(puzzle_domain)
    columns["qvel"][3, 0] = np.nan
    write_file(tmp_path / f"{data['name']}.npz", puzzle_domain, qvel=columns["qvel"])
    with pytest.raises(SuiteError, match=r"qvel of .* holds values that are not finite"):
        prepare(data, tmp_path, None, 1, lambda what, done, total: None)


def test_a_file_is_unpacked_once_and_then_mapped(
    tmp_path: Path,
    write_file: Writer,
    puzzle_domain: Domain,
    labelled: type[LabelledFiles],
    monkeypatch: pytest.MonkeyPatch,
):
    file = write_file(tmp_path / "a.npz", puzzle_domain)
    first = labelled(tasks()[PUZZLE], puzzle_domain, [file], False)[0]
    monkeypatch.setattr(_dataset, "label", None)
    again = labelled(puzzle_domain.tasks[2], puzzle_domain, [file], False)[0]
    assert isinstance(again.observations, np.memmap)
    assert not again.observations.flags.writeable
    np.testing.assert_array_equal(again.observations, first.observations)
    assert [each.suffix for each in tmp_path.iterdir() if each.is_dir()] == [".unpacked"]


def test_what_was_unpacked_is_compared_with_what_was_written(
    tmp_path: Path, write_file: Writer, puzzle_domain: Domain, labelled: type[LabelledFiles]
):
    file = write_file(tmp_path / "a.npz", puzzle_domain)
    rewards = np.array(labelled(puzzle_domain.tasks[1], puzzle_domain, [file], False)[0].rewards)
    (folder,) = tmp_path.glob("*.unpacked")

    def flipped() -> None:
        content = bytearray((folder / "rewards.npy").read_bytes())
        content[-2] ^= 64
        (folder / "rewards.npy").write_bytes(content)

    for damage in (flipped, (folder / "masks.npy").unlink, (folder / "sha256.json").unlink):
        damage()
        again = labelled(puzzle_domain.tasks[1], puzzle_domain, [file], False)[0]
        np.testing.assert_array_equal(again.rewards, rewards)


def test_another_file_of_the_same_name_is_unpacked_anew(
    tmp_path: Path, write_file: Writer, puzzle_domain: Domain, labelled: type[LabelledFiles]
):
    file = write_file(tmp_path / "a.npz", puzzle_domain)
    first = labelled(tasks()[PUZZLE], puzzle_domain, [file], False)[0]
    file.unlink()
    (tmp_path / "a.npz.check.json").unlink()
    write_file(file, puzzle_domain, seed=1)
    again = labelled(tasks()[PUZZLE], puzzle_domain, [file], False)[0]
    np.testing.assert_array_equal(again.observations[:4], file_columns(puzzle_domain, 1)["observations"][:4])
    assert not np.array_equal(again.observations, first.observations)


def test_a_full_disk_while_unpacking_is_told_and_leaves_nothing(
    tmp_path: Path,
    write_file: Writer,
    puzzle_domain: Domain,
    labelled: type[LabelledFiles],
    monkeypatch: pytest.MonkeyPatch,
):
    file = write_file(tmp_path / "a.npz", puzzle_domain)
    data = labelled(tasks()[PUZZLE], puzzle_domain, [file], False)
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(SuiteError, match=r"a.npz could not be unpacked in .*No space left.*make room"):
        _ = data[0]
    assert not [each for each in tmp_path.iterdir() if each.is_dir()]


def test_a_file_in_a_read_only_folder_is_unpacked_at_home(
    tmp_path: Path,
    home: Path,
    write_file: Writer,
    puzzle_domain: Domain,
    labelled: type[LabelledFiles],
    monkeypatch: pytest.MonkeyPatch,
):
    file = write_file(tmp_path / "a.npz", puzzle_domain)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    assert len(labelled(tasks()[PUZZLE], puzzle_domain, [file], False)[0].actions) == 8
    assert [each.name for each in tmp_path.iterdir()] == ["a.npz"]
    assert len(list((home / ".ogbench" / "derived").glob("*/a.npz.*.unpacked"))) == 1


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_processes_that_start_together_unpack_once(tmp_path: Path, write_file: Writer):
    domain = dataclasses.replace(domains()["antmaze-large-navigate"], episodes=1, rows=4)
    file = write_file(tmp_path / "a.npz", domain)
    with multiprocessing.get_context("spawn").Pool(3) as processes:
        found = processes.map(inodes, [(domain, file)] * 3)
    assert found[0] == found[1] == found[2]


def inodes(work: tuple[Domain, Path]) -> list[int]:
    unpacked(*work)
    (folder,) = work[1].parent.glob("*.unpacked")
    return sorted(each.stat().st_ino for each in folder.iterdir())
