"""Evaluation: the numbers do not depend on how many episodes, or which seeds, run side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pytest

from benchmark.training import agents, trainer
from benchmark.training.evaluate import evaluate, slots_per_seed
from envs import load_suite
from envs._suite import Start, Steps
from tests.benchmark import tiny

EPISODES = 5
CHUNK, LENGTH = 2, 5
"""Steps of a chunk, and of an episode of the scripted pool."""


@pytest.fixture(scope="module")
def state() -> agents.State:
    return trainer.init(tiny.shared().agent, [0, 1])


def row(state: agents.State, s: int) -> agents.State:
    return jax.tree.map(lambda leaf: leaf[s : s + 1], state)


def measured(state: agents.State, width: int, pool: Any = None, step: int = 7, first_slot: int = 3) -> list[Any]:
    pool = pool or load_suite("toy").pool(tiny.shared().task, 100, 0)
    told: list[tuple[int, int]] = []
    found = evaluate(
        tiny.shared().agent, state, pool, first_slot, width, EPISODES, step, lambda *counts: told.append(counts)
    )
    seeds = len(state.iteration)
    assert told[-1] == (seeds * EPISODES, seeds * EPISODES)
    assert told == sorted(told)
    return found


@pytest.fixture(scope="module")
def together(state: agents.State) -> list[Any]:
    return measured(state, EPISODES)


def test_the_width_changes_no_bit(state: agents.State, together: list[Any]) -> None:
    assert set(together[0]) == {"success", "return", "length"}
    assert together[0] != together[1]
    assert measured(state, 1) == together
    assert measured(state, 1, first_slot=0) == together


@pytest.mark.slow
def test_the_seeds_beside_it_change_nothing(state: agents.State, together: list[Any]) -> None:
    assert measured(row(state, 1), EPISODES) == together[1:]


def test_the_step_of_training_names_the_noise(state: agents.State, together: list[Any]) -> None:
    assert measured(state, EPISODES, step=8) != together


class Scripted:
    """A pool that notes what it was asked: an episode's return is 10 times its initial state's seed."""

    def __init__(self, order: int = 1) -> None:
        self.order = order
        self.seeds: dict[int, list[int]] = {}
        self.chunks: list[np.ndarray] = []
        self.taken: dict[int, int] = {}

    def reset(self, starts: Mapping[int, Start]) -> dict[int, np.ndarray]:
        assert {start.kind for start in starts.values()} == {"evaluation"}
        for slot, start in starts.items():
            self.seeds.setdefault(slot, []).append(start.seed)
            self.taken[slot] = 0
        return {slot: np.full(4, starts[slot].seed, np.float32) for slot in list(starts)[:: self.order]}

    def step(self, chunks: Mapping[int, np.ndarray]) -> dict[int, Steps]:
        return {slot: self._one(slot, chunks[slot]) for slot in list(chunks)[:: self.order]}

    def _one(self, slot: int, chunk: np.ndarray) -> Steps:
        assert self.taken[slot] < LENGTH
        self.chunks.append(chunk)
        count = min(len(chunk), LENGTH - self.taken[slot])
        self.taken[slot] += count
        over, seed = self.taken[slot] == LENGTH, self.seeds[slot][-1]
        ends = np.array([False] * (count - 1) + [over])
        measures = {"success": float(seed == 1), "return": 10.0 * seed, "length": float(LENGTH)} if over else None
        obs = np.full((count, 4), seed, np.float32)
        return Steps(obs, np.zeros(count, np.float32), ends, np.zeros(count, bool), measures)

    def close(self) -> None: ...


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The observations of every time that the policy was asked, and no policy."""
    found: list[np.ndarray] = []

    def act(agent: Any, state: Any, obs: np.ndarray, counters: np.ndarray, vectorised: bool) -> Any:
        found.append(obs.copy())
        return np.zeros((*obs.shape[:2], CHUNK, 2), np.float32), {}

    monkeypatch.setattr(trainer, "act_rows", act)
    return found


@pytest.mark.parametrize("width", [1, 2, EPISODES])
def test_each_initial_state_is_used_once_by_each_seed(state: agents.State, asked: list[np.ndarray], width: int) -> None:
    pool = Scripted()
    found = measured(state, width, pool)
    assert found == [{"success": 0.2, "return": 20.0, "length": LENGTH}] * 2
    slots = range(3, 3 + 2 * width)
    assert set(pool.seeds) == set(slots)
    for s in range(2):
        used = [seed for slot in slots[s * width : (s + 1) * width] for seed in pool.seeds[slot]]
        assert sorted(used) == list(range(EPISODES))


@pytest.mark.parametrize("width", [1, EPISODES])
def test_the_policy_is_asked_once_for_each_chunk(state: agents.State, asked: list[np.ndarray], width: int) -> None:
    """An episode of 5 steps takes 3 chunks of 2; the last is cut by its end."""
    pool = Scripted()
    measured(state, width, pool)
    assert len(pool.chunks) == 2 * EPISODES * 3
    assert {chunk.shape for chunk in pool.chunks} == {(CHUNK, 2)}
    assert len(asked) == 3 * -(-EPISODES // width)


def test_an_observation_belongs_to_its_slot(state: agents.State, asked: list[np.ndarray]) -> None:
    measured(state, EPISODES, Scripted())
    for obs in asked:
        assert obs[:, :, 0].tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0]] * 2


def test_the_order_of_a_pools_answer_means_nothing(state: agents.State, asked: list[np.ndarray]) -> None:
    measured(state, EPISODES, Scripted(order=-1))
    assert asked[0][:, :, 0].tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0]] * 2


def test_slots_are_shared_out() -> None:
    assert slots_per_seed(1, 50, 50) == 50
    assert slots_per_seed(8, 50, 50) == 6
    assert slots_per_seed(1, 8, 50) == 8
    assert slots_per_seed(51, 50, 50) == 1
    assert slots_per_seed(4, 50, 2) == 1
    for seeds in range(1, 51):
        assert seeds * slots_per_seed(seeds, 50, 50) <= 50
