"""The toy worlds: data as announced, and values that are known in closed form."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs import toy
from envs._suite import Rows, SuiteError, Task
from envs.toy import _worlds
from tests.envs.starting import starts

WORLDS = {task.domain: task for task in toy.tasks().values() if task.offline}
DATA: dict[tuple[str, int], Rows] = {}


def data(world: str, seed: int = 0, episodes: int = 500) -> Rows:
    if (world, seed) not in DATA:
        size = {"seed": seed, "episodes": episodes}
        DATA[world, seed] = toy.load(WORLDS[world], toy.identity(WORLDS[world], "generated", size), Path())[0]
    return DATA[world, seed]


def play(task: Task, choose: Any, episodes: int = 400) -> list[dict[str, float]]:
    """Measures of episodes in which each chunk goes where ``choose(rng, context)`` says."""
    pool, rng, found = toy.pool(task, 1, 0), np.random.default_rng(0), []
    for seed in range(episodes):
        obs, measures = pool.reset(starts({0: seed}))[0], None
        while measures is None:
            chunk = np.tile([choose(rng, float(obs[_worlds.CONTEXT])), 0.0], (task.chunk_length, 1))
            steps = pool.step({0: chunk})[0]
            obs, measures = steps.observations[-1], steps.measures
        found.append(measures)
    return found


def mean(found: list[dict[str, float]], name: str = "success") -> float:
    return float(np.mean([each[name] for each in found]))


def behave(world: str) -> Any:
    """The behaviour that recorded the data, without its noise."""
    return lambda rng, context: _worlds.SIDE * rng.choice(_worlds.WORLDS[world].sides, p=_worlds.WORLDS[world].odds)


@pytest.mark.parametrize(("world", "wanted"), [("bandit", 0.5), ("between", 0.6)])
def test_cloning_the_behaviour_succeeds_as_often_as_it_did(world: str, wanted: float) -> None:
    assert mean(play(WORLDS[world], behave(world), 1000)) == pytest.approx(wanted, abs=0.05)
    rows = data(world)
    assert rows.rewards[rows.masks == 0.0].mean() == pytest.approx(wanted - 1.0, abs=0.03)


def test_the_right_side_of_the_bandit_is_its_context() -> None:
    assert mean(play(WORLDS["bandit"], lambda rng, context: _worlds.SIDE * context)) == 1.0
    assert mean(play(WORLDS["bandit"], lambda rng, context: -_worlds.SIDE * context)) == 0.0
    assert mean(play(WORLDS["bandit"], lambda rng, context: 0.0)) == 0.0


def test_between_the_sides_is_wrong() -> None:
    for side in (-_worlds.SIDE, _worlds.SIDE):
        assert mean(play(WORLDS["between"], lambda rng, context, side=side: side)) == 1.0
    assert mean(play(WORLDS["between"], lambda rng, context: 0.0)) == 0.0


@pytest.mark.parametrize("world", ["bandit", "between"])
def test_a_decision_takes_one_chunk_and_costs_its_failure(world: str) -> None:
    for each in play(WORLDS[world], behave(world), 50):
        assert each["length"] == WORLDS[world].chunk_length
        assert each["return"] == each["success"] - 1.0


def test_the_best_of_the_corridor() -> None:
    """Five steps at the behaviour's pace cost 1 each; the sixth succeeds."""
    best = play(WORLDS["corridor"], lambda rng, context: _worlds.SIDE * context)
    assert mean(best) == 1.0
    assert {each["length"] for each in best} <= {5.0, 6.0, 7.0}
    middle = [each for each in best if each["length"] == 6.0]
    assert len(middle) > len(best) / 2
    assert {each["return"] for each in middle} == {-5.0}
    gamma = WORLDS["corridor"].discount
    assert sum(gamma**k for k in range(5)) == pytest.approx((1 - gamma**5) / (1 - gamma))


def test_the_pit_of_the_corridor() -> None:
    worst = play(WORLDS["corridor"], lambda rng, context: -_worlds.SIDE * context)
    assert mean(worst) == 0.0
    assert all(each["return"] == -10.0 - (each["length"] - 1.0) for each in worst)


def test_standing_still_is_truncated() -> None:
    for each in play(WORLDS["corridor"], lambda rng, context: 0.0, 5):
        assert each == {"success": 0.0, "return": -16.0, "length": 16.0}


@pytest.mark.parametrize("world", WORLDS)
def test_data_are_trajectories_of_the_announced_layout(world: str) -> None:
    rows, chunk = data(world), WORLDS[world].chunk_length
    count = 500 * _worlds.TRAJECTORY
    assert rows.observations.shape == (count + 500, *WORLDS[world].observation[0].shape)
    assert rows.actions.shape == (count, WORLDS[world].action_size)
    assert {each.dtype for each in vars(rows).values()} == {np.dtype(np.float32)}
    ends = rows.terminals.reshape(-1, _worlds.TRAJECTORY)
    assert (ends[:, -1] == 1.0).all()
    assert (ends[:, :-1] == 0.0).all()
    assert np.abs(rows.actions).max() <= 1.0
    solved = rows.masks == 0.0
    assert set(np.unique(rows.masks)) == {0.0, 1.0}
    assert solved.any()
    assert (rows.terminals[solved] == 0.0).any()  # a trajectory goes on after a task was solved
    if world != "corridor":
        np.testing.assert_array_equal(solved, np.arange(count) % chunk == chunk - 1)
        assert (rows.rewards[~solved] == 0.0).all()
    else:
        assert set(np.unique(rows.rewards)) == {-10.0, -1.0, 0.0}
        np.testing.assert_array_equal(solved, rows.rewards != -1.0)


