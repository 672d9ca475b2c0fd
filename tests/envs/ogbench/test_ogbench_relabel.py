"""Labels of data: the environment itself would have given the same rewards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import PUZZLE
from scripted import solve

from envs.ogbench._controller import published
from envs.ogbench._environments import Environment, reset
from envs.ogbench._relabel import labelled as labelled_rows
from envs.ogbench._relabel import stored_rewards
from envs.ogbench._tasks import tasks

Get = Callable[[str], Environment]
Writer = Callable[..., Path]

# sub-goals that solve task 1, steps from seeds 0..3, rewards seen
SOLUTIONS = {
    "puzzle-3x3-play": ([("button", 0), ("button", 8)], [32, 26, 36, 24], {-6, -3, 0}),
    "scene-play": ([("drawer", 0), ("window", 0)], [58, 54, 70, 51], {-2, -1, 0}),
    "cube-double-play": ([("cube", 1)], [49, 40, 44, 38], {-1, 0}),
    "cube-triple-play": ([("cube", 2)], [50, 39, 44, 41], {-1, 0}),
}


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


def test_sparse_rewards():
    dense = np.array([-3, -1, 0, -6], np.float32)
    task = tasks()[PUZZLE]
    np.testing.assert_array_equal(stored_rewards(task, dense), [-1, -1, 0, -1])
    np.testing.assert_array_equal(stored_rewards(dataclasses.replace(task, sparse=False), dense), dense)
    assert stored_rewards(task, dense).dtype == np.float32


ROLLOUTS = {
    "puzzle-3x3-play": [("button", 0), ("button", 4)],
    "puzzle-4x4-play": [("button", 0), ("button", 5)],
    "scene-play": [("drawer", 0), ("window", 0)],
    "cube-double-play": [("cube", 1)],
    "cube-triple-play": [("cube", 2)],
    "cube-quadruple-play": [("cube", 0), ("cube", 1)],
}


@pytest.mark.slow
@pytest.mark.parametrize("stem", ROLLOUTS)
def test_the_environments_reward_is_the_label_row_by_row(environment: Get, stem: str):
    """Along a scripted rollout in which the reward changes at least once."""
    name = f"{stem}-singletask-task1-v0"
    seen, columns = [], {"qpos": [], "button_states": []}
    for seed in range(3):
        for step in solve(environment(name), ROLLOUTS[stem], seed):
            seen.append(step["reward"])
            for key, values in columns.items():
                values.append(step[key])
    stacked = {key: np.array(values) for key, values in columns.items()}
    rewards, masks = labelled_rows(tasks()[name], environment(name), stacked)
    np.testing.assert_array_equal(rewards, seen)
    np.testing.assert_array_equal(masks == 0, np.array(seen) == 0)
    assert len(set(seen)) > 1


@pytest.mark.slow
def test_a_mazes_reward_is_the_label_row_by_row(environment: Get):
    """An ant walks to the goal of a task; its last step is the first that starts at the goal."""
    name = "antmaze-large-navigate-singletask-task3-v0"
    env = environment(name)
    reset(env, 0)
    maze, places, seen, terminated = env.unwrapped, [], [], False
    while not seen or seen[-1] < 0:
        place = maze.data.qpos[:2].copy()
        way = maze.get_oracle_subgoal(place, maze.cur_goal_xy)[0] - place
        action = published().act(maze.data.qpos, maze.data.qvel, way / np.linalg.norm(way))
        _, reward, terminated, truncated, info = env.step(action)
        places.append(info["prev_qpos"])
        seen.append(reward)
        assert not truncated
    assert terminated
    rewards, masks = labelled_rows(tasks()[name], env, {"qpos": np.array(places)})
    np.testing.assert_array_equal(rewards, seen)
    np.testing.assert_array_equal(masks, -np.array(seen))
    assert len(seen) > 100
