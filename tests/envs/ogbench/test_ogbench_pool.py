"""Pools: the same episodes in any number of processes, with the measures that belong to them."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from conftest import PUZZLE
from scripted import solve

from envs._suite import Pool, Steps, SuiteError
from envs.ogbench import pool, tasks
from envs.ogbench._environments import Environment, reset
from envs.ogbench._pool import Processes
from tests.envs.starting import starts

MAZE = dataclasses.replace(tasks()["antmaze-large-navigate-singletask-task1-v0"], horizon=12)
DENSE = dataclasses.replace(tasks()[PUZZLE], sparse=False)


def chunk(length: int, seed: int = 0, size: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (length, size)).astype(np.float32)


def assert_same(one: Steps, other: Steps) -> None:
    for name in ("observations", "rewards", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.measures == other.measures


@pytest.fixture(scope="module")
def mazes() -> Iterator[tuple[Pool, Pool]]:
    """Three mazes in this process, three in two workers."""
    pools = pool(MAZE, 3, 0), pool(MAZE, 3, 2)
    yield pools
    for each in pools:
        each.close()


def test_processes_give_what_one_process_gives(mazes: tuple[Pool, Pool]):
    seeds = {0: 5, 1: 6, 2: 2**32 - 1}
    first = [each.reset(starts(seeds)) for each in mazes]
    for slot in seeds:
        np.testing.assert_array_equal(first[0][slot], first[1][slot])
        assert first[0][slot].dtype == np.float32
    chunks = {slot: chunk(7, slot) for slot in (2, 0, 1)}
    for length, measures in ((7, None), (5, {"success": 0.0, "return": -12.0, "length": 12.0})):
        local, remote = (each.step(chunks) for each in mazes)
        assert list(local) == list(remote) == [2, 0, 1]
        for slot in chunks:
            assert_same(local[slot], remote[slot])
            assert (len(local[slot].rewards), local[slot].measures) == (length, measures)


def test_an_episode_ends_at_the_limit_within_a_chunk(mazes: tuple[Pool, Pool]):
    mazes[0].reset(starts({1: 0}))
    first = mazes[0].step({1: chunk(7)})[1]
    assert (len(first.rewards), first.truncated.any(), first.measures) == (7, False, None)
    rest = mazes[0].step({1: chunk(7)})[1]
    assert rest.observations.shape == (5, 29)
    np.testing.assert_array_equal(rest.truncated, [False] * 4 + [True])
    assert not rest.terminated.any()


def test_slots_do_not_touch_each_other(mazes: tuple[Pool, Pool]):
    local = mazes[0]
    local.reset(starts({0: 3}))
    alone = local.step({0: chunk(6)})[0]
    local.reset(starts({0: 3, 1: 4}))
    local.step({1: chunk(3, 9)})
    assert_same(local.step({0: chunk(6)})[0], alone)


@pytest.mark.parametrize("number", [0, 1])
def test_misuse_is_an_error_and_the_pool_goes_on(mazes: tuple[Pool, Pool], number: int):
    either = mazes[number]
    either.reset(starts({0: 0, 2: 0}))
    bad = chunk(3)
    bad[1, 4] = np.nan
    with pytest.raises(SuiteError, match="not finite"):
        either.step({0: chunk(3), 2: bad})
    with pytest.raises(SuiteError, match=r"shape \(3, 5\) do not fit .* \(steps, 8\)"):
        either.step({0: chunk(3, size=5)})
    with pytest.raises(SuiteError, match="no open slot 7"):
        either.step({7: chunk(3)})
    either.reset(starts({0: 0}))
    either.step({0: chunk(12)})
    with pytest.raises(SuiteError, match=r"slot 0 .* has no running episode"):
        either.step({0: chunk(1)})
    either.reset(starts({0: 0}))
    assert len(either.step({0: chunk(2)})[0].rewards) == 2


def test_an_error_leaves_no_answer_behind(mazes: tuple[Pool, Pool]):
    mazes[1].reset(starts({0: 0, 1: 0}))
    with pytest.raises(SuiteError, match="not finite"):
        mazes[1].step({0: np.full((3, 8), np.nan), 1: chunk(3)})
    assert len(mazes[1].step({1: chunk(2)})[1].rewards) == 2


def test_nothing_moves_if_a_chunk_is_unusable(mazes: tuple[Pool, Pool]):
    mazes[0].reset(starts({0: 1, 1: 1}))
    with pytest.raises(SuiteError, match="not finite"):
        mazes[0].step({0: chunk(3), 1: np.full((3, 8), np.inf)})
    steps = mazes[0].step({0: chunk(3), 1: chunk(3)})
    assert_same(steps[0], steps[1])


def test_a_dead_worker_is_an_error():
    remote = Processes(MAZE, 2, 2)
    remote.reset(starts({0: 0, 1: 0}))
    pid = remote._workers[1]._process.pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(SuiteError, match=r"a process with environments of antmaze.* ended with code -9"):
        remote.step({0: chunk(1), 1: chunk(1)})
    remote.close()
    remote.close()
    with pytest.raises(SuiteError, match="closed"):
        remote.reset(starts({0: 0}))


@pytest.mark.usefixtures("cloned_puzzles")
def test_a_solved_puzzle_and_its_measures(environment: Callable[[str], Environment]):
    steps = solve(environment(PUZZLE), [("button", 0), ("button", 8)], 1)
    actions = np.array([step["action"] for step in steps])
    assert len(actions) == 26
    beyond = np.concatenate([actions, actions[:4]])
    seen = {}
    for task in (DENSE, tasks()[PUZZLE]):
        two = pool(task, 2, 0)
        two.reset(starts({0: 1, 1: 2}))
        seen[task.sparse] = two.step({0: beyond})[0]
    dense, sparse = seen[False], seen[True]
    assert len(dense.rewards) == 26
    assert dense.rewards[-1] == 0
    np.testing.assert_array_equal(dense.rewards[-3:-1], [-3, -3])
    np.testing.assert_array_equal(dense.terminated, np.arange(26) == 25)
    np.testing.assert_array_equal(sparse.rewards, [-1] * 25 + [0])
    assert dense.measures == sparse.measures
    measures = dict(dense.measures or {})
    assert measures["above_control"] == -measures["control_best"]
    assert measures.pop("above_control") == pytest.approx(3.9, abs=0.06)
    assert measures.pop("control_best") == pytest.approx(-3.9, abs=0.06)
    assert measures.pop("control_success") == pytest.approx(2 / 81, abs=0.009)
    assert measures == {"success": 1, "return": -93, "length": 26, "best": 0, "presses": 2}


@pytest.mark.usefixtures("cloned_puzzles")
def test_success_in_the_last_allowed_step_is_not_credited(environment: Callable[[str], Environment]):
    steps = solve(environment(PUZZLE), [("button", 0), ("button", 8)], 1)
    short = pool(dataclasses.replace(DENSE, horizon=25), 1, 0)
    short.reset(starts({0: 1}))
    end = short.step({0: np.array([step["action"] for step in steps])})[0]
    assert end.truncated[-1]
    assert not end.terminated.any()
    assert end.measures is not None
    assert (end.measures["success"], end.measures["best"], end.measures["presses"]) == (0, -3, 1)


@pytest.mark.usefixtures("cloned_puzzles")
def test_actions_are_clipped(environment: Callable[[str], Environment]):
    large = np.full((3, 5), 5.0, np.float32)
    one = pool(DENSE, 1, 0)
    one.reset(starts({0: 0}))
    clipped = one.step({0: large})[0].observations
    env = environment(PUZZLE)
    reset(env, 0)
    np.testing.assert_array_equal(clipped, np.array([env.step(np.ones(5))[0] for _ in range(3)], np.float32))


@pytest.mark.slow
def test_puzzles_in_a_worker_equal_fresh_ones(environment: Callable[[str], Environment]):
    env = environment(PUZZLE)
    expected = [reset(env, 4)[0], *(env.step(action)[0] for action in chunk(30, size=5))]
    remote = pool(DENSE, 2, 1)
    start = remote.reset(starts({0: 0, 1: 4}))[1]
    steps = remote.step({1: chunk(30, size=5), 0: chunk(5, size=5)})[1]
    np.testing.assert_array_equal(np.concatenate([start[None], steps.observations]), np.array(expected, np.float32))
    remote.close()


def test_the_seed_alone_decides_a_mazes_start(mazes: tuple[Pool, Pool]):
    """The package draws it from NumPy's global generator."""
    one = mazes[0].reset(starts({0: 11}))[0]
    mazes[0].reset(starts({0: 12, 1: 13}))
    np.testing.assert_array_equal(mazes[0].reset(starts({2: 11}))[2], one)
    assert not np.array_equal(mazes[0].reset(starts({2: 12}))[2], one)