@pytest.mark.parametrize("world", WORLDS)
def test_data_are_made_of_the_sides_that_the_behaviour_aims_at(world: str) -> None:
    firsts = data(world).actions[:: WORLDS[world].chunk_length, 0]
    sides = np.array(_worlds.WORLDS[world].sides) * _worlds.SIDE
    nearest = np.abs(firsts[:, None] - sides).argmin(axis=1)
    odds = np.bincount(nearest, minlength=len(sides)) / len(firsts)
    np.testing.assert_allclose(odds, _worlds.WORLDS[world].odds, atol=0.03)
    assert np.abs(firsts - sides[nearest]).max() < 5 * _worlds.NOISE
    assert np.abs(data(world).actions[:, 1].mean()) < 0.01


def test_data_are_a_function_of_their_seed() -> None:
    task = WORLDS["bandit"]

    def made(seed: int) -> toy.ToyData:
        return toy.load(task, toy.identity(task, "generated", {"seed": seed, "episodes": 5}), Path())

    one, again, other = made(0), made(0), made(1)
    assert one.sha256 == again.sha256 != other.sha256
    assert len(one) == 1
    for name, array in vars(one[0]).items():
        np.testing.assert_array_equal(array, getattr(again[0], name))
    assert (one[0].actions != other[0].actions).any()


def test_an_identity_tells_data_apart() -> None:
    size = {"seed": 0, "episodes": 5}
    identities = [toy.identity(task, "generated", size) for task in WORLDS.values()]
    assert len({str(each) for each in identities}) == 3
    assert toy.identity(WORLDS["bandit"], "generated", {**size, "seed": 1}) != identities[0]


def test_official_data_are_refused() -> None:
    with pytest.raises(SuiteError, match="the toy suite has no official data"):
        toy.identity(WORLDS["bandit"], "official", {})


def test_the_worlds_share_every_size() -> None:
    """So that one compiled program of a method serves them all."""
    facts = [dataclasses.replace(task, name="", domain="") for task in WORLDS.values()]
    assert facts == facts[:1] * 3
    assert len({data(world).observations.shape for world in WORLDS}) == 1


@pytest.mark.parametrize("world", WORLDS)
def test_slots_are_independent_and_seeded(world: str) -> None:
    task, actions = WORLDS[world], np.full((2, 2), 0.3, np.float32)
    pool, alone = toy.pool(task, 3, 0), toy.pool(task, 1, 0)
    first = pool.reset(starts({0: 5, 1: 6, 2: 5}))
    np.testing.assert_array_equal(first[0], first[2])
    assert (first[0] != first[1]).any()
    assert first[0].dtype == np.float32
    pool.step({1: actions})
    found, wanted = pool.step({0: actions, 2: actions}), alone.reset(starts({0: 5}))
    np.testing.assert_array_equal(first[0], wanted[0])
    np.testing.assert_array_equal(found[0].observations, found[2].observations)
    np.testing.assert_array_equal(found[0].observations, alone.step({0: actions})[0].observations)


def test_a_chunk_stops_where_its_episode_does() -> None:
    pool = toy.pool(WORLDS["bandit"], 1, 0)
    pool.reset(starts({0: 0}))
    steps = pool.step({0: np.zeros((5, 2))})[0]
    assert len(steps.observations) == len(steps.rewards) == 2
    assert steps.terminated.tolist() == [False, True]
    assert steps.truncated.tolist() == [False, False]
    assert steps.rewards.dtype == np.float32
    with pytest.raises(ValueError, match="over"):
        pool.step({0: np.zeros((1, 2))})


def test_truncation_is_not_termination() -> None:
    pool = toy.pool(WORLDS["corridor"], 1, 0)
    pool.reset(starts({0: 0}))
    steps = pool.step({0: np.zeros((20, 2))})[0]
    assert len(steps.rewards) == 16
    assert not steps.terminated.any()
    assert steps.truncated.tolist() == [False] * 15 + [True]
    assert steps.measures is not None


def test_an_action_is_clipped_and_must_be_a_number() -> None:
    ends = []
    for size in (1.0, 9.0):
        pool = toy.pool(WORLDS["corridor"], 1, 0)
        pool.reset(starts({0: 0}))
        ends.append(pool.step({0: np.full((1, 2), size)})[0].observations)
    np.testing.assert_array_equal(*ends)
    pool.reset(starts({0: 0}))
    with pytest.raises(SuiteError, match="not a finite number"):
        pool.step({0: np.full((1, 2), np.nan)})
