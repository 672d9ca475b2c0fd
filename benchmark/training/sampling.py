"""Batches from the pool of two tables, inside jit: which rows, reduced over a chunk, and how they go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmark.training.replay import Returns, Table
from methods._contract import Batch

Array = jax.Array


def sample(
    offline: Table,
    online: Table,
    key: Array,
    batch_size: int,
    chunk_length: int,
    discount: float,
    balanced: bool,
    decisions: bool = False,
    needs: Sequence[str] = (),
) -> Batch:
    """``batch_size`` chunks, each start uniform over all rows that have a chunk's rows from there on; where
    ``balanced``, one half from the offline rows, then one half from the online ones, of which there must be a chunk's.
    ``needs`` are the optional fields of the batch that are wanted.
    """
    length = 1 if decisions else chunk_length

    def starts(key: Array, rows: Array, count: int) -> Array:
        return jax.random.randint(key, (count,), 0, rows - length + 1)

    if balanced:
        first, second = jax.random.split(key)
        own = batch_size // 2
        halves = starts(first, offline.size, batch_size - own), offline.size + starts(second, online.size, own)
        start = jnp.concatenate(halves)
    else:
        start = starts(key, offline.size + online.size, batch_size)
    if decisions:
        return _decisions(Pool(offline, online), start, needs)
    return sequences(offline, online, start, chunk_length, discount, needs)


class Pool:
    """The rows of two tables, one behind the other."""

    def __init__(self, offline: Table, online: Table) -> None:
        self.offline, self.online = offline, online

    def at(self, name: str, rows: Array) -> Any:
        """A column at rows of the pool; of places it is that of the row itself."""
        return self._chosen(rows, rows, rows - self.offline.size, name)

    def returns(self, rows: Array) -> Array:
        """Discounted returns, NaN where they are not known yet."""
        found = self.at("returns", rows)
        there = (rows < self.offline.size) | (found.until < self.online.size)
        return jnp.where(there, found.value, jnp.nan)

    def following(self, name: str, rows: Array) -> Any:
        """A column of places, where the next observations of these rows (B,) lie."""
        here = rows < self.offline.size
        mine = self.offline.next_row[jnp.where(here, rows, 0)]
        theirs = self.online.next_row[jnp.where(here, 0, rows - self.offline.size)]
        return self._chosen(rows, mine, theirs, name)

    def _chosen(self, rows: Array, mine: Array, theirs: Array, name: str) -> Any:
        here = rows < self.offline.size

        def leaf(first: Array, second: Array) -> Array:
            one, other = first[jnp.where(here, mine, 0)], second[jnp.where(here, 0, theirs)]
            return jnp.where(here.reshape(here.shape + (1,) * (one.ndim - here.ndim)), one, other)

        return jax.tree.map(leaf, getattr(self.offline, name), getattr(self.online, name))


def _decisions(pool: Pool, rows: Array, needs: Sequence[str]) -> Batch:
    """Rows (B,) that are decisions: a row enters only when its next chunk is decided, so that each of them has one."""
    ones = jnp.ones(rows.shape)
    optional = {
        "next_chunk": lambda: pool.following("actions", rows),
        "next_chunk_valid": lambda: ones,
        "return_to_go": lambda: pool.returns(rows),
    }
    return Batch(
        obs=pool.at("observations", rows),
        chunk=pool.at("actions", rows),
        reward=pool.at("rewards", rows),
        mask=pool.at("masks", rows),
        valid=ones,
        next_obs=pool.following("observations", rows),
        kept={name: column[jnp.maximum(rows - pool.offline.size, 0)] for name, column in pool.online.kept.items()},
        **{name: optional[name]() for name in needs},
    )


def sequences(
    offline: Table, online: Table, start: Array, chunk_length: int, discount: float, needs: Sequence[str] = ()
) -> Batch:
    """The chunks of steps that begin at the given rows (B,) of the pool.

    Li & Levine 2026 (arXiv 2601.14234), released code: rewards add up to the trajectory's end, also past a success; a
    chunk's actions are taken as stored, even from the next trajectory; ``valid`` is 0 where a trajectory ends before
    the last offset. The discounts are rounded once from float64, the sum of at most H small rewards is float32.
    """
    pool = Pool(offline, online)
    rows = start[:, None] + jnp.arange(chunk_length)  # (B, H)
    inside = _inside(pool.at("terminals", rows))  # V_k, (B, H)
    powers = jnp.asarray(np.float64(discount) ** np.arange(chunk_length), jnp.float32)
    last = start + inside.sum(axis=1).astype(jnp.int32) - 1
    batch = Batch(
        obs=pool.at("observations", start),
        chunk=pool.at("actions", rows).reshape(start.shape[0], -1),
        reward=jnp.sum(powers * pool.at("rewards", rows) * inside, axis=1),
        mask=jnp.min(jnp.where(inside > 0, pool.at("masks", rows), 1.0), axis=1),
        valid=inside[:, -1],
        next_obs=pool.following("observations", last),
    )
    if "next_chunk" in needs:
        both = start[:, None] + jnp.arange(2 * chunk_length)
        there = both[:, -1] < offline.size + online.size
        both = jnp.minimum(both, jnp.maximum(offline.size + online.size - 1, 0))
        chunk = pool.at("actions", both[:, chunk_length:]).reshape(start.shape[0], -1)
        valid = _inside(pool.at("terminals", both))[:, -1] * there
        batch = batch._replace(next_chunk=chunk, next_chunk_valid=valid)
    if "return_to_go" in needs:
        batch = batch._replace(return_to_go=pool.returns(start))
    return batch


def _inside(terminals: Array) -> Array:
    """1 up to and with the first end of a trajectory, 0 behind it: (B, n)."""
    ended = jax.lax.cummax(terminals, axis=1)
    return jnp.concatenate([jnp.ones_like(ended[:, :1]), 1.0 - ended[:, :-1]], axis=1)


def returns_to_go(rewards: Array, masks: Array, terminals: Array, size: Array, discount: float) -> Returns:
    """The discounted return of each row (C,) to its trajectory's end, with ``discount`` for each row.

    It ends at the first mask of 0. Where a trajectory ends without one, its last reward counts as going on for ever:
    r / (1 - discount). Rows of a trajectory that is not over, and those from ``size`` on, have none: NaN.
    """

    def step(after: Returns, row: tuple[Array, ...]) -> tuple[Returns, Returns]:
        reward, mask, terminal, at = row
        on = jnp.where(terminal > 0, reward / (1.0 - discount), reward + discount * after.value)
        value = jnp.where(at < size, jnp.where(mask > 0, on, reward), jnp.nan)
        found = Returns(value, jnp.where((terminal > 0) | (mask == 0), at, after.until))
        return found, found

    at = jnp.arange(rewards.shape[0], dtype=jnp.int32)
    nothing = Returns(jnp.asarray(jnp.nan), jnp.asarray(0, jnp.int32))
    return jax.lax.scan(step, nothing, (rewards, masks, terminals, at), reverse=True)[1]


def with_returns(table: Table, discount: float, longest: int | None = None) -> Table:
    """The table with the returns of its rows; of the last ``longest`` alone where all before are known."""
    count = min(longest or table.capacity, table.capacity)
    first = jnp.clip(table.size - count, 0, table.capacity - count)
    columns = (table.rewards, table.masks, table.terminals)
    rewards, masks, terminals = (jax.lax.dynamic_slice(each, (first,), (count,)) for each in columns)
    found = returns_to_go(rewards, masks, terminals, table.size - first, discount)
    found = found._replace(until=first + found.until)
    if count == table.capacity:
        return table._replace(returns=found)
    return table._replace(
        returns=jax.tree.map(lambda old, new: jax.lax.dynamic_update_slice(old, new, (first,)), table.returns, found)
    )
