"""Room for what the seeds of a pack may still see."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmark.training.collect import Block
from benchmark.training.online import Online
from benchmark.training.replay import Transition, append, history, interrupt, tail
from methods._values import MC
from tests.benchmark import tiny


def test_episodes_that_were_broken_off_take_no_room_from_those_to_come() -> None:
    """Three that could not be taken up again, then as many of full length as may come: each end has its place."""
    shared = tiny.shared()
    online = Online(shared.agent, shared.settings, 1)
    fresh = jax.tree.leaves(online.table.observations)[0].shape
    table = online.of(0)

    def row(number: float, terminal: float) -> Transition:
        return Transition(np.full(4, number), np.zeros(2), -1.0, 1.0, terminal, np.full(4, number + 0.5))

    for number in range(3):
        table = interrupt(append(table, row(float(number), 0.0), jnp.asarray(True)))
    online.refill([(history(table, (0, 0)), tail(table))], [3])
    table, wanted = online.of(0), [0.5, 1.5, 2.5]
    for number in range(3, shared.settings.online_steps):
        ends = (number - 3 + 1) % shared.settings.horizon == 0
        table = append(table, row(float(number), float(ends)), jnp.asarray(True))
        wanted += [number + 0.5] if ends else []
    ended = np.flatnonzero(np.asarray(table.terminals))
    assert [float(table.observations[table.next_row[i], 0]) for i in ended] == wanted

    plain = Online(shared.agent, shared.settings, 1)
    first = append(plain.of(0), row(0.0, 0.0), jnp.asarray(True))
    plain.refill([(history(first, (0, 0)), tail(first))], [1])
    assert jax.tree.leaves(plain.table.observations)[0].shape == fresh, "the same program, where nothing broke off"


def test_an_episode_that_was_broken_off_is_told_to_be_over() -> None:
    """Its last reward then goes on for ever, and all of its rows say so, as a restore would have it."""
    shared = tiny.shared()
    online, gamma = Online(replace(shared.agent, rule=MC()), shared.settings, 1), shared.agent.problem.discount
    rewards = [-1.0 - number for number in range(shared.settings.horizon - 1)]
    for reward in rewards:
        each = (np.zeros(4), np.zeros(2), reward, 1.0, 0.0, np.zeros(4))
        row = Transition(*(np.asarray(value, np.float32)[None, None] for value in each))
        online.append(Block(row, np.ones((1, 1), bool)))
    assert online.table.returns is not None
    assert np.isnan(online.table.returns.value).all()
    online.take(jax.tree.map(lambda leaf: leaf[None], interrupt(online.of(0))))
    wanted = rewards[-1] / (1 - gamma)
    for i in reversed(range(len(rewards))):
        wanted = rewards[i] + gamma * wanted if i < len(rewards) - 1 else wanted
        assert float(online.table.returns.value[0, i]) == pytest.approx(wanted, rel=1e-5)
