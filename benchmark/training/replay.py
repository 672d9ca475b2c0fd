"""Transitions on the device: sequence sampling inside jit, appending in place.

Two tables stand for one pool: the offline rows, shared by all seeds, and behind them a seed's own online rows. Nothing
is copied at the switch from offline to online, and S seeds hold the offline data once. Each observation is stored once:
a row names the row of its next observation, and what a trajectory ends in lies behind the last row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs._suite import Rows, SuiteError
from methods._contract import Batch

Array = jax.Array


class Table(NamedTuple):
    """C rows of transitions; ``observations`` (C + extra, d), of which ``ends`` extra ones are in use."""

    observations: Array
    next_row: Array
    actions: Array
    rewards: Array
    masks: Array
    terminals: Array
    size: Array
    ends: Array


ROW_FIELDS = ("next_row", "actions", "rewards", "masks", "terminals")


class Transition(NamedTuple):
    """One environment step, as it is appended (or a block of them); NumPy's arrays on the host, JAX's inside jit."""

    obs: Any
    action: Any
    reward: Any
    mask: Any
    terminal: Any
    next_obs: Any


def offline_table(rows: Rows) -> Table:
    """A full table. Raises SuiteError where the rows do not end in a trajectory's end, or not each end is there."""
    count = len(rows.rewards)
    ends = rows.terminals > 0
    if not ends[-1] or len(rows.observations) != count + ends.sum():
        raise SuiteError(
            f"a dataset of {count} transitions and {ends.sum()} ends of trajectories has {len(rows.observations)} "
            "observations where it should have one for each, the last row being an end; fetch or generate it again."
        )
    next_row = np.arange(1, count + 1, dtype=np.int32)
    next_row[ends] = count + np.arange(ends.sum(), dtype=np.int32)
    return Table(
        jnp.asarray(rows.observations, jnp.float32),
        jnp.asarray(next_row),
        *(jnp.asarray(each, jnp.float32) for each in (rows.actions, rows.rewards, rows.masks, rows.terminals)),
        size=jnp.asarray(count, jnp.int32),
        ends=jnp.asarray(int(ends.sum()), jnp.int32),
    )


def empty_table(capacity: int, observation: tuple[int, ...], action_size: int) -> Table:
    """Room for ``capacity`` appended rows, each of which may end a trajectory."""
    return Table(
        jnp.zeros((2 * capacity + 1, *observation)),
        jnp.zeros((capacity,), jnp.int32),
        jnp.zeros((capacity, action_size)),
        jnp.zeros((capacity,)),
        jnp.zeros((capacity,)),
        jnp.zeros((capacity,)),
        size=jnp.zeros((), jnp.int32),
        ends=jnp.zeros((), jnp.int32),
    )


def append(table: Table, step: Transition, present: Array) -> Table:
    """The table with one more row where ``present`` is true; else the same table.

    The next observation goes where the next row will lie, or behind all rows. Rows that lie there already are not
    changed: how many of them are in use is up to ``size`` alone.
    """
    row, capacity = table.size, table.actions.shape[0]
    ended = present & (step.terminal > 0)
    next_row = jnp.where(ended, capacity + 1 + table.ends, row + 1).astype(jnp.int32)
    nowhere = table.observations.shape[0]  # behind the table; what is written there is dropped
    at, following = jnp.where(present, row, nowhere), jnp.where(present, next_row, nowhere)

    def written(column: Array, where: Array, value: Any) -> Array:
        return column.at[where].set(value, mode="drop")

    return Table(
        written(written(table.observations, at, step.obs), following, step.next_obs),
        written(table.next_row, at, next_row),
        written(table.actions, at, step.action),
        written(table.rewards, at, step.reward),
        written(table.masks, at, step.mask),
        written(table.terminals, at, step.terminal),
        size=row + present.astype(jnp.int32),
        ends=table.ends + ended.astype(jnp.int32),
    )


def interrupt(table: Table) -> Table:
    """The last row ends its trajectory after all: an episode that could not be taken up again."""
    row = table.size - 1
    next_row = table.actions.shape[0] + 1 + table.ends
    final = table.observations[table.next_row[row]]
    return table._replace(
        observations=table.observations.at[next_row].set(final),
        next_row=table.next_row.at[row].set(next_row),
        terminals=table.terminals.at[row].set(1.0),
        ends=table.ends + 1,
    )


