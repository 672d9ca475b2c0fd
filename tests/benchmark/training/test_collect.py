"""Acting online: what a seed sees depends on the seed alone, and an open episode is taken up where it was left."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmark.training import trainer
from benchmark.training.collect import Collector, WarmUp
from benchmark.training.episode import Episode
from benchmark.training.replay import Table, append, empty_table
from envs import load_suite
from envs._suite import Pool, Start, Steps
from tests.benchmark import tiny

HORIZON = 16


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[list[int]]]:
    """The names of the decisions of the first rows; the policy walks by seed, chunk and step, so that chunks differ."""
    found: list[list[list[int]]] = []

    def act(agent: Any, state: Any, obs: np.ndarray, counters: np.ndarray, *how: bool) -> Any:
        found.append(counters[:, 0].tolist())
        chunks = np.zeros((*obs.shape[:2], 2, 2), np.float32)
        chunks[..., 0] = 0.1 * np.sin(1.0 + counters[..., 2] + 3 * counters[..., 1])[..., None]
        chunks[:, :, 1, 1] = 0.5
        return chunks, {}

    monkeypatch.setattr(trainer, "act_rows", act)
    return found


def new(seeds: list[int]) -> tuple[Collector, Pool]:
    collector = Collector(tiny.shared().agent, seeds, 2)
    pool = load_suite("toy").pool(tiny.shared().task, 10, 0)
    assert not collector.begun
    collector.start(pool)
    assert collector.begun
    return collector, pool


def gather(collector: Collector, pool: Pool, targets: list[int]) -> list[list[tuple[Any, ...]]]:
    """Rows of each seed up to each target in turn."""
    rows: list[list[tuple[Any, ...]]] = [[] for _ in collector.episodes]
    state: Any = None
    for target in targets:
        while min(collector.steps) < target:
            (block, present), later, steps = collector.collect(pool, state, target)
            assert later is None
            assert steps.tolist() == present.sum(axis=1).tolist()
            for s in range(len(rows)):
                rows[s] += [
                    tuple(np.asarray(leaf[s, k]).tolist() for leaf in block[:6]) for k in np.flatnonzero(present[s])
                ]
        assert collector.steps == [target] * len(rows)
    return rows


def test_every_seed_takes_exactly_the_steps_asked_for(asked: list[Any]) -> None:
    rows = gather(*new([0, 1]), [5, 6, 20, 33])
    assert [len(each) for each in rows] == [33, 33]


def test_rows_follow_one_another(asked: list[Any]) -> None:
    """obs, action, reward, mask, terminal, next_obs; an episode of 16 steps is truncated, and still bootstrapped."""
    (rows,) = gather(*new([0]), [40])
    for row, following in pairwise(rows):
        assert (row[5] == following[0]) == (row[4] == 0.0)
    assert [i for i, row in enumerate(rows) if row[4] == 1.0] == [15, 31]
    assert {row[3] for row in rows} == {1.0}
    assert {row[2] for row in rows} == {-1.0}


def test_a_termination_is_not_bootstrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(agent: Any, state: Any, obs: np.ndarray, counters: np.ndarray, *how: bool) -> Any:
        chunks = np.zeros((*obs.shape[:2], 2, 2), np.float32)
        chunks[..., 0] = obs[..., 1, None]  # at full speed to the goal: over after the fourth step at the latest
        return chunks, {}

    monkeypatch.setattr(trainer, "act_rows", act)
    (rows,) = gather(*new([0]), [30])
    ends = [row for row in rows if row[4] == 1.0]
    assert len(ends) >= 7
    assert {(row[2], row[3]) for row in ends} == {(0.0, 0.0)}
    assert {row[3] for row in rows if row[4] == 0.0} == {1.0}


def test_a_chunk_is_executed_open_loop(asked: list[Any]) -> None:
    """Two steps for each question; the policy is asked for nothing while a chunk lasts, over a target or not."""
    (rows,) = gather(*new([0]), [5, 8, 15, 16])
    assert len(asked) == 8
    assert [row[1][1] for row in rows] == [0.0, 0.5] * 8
    assert [names[0][2] for names in asked] == list(range(8))
    assert [names[0][1] for names in asked] == [0] * 8


def test_the_targets_change_nothing(asked: list[Any]) -> None:
    assert gather(*new([0, 1]), [40]) == gather(*new([0, 1]), [3, 4, 9, 17, 33, 40])


def test_the_seeds_beside_it_change_nothing(asked: list[Any]) -> None:
    both = gather(*new([0, 1]), [40])
    assert both[0] != both[1]
    assert gather(*new([1]), [40]) == both[1:]
    assert gather(*new([1, 0]), [40]) == both[::-1]


def test_initial_states_are_far_from_those_of_evaluation() -> None:
    starts = [Episode(0, seed, number).start for seed in range(20) for number in range(50)]
    assert {start.kind for start in starts} == {"training"}
    found = {start.seed for start in starts}
    assert min(found) >= 2**31
    assert max(found) < 2**32
    assert len(found) == 1000


def test_a_seed_that_leaves_takes_nothing_along(asked: list[Any]) -> None:
    both = gather(*new([0, 1]), [20])
    collector, pool = new([0, 1])
    before = gather(collector, pool, [7])
    collector.keep([1])
    assert before[1] + gather(collector, pool, [20])[0] == both[1]


def test_a_warm_up_is_uniform_noise_until_the_policy_takes_over(asked: list[Any]) -> None:
    """201 steps of noise: 100 chunks and the first half of another; then, and not before, the policy is asked."""
    collector, pool = new([0, 1])
    collector.warm_up = WarmUp("uniform", 201)
    rows = gather(collector, pool, [201])
    assert asked == []
    actions = np.asarray([[row[1] for row in each] for each in rows])  # (S, 201, A)
    assert np.abs(actions).max() <= 1.0
    assert np.abs(actions.mean(axis=(1, 2))).max() < 0.12  # four standard deviations of a mean of 402 uniforms
    np.testing.assert_allclose(actions.var(axis=(1, 2)), 1 / 3, atol=0.06)
    assert len(np.unique(actions)) == actions.size
    gather(collector, pool, [203])
    assert len(asked) == 1
    again, fresh = new([0, 1])
    again.warm_up = WarmUp("uniform", 201)
    assert gather(again, fresh, [7, 201]) == rows


def table() -> Table:
    return jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), empty_table(40, 4, tiny.shared().agent.problem))


def stored(collector: Collector) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    seeds = range(len(collector.episodes))
    return [(json.loads(json.dumps(collector.note(s))), collector.arrays(s)) for s in seeds]


@pytest.mark.parametrize("steps", [0, 5, 16, 21])
def test_an_open_episode_is_taken_up_again(asked: list[Any], steps: int) -> None:
    whole = gather(*new([0, 1]), [40])
    collector, pool = new([0, 1])
    before = gather(collector, pool, [steps])
    again = Collector(tiny.shared().agent, [0, 1], 2)
    for s, note in enumerate(stored(collector)):
        again.restore(s, *note)
    assert again.begun
    fresh, online = load_suite("toy").pool(tiny.shared().task, 10, 0), table()
    assert again.resume(fresh, online) is online
    for mine, other in zip(again.episodes, collector.episodes, strict=True):
        np.testing.assert_array_equal(mine.obs, other.obs)
        assert (mine.number, mine.decisions, mine.steps) == (other.number, other.decisions, other.steps)
    after = gather(again, fresh, [40])
    assert [one + two for one, two in zip(before, after, strict=True)] == whole


class Elsewhere:
    """A pool whose slot 1 starts a little beside where it did: another machine's rounding."""

    def __init__(self) -> None:
        self.inner = load_suite("toy").pool(tiny.shared().task, 10, 0)
        self.moved = True

    def reset(self, starts: Mapping[int, Start]) -> dict[int, Any]:
        found = self.inner.reset(starts)
        if 1 in starts and self.moved:
            self.moved = False
            slots: Any = self.inner
            slots._slots[1].state = found[1] + np.float32(1e-3)
        return found

    def step(self, chunks: Mapping[int, np.ndarray]) -> dict[int, Steps]:
        return self.inner.step(chunks)

    def close(self) -> None: ...


def test_a_replay_that_ends_elsewhere_ends_the_episode(asked: list[Any]) -> None:
    collector, pool = new([0, 1])
    gather(collector, pool, [5])
    before = copy.deepcopy(collector.episodes)
    zero = jnp.zeros(())
    row = append(
        jax.tree.map(lambda leaf: leaf[0], table()),
        trainer.Transition(jnp.ones(4), jnp.zeros(2), zero - 1, zero + 1, zero, jnp.full(4, 2.0)),
        jnp.asarray(True),
    )
    online = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), row)
    found = collector.resume(Elsewhere(), online)
    assert found.terminals[:, 0].tolist() == [0.0, 1.0]  # that of the first seed goes on
    assert found.observations[1, int(found.next_row[1, 0])].tolist() == [2.0] * 4
    kept, ended = collector.episodes
    assert kept.number == 0
    np.testing.assert_array_equal(kept.actions, before[0].actions)
    assert (ended.number, ended.steps, ended.decisions, ended.actions) == (1, 5, 0, [])
    assert len(ended.queue) == 0
    fresh = load_suite("toy").pool(tiny.shared().task, 1, 0)
    np.testing.assert_array_equal(ended.obs, fresh.reset({0: ended.start})[0])
