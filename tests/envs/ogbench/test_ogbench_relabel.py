"""Labels of data: the environment itself would have given the same rewards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import PUZZLE, file_columns
from scripted import solve

from envs._suite import SuiteError, Task
from envs.ogbench import _relabel
from envs.ogbench._environments import Environment
from envs.ogbench._relabel import LabelledFiles, stored_rewards
from envs.ogbench._tasks import Domain, domains, tasks

Get = Callable[[str], Environment]
Writer = Callable[..., Path]

# sub-goals that solve task 1, steps from seeds 0..3, rewards seen
SOLUTIONS = {
    "puzzle-3x3-play": ([("button", 0), ("button", 8)], [32, 26, 36, 24], {-6, -3, 0}),
    "scene-play": ([("drawer", 0), ("window", 0)], [58, 54, 70, 51], {-2, -1, 0}),
    "cube-double-play": ([("cube", 1)], [49, 40, 44, 38], {-1, 0}),
}


@pytest.fixture
def labelled(environment: Get, monkeypatch: pytest.MonkeyPatch) -> Callable[[Task, Domain, list[Path]], LabelledFiles]:
    """`LabelledFiles` whose environment is the session's."""
    monkeypatch.setattr(_relabel._environments, "make", lambda task: environment(task.name))
    return LabelledFiles


@pytest.mark.parametrize("stem", SOLUTIONS)
def test_solved_episodes_labels_and_timing(environment: Get, stem: str):
    from ogbench.relabel_utils import relabel_dataset

    name = f"{stem}-singletask-task1-v0"
    targets, lengths, rewards = SOLUTIONS[stem]
    for seed, length in enumerate(lengths):
        steps = solve(environment(name), targets, seed)
        seen = np.array([step["reward"] for step in steps])
        ends = np.array([step["terminated"] for step in steps])
        assert (len(steps), set(seen)) == (length, rewards)
        assert seen[-1] == 0
        assert (seen[:-1] < 0).all(), "the solving action still earns the old reward"
        np.testing.assert_array_equal(ends, np.arange(length) == length - 1)
        np.testing.assert_array_equal([step["success"] for step in steps], ends)
        columns = {key: np.array([step[key] for step in steps]) for key in ("qpos", "button_states")}
        relabel_dataset(name, environment(name), columns)
        np.testing.assert_array_equal(columns["rewards"], seen)
        np.testing.assert_array_equal(columns["masks"], 1 - ends)


def test_a_file_becomes_the_transitions_of_its_task(
    tmp_path: Path, write_file: Writer, puzzle_domain: Domain, labelled: Callable, environment: Get
):
    buttons = np.random.default_rng(0).integers(2, size=(10, 9))
    goal = environment(PUZZLE).unwrapped._target_button_states
    buttons[1] = goal
    file = write_file(tmp_path / "a.npz", puzzle_domain, button_states=buttons, actions=np.ones((10, 5), np.float32))
    task = dataclasses.replace(tasks()[PUZZLE], sparse=False)
    data = labelled(task, puzzle_domain, [file])
    rows, kept = data[0], [0, 1, 2, 3, 5, 6, 7, 8]
    assert len(data) == 1
    expected = (buttons == goal).sum(axis=1) - 9
    np.testing.assert_array_equal(rows.rewards, expected[kept])
    np.testing.assert_array_equal(rows.masks, expected[kept] != 0)
    np.testing.assert_array_equal(rows.terminals, [0, 0, 0, 1, 0, 0, 0, 1])
    np.testing.assert_array_equal(rows.actions, np.full((8, 5), 1 - 1e-5, np.float32))
    source = file_columns(puzzle_domain)["observations"]
    np.testing.assert_array_equal(rows.observations, source[kept])
    np.testing.assert_array_equal(rows.next_observations, source[np.array(kept) + 1])
    assert {values.dtype for values in vars(rows).values()} == {np.dtype(np.float32)}
    sparse = labelled(tasks()[PUZZLE], puzzle_domain, [file])[0]
    np.testing.assert_array_equal(sparse.rewards, [-1, 0, -1, -1, -1, -1, -1, -1])
    np.testing.assert_array_equal(sparse.masks, rows.masks)


def test_mazes_are_labelled_by_distance_to_the_goal(
    tmp_path: Path, write_file: Writer, labelled: Callable, environment: Get
):
    name = "antmaze-large-navigate-singletask-task1-v0"
    domain = dataclasses.replace(domains()["antmaze-large-navigate"], episodes=1, rows=4)
    goal = environment(name).unwrapped.cur_goal_xy
    qpos = np.zeros((4, 15), np.float32)
    qpos[:, :2] = np.add(goal, [[0.49, 0], [0.51, 0], [0, -0.49], [9, 9]])
    rows = labelled(tasks()[name], domain, [write_file(tmp_path / "a.npz", domain, qpos=qpos)])[0]
    np.testing.assert_array_equal(rows.rewards, [0, -1, 0])
    np.testing.assert_array_equal(rows.masks, [0, 1, 0])


def test_shards_keep_their_actions_and_are_told_apart(
    tmp_path: Path, write_file: Writer, puzzle_domain: Domain, labelled: Callable
):
    ones = np.ones((10, 5), np.float32)
    files = [write_file(tmp_path / f"{n}.npz", puzzle_domain, seed=n, actions=ones) for n in range(2)]
    data = labelled(tasks()[PUZZLE], puzzle_domain, files)
    assert len(data) == 2
    assert (data[0].actions == 1).all()
    assert not np.array_equal(data[0].observations, data[1].observations)
    single = labelled(tasks()[PUZZLE], puzzle_domain, files[:1])
    swapped = labelled(tasks()[PUZZLE], puzzle_domain, files[::-1])
    assert len({data.sha256, single.sha256, swapped.sha256}) == 3
    assert data.sha256 == labelled(tasks()[PUZZLE], puzzle_domain, files).sha256


def test_unequal_shards_are_refused(tmp_path: Path, write_file: Writer, puzzle_domain: Domain, labelled: Callable):
    files = [
        write_file(tmp_path / "0.npz", puzzle_domain),
        write_file(tmp_path / "1.npz", dataclasses.replace(puzzle_domain, episodes=3)),
    ]
    data = labelled(tasks()[PUZZLE], puzzle_domain, files)
    assert len(data[0].rewards) == 8
    with pytest.raises(SuiteError, match=r"1.npz holds 12 transitions but another shard 8"):
        _ = data[1]


def test_sparse_rewards():
    dense = np.array([-3, -1, 0, -6], np.float32)
    task = tasks()[PUZZLE]
    np.testing.assert_array_equal(stored_rewards(task, dense), [-1, -1, 0, -1])
    np.testing.assert_array_equal(stored_rewards(dataclasses.replace(task, sparse=False), dense), dense)
    assert stored_rewards(task, dense).dtype == np.float32
