"""A chunk's dispatch is what a loop of one step and one update at a time would do, mapped or not."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmark.training import agents, trainer
from benchmark.training.build import share
from benchmark.training.replay import Table, Transition, empty_table
from tests.benchmark import tiny

pytestmark = pytest.mark.slow
SEEDS = (6, 8)
LENGTHS = np.array([4, 2])
"""Steps of each seed's chunk; the second seed's episode ends with it."""
LAST = np.array([3, 1])
"""Updates: the first step comes before training starts."""
BEFORE = 3
"""Rows that each seed has already."""


def transitions(count: int, ends: bool) -> Transition:
    """Rows of one trajectory, for one seed."""
    rng = np.random.default_rng(count)
    states = rng.normal(size=(count + 1, 4)).astype(np.float32)
    terminal = np.zeros(count, np.float32)
    terminal[-1] = ends
    actions = rng.uniform(-1, 1, (count, 2)).astype(np.float32)
    return Transition(states[:-1], actions, -np.ones(count, np.float32), 1.0 - terminal, terminal, states[1:])


def padded(rows: Transition, length: int = 4) -> Transition:
    return Transition(*(np.pad(each, [(0, length - len(each))] + [(0, 0)] * (each.ndim - 1)) for each in rows[:6]))


def stacked(*each: Any) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)


def blocks() -> tuple[Transition, np.ndarray]:
    block = stacked(padded(transitions(4, False)), padded(transitions(2, True)))
    return block, np.arange(4) < LENGTHS[:, None]


def begun(method: str) -> tuple[agents.Agent, Table, Table]:
    shared = share(tiny.site(tiny.Path("nowhere")), tiny.cells("6", method=method)[0])
    table = empty_table(16, 2, shared.agent.problem)
    first, here = padded(transitions(BEFORE, False)), np.arange(4) < BEFORE
    online = trainer.append_all(stacked(table, table), stacked(first, first), np.stack([here, here]))
    return shared.agent, shared.table(1), online


def one_at_a_time(agent: agents.Agent, offline: Table, online: Table) -> tuple[agents.State, Table]:
    block, present = blocks()
    state = trainer.init(agent, SEEDS)
    for i in range(4):
        here = present[:, i : i + 1]
        online = trainer.append_all(online, jax.tree.map(lambda leaf, i=i: leaf[:, i : i + 1], block), here)
        steps = here[:, 0].astype(int)
        updates = steps * (i >= LENGTHS - LAST)
        due = trainer.Due(steps - updates, updates, 0 * updates, updates)
        state, _ = trainer.train(agent, state, offline, online, due, False)
    return state, online


@pytest.mark.parametrize("method", ["flow", "rlpd"])
def test_a_chunk_is_its_steps_one_at_a_time(method: str) -> None:
    agent, offline, online = begun(method)
    wanted, table = one_at_a_time(agent, offline, jax.tree.map(jnp.copy, online))
    block, present = blocks()
    online = trainer.append_all(online, block, present)
    for ours, theirs in zip(jax.tree.leaves(online), jax.tree.leaves(table), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert online.size.tolist() == [BEFORE + 4, BEFORE + 2]
    due = trainer.Due(LENGTHS - LAST, LAST, 0 * LAST, LAST)
    for vectorised in (False, True):
        state, _ = trainer.train(agent, trainer.init(agent, SEEDS), offline, online, due, vectorised)
        assert state.iteration.tolist() == LENGTHS.tolist()
        for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rate", [Fraction(1, 2), Fraction(2)])
def test_offline_no_rate_changes_what_is_sampled(rate: Fraction) -> None:
    """However many updates belong to a step of the environment, before there are any: no row of the empty table."""
    shared = share(tiny.site(Path("nowhere")), tiny.cells("6")[0])
    online = jax.tree.map(lambda leaf: leaf[None], empty_table(40, 4, shared.agent.problem))
    count = np.array([12])

    def trained(rate: Fraction) -> agents.State:
        agent = replace(shared.agent, optimiser=replace(shared.agent.optimiser, updates_per_step=rate))
        due = trainer.Due(0 * count, count, 0 * count, count)
        return trainer.train(agent, trainer.init(agent, [6]), shared.table(1), online, due, False)[0]

    for one, other in zip(*(jax.tree.leaves(trained(each)) for each in (Fraction(1), rate)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_balanced_batches_are_half_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of its own hold a reward that no other row has; half of every batch must hold it."""
    agent, offline, online = begun("rlpd")
    found = []
    sample = trainer.sample

    def spied(*arguments: Any) -> Any:
        batch = sample(*arguments)
        jax.debug.callback(lambda reward: found.append(np.asarray(reward)), batch.reward)
        return batch

    monkeypatch.setattr(trainer, "sample", spied)
    jax.clear_caches()
    marked = online._replace(rewards=jnp.full_like(online.rewards, -100.0))
    due = trainer.Due(0 * LENGTHS, LENGTHS, 0 * LENGTHS, LENGTHS)
    state, _ = trainer.train(agent, trainer.init(agent, SEEDS), offline, marked, due, False)
    jax.block_until_ready(state)
    jax.effects_barrier()
    jax.clear_caches()  # the spy stays in the compiled program
    assert len(found) == LENGTHS.sum()
    assert all((reward < -50.0).sum() == len(reward) // 2 for reward in found)


def test_metrics_of_seeds_without_an_update_are_kept() -> None:
    before = {"loss": jnp.asarray([1.0, 2.0])}
    found = trainer.latest({"loss": jnp.asarray([5.0, 0.0])}, before, np.array([2, 0]))
    assert found["loss"].tolist() == [5.0, 2.0]
