"""Room for what the seeds of a pack may still see."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from benchmark.training.online import Online
from benchmark.training.replay import Transition, append, history, interrupt, tail
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