def filled(table: Table) -> dict[str, np.ndarray]:
    """What one seed's appended rows hold, without the room behind them: for a checkpoint."""
    size, ends, behind = int(table.size), int(table.ends), table.actions.shape[0] + 1
    rows = {name: np.asarray(getattr(table, name))[:size] for name in ROW_FIELDS}
    observations = np.asarray(table.observations)
    return rows | {"observations": observations[: size + 1], "finals": observations[behind : behind + ends]}


def refilled(table: Table, rows: dict[str, np.ndarray]) -> Table:
    """An empty table with the rows of `filled` in it."""
    size, ends, behind = len(rows["actions"]), len(rows["finals"]), table.actions.shape[0] + 1
    observations = table.observations.at[: size + 1].set(rows["observations"])
    return table._replace(
        **{name: getattr(table, name).at[:size].set(rows[name]) for name in ROW_FIELDS},
        observations=observations.at[behind : behind + ends].set(rows["finals"]),
        size=jnp.asarray(size, jnp.int32),
        ends=jnp.asarray(ends, jnp.int32),
    )


def sample(
    offline: Table, online: Table, key: Array, batch_size: int, chunk_length: int, discount: float, balanced: bool
) -> Batch:
    """``batch_size`` sequences, each start uniform over all rows that have H - 1 rows behind them; where ``balanced``,
    one half from the offline rows, then one half from the online ones, of which there must be H.

    Li & Levine 2026 (arXiv 2601.14234), released code: rewards add up to the trajectory's end, also past a success; a
    chunk's actions are taken as stored, even from the next trajectory; ``valid`` is 0 where a trajectory ends before
    the last offset. The discounts are rounded once from float64, the sum of at most H small rewards is float32.
    """

    def starts(key: Array, rows: Array, count: int) -> Array:
        return jax.random.randint(key, (count,), 0, rows - chunk_length + 1)

    if balanced:
        first, second = jax.random.split(key)
        own = batch_size // 2
        halves = starts(first, offline.size, batch_size - own), offline.size + starts(second, online.size, own)
        start = jnp.concatenate(halves)
    else:
        start = starts(key, offline.size + online.size, batch_size)
    return sequences(offline, online, start, chunk_length, discount)


def sequences(offline: Table, online: Table, start: Array, chunk_length: int, discount: float) -> Batch:
    """The chunks that begin at the given rows (B,) of the pool."""
    rows = start[:, None] + jnp.arange(chunk_length)  # (B, H)

    def at(name: str, rows: Array) -> Array:
        first, second = getattr(offline, name), getattr(online, name)
        here = rows < offline.size
        mine = first[jnp.where(here, rows, 0)]
        theirs = second[jnp.where(here, 0, rows - offline.size)]
        return jnp.where(here.reshape(here.shape + (1,) * (mine.ndim - here.ndim)), mine, theirs)

    def next_observation(row: Array) -> Array:
        here = (row < offline.size)[:, None]
        mine = offline.observations[offline.next_row[jnp.where(row < offline.size, row, 0)]]
        theirs = online.observations[online.next_row[jnp.where(row < offline.size, 0, row - offline.size)]]
        return jnp.where(here, mine, theirs)

    ended = jax.lax.cummax(at("terminals", rows), axis=1)
    inside = jnp.concatenate([jnp.ones_like(ended[:, :1]), 1.0 - ended[:, :-1]], axis=1)  # V_k, (B, H)
    powers = jnp.asarray(np.float64(discount) ** np.arange(chunk_length), jnp.float32)
    last = start + inside.sum(axis=1).astype(jnp.int32) - 1
    return Batch(
        obs=at("observations", start),
        chunk=at("actions", rows).reshape(start.shape[0], -1),
        reward=jnp.sum(powers * at("rewards", rows) * inside, axis=1),
        mask=jnp.min(jnp.where(inside > 0, at("masks", rows), 1.0), axis=1),
        valid=inside[:, -1],
        next_obs=next_observation(last),
    )
