"""Transitions on the device, appended in place.

Two tables stand for one pool: the offline rows, shared by all seeds, and behind them a seed's own online rows. Nothing
is copied at the switch from offline to online, and S seeds hold the offline data once. Each observation is stored once:
a row names the place of its next observation, and what a trajectory ends in without a success lies behind the last row.
A row is a step or a decision. Of a decision the whole chunk is stored, at the place of its observation, so that the
place of the next observation is that of the next chunk, too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs._suite import Rows, SuiteError
from methods._contract import Problem

Array = jax.Array


class Returns(NamedTuple):
    """Of each row (C,) its discounted return, NaN in a trajectory that is not over, and the row ``until`` which that
    goes: nobody knows it before that row is there."""

    value: Array
    until: Array


class Table(NamedTuple):
    """C rows of transitions. ``observations``, whose leaves are (C + extra, ...), of which ``ends`` extra places are in
    use; ``actions`` (C, A) of steps, or (C + extra, D) of decisions; ``kept`` (C, size) by name. ``returns`` are there
    only for a value rule that needs them."""

    observations: Any
    next_row: Array
    actions: Array
    rewards: Array
    masks: Array
    terminals: Array
    kept: dict[str, Array]
    returns: Returns | None
    size: Array
    ends: Array

    @property
    def capacity(self) -> int:
        """Rows that there is room for."""
        return self.rewards.shape[-1]

    @property
    def room_for_ends(self) -> int:
        """Ends that there is room for, beside the place that the last row leads to."""
        return jax.tree.leaves(self.observations)[0].shape[self.rewards.ndim - 1] - 1 - self.capacity

    @property
    def decisions(self) -> bool:
        """Whether actions lie at places, as decisions do."""
        return self.actions.shape[-2] > self.capacity


class Transition(NamedTuple):
    """One row, as it is appended (or a block of them); NumPy's arrays on the host, JAX's inside jit. A decision also
    has the chunk that follows it, and what is kept of it."""

    obs: Any
    action: Any
    reward: Any
    mask: Any
    terminal: Any
    next_obs: Any
    next_action: Any = None
    kept: Any = None


ROW_FIELDS = ("rewards", "masks", "terminals", "kept")
"""What a row has beside what lies at its place; where its next observation lies follows from these."""


def offline_table(rows: Rows, problem: Problem) -> Table:
    """A full table, or one without rows. Raises SuiteError where the rows do not end in a trajectory's end, or not each
    end is there."""
    count = len(rows.rewards)
    if not count:
        return empty_table(1, 0, problem)
    if problem.decisions:
        raise SuiteError(f"a dataset of {count} recorded steps can't stand beside rows that are decisions")
    ends = rows.terminals > 0
    observations = jax.tree.leaves(rows.observations)
    if not ends[-1] or len(observations[0]) != count + ends.sum():
        raise SuiteError(
            f"a dataset of {count} transitions and {ends.sum()} ends of trajectories has {len(observations[0])} "
            "observations where it should have one for each, the last row being an end; fetch or generate it again."
        )
    next_row = np.arange(1, count + 1, dtype=np.int32)
    next_row[ends] = count + np.arange(ends.sum(), dtype=np.int32)
    named = problem.observation.named(rows.observations)
    return Table(
        problem.observation.of(lambda leaf: jnp.asarray(named[leaf.name], leaf.type)),
        jnp.asarray(next_row),
        *(jnp.asarray(each, jnp.float32) for each in (rows.actions, rows.rewards, rows.masks, rows.terminals)),
        kept={},
        returns=None,
        size=jnp.asarray(count, jnp.int32),
        ends=jnp.asarray(int(ends.sum()), jnp.int32),
    )


def empty_table(
    capacity: int, ends: int, problem: Problem, kept: dict[str, int] | None = None, returns: bool = False
) -> Table:
    """Room for ``capacity`` appended rows, of which so many may end a trajectory without a success."""
    places = capacity + 1 + ends
    actions = (places, problem.D) if problem.decisions else (capacity, problem.action_size)
    return Table(
        jax.tree.map(jnp.asarray, problem.observation.zeros(places)),
        jnp.zeros((capacity,), jnp.int32),
        jnp.zeros(actions),
        jnp.zeros((capacity,)),
        jnp.zeros((capacity,)),
        jnp.zeros((capacity,)),
        kept={name: jnp.zeros((capacity, size)) for name, size in (kept or {}).items()},
        returns=Returns(jnp.full((capacity,), jnp.nan), jnp.zeros((capacity,), jnp.int32)) if returns else None,
        size=jnp.zeros((), jnp.int32),
        ends=jnp.zeros((), jnp.int32),
    )


def append(table: Table, step: Transition, present: Array) -> Table:
    """The table with one more row where ``present`` is true; else the same table.

    The next observation goes where the next row will lie, or behind all rows; after a success nobody looks at it, and
    it goes nowhere. Rows that lie there already are not changed: how many of them are in use is up to ``size`` alone.
    """
    row, capacity = table.size, table.capacity
    ended = present & (step.terminal > 0)
    left = ended & (step.mask > 0)
    behind = capacity + 1 + table.ends
    next_row = jnp.where(left, behind, jnp.where(ended, row, row + 1)).astype(jnp.int32)
    nowhere = jax.tree.leaves(table.observations)[0].shape[0]  # behind the table; what is written there is dropped
    at = jnp.where(present, row, nowhere)
    following = jnp.where(present & (left | ~ended), next_row, nowhere)

    def written(column: Any, where: Array, value: Any) -> Any:
        return jax.tree.map(lambda each, new: each.at[where].set(new, mode="drop"), column, value)

    actions = written(table.actions, at, step.action)
    if step.next_action is not None:
        actions = written(actions, following, step.next_action)
    return table._replace(
        observations=written(written(table.observations, at, step.obs), following, step.next_obs),
        next_row=written(table.next_row, at, next_row),
        actions=actions,
        rewards=written(table.rewards, at, step.reward),
        masks=written(table.masks, at, step.mask),
        terminals=written(table.terminals, at, step.terminal),
        kept=written(table.kept, at, step.kept or {}),
        size=row + present.astype(jnp.int32),
        ends=table.ends + left.astype(jnp.int32),
    )


def interrupt(table: Table) -> Table:
    """The last row ends its trajectory after all: an episode that could not be taken up again."""
    row = table.size - 1
    next_row = table.capacity + 1 + table.ends

    def moved(column: Array) -> Array:
        return column.at[next_row].set(column[table.next_row[row]])

    return table._replace(
        observations=jax.tree.map(moved, table.observations),
        actions=moved(table.actions) if table.decisions else table.actions,
        next_row=table.next_row.at[row].set(next_row),
        terminals=table.terminals.at[row].set(1.0),
        ends=table.ends + 1,
    )


Rowwise = dict[str, np.ndarray]
"""What a checkpoint holds of rows: arrays by name."""


def _places(table: Table) -> dict[str, Any]:
    """The columns that have an entry for each place."""
    return {"observations": table.observations} | ({"actions": table.actions} if table.decisions else {})


def _of_rows(table: Table) -> dict[str, Any]:
    """The columns that have an entry for each row."""
    return {name: getattr(table, name) for name in ROW_FIELDS} | ({} if table.decisions else {"actions": table.actions})


def _cut(leaf: Array, first: int, last: int) -> np.ndarray:
    """These entries, on the host. Windows of a few sizes are taken, since each size is a program."""
    count = min(len(leaf), 1 << max(0, last - first - 1).bit_length())
    start = min(first, len(leaf) - count)
    return np.asarray(jax.lax.dynamic_slice_in_dim(leaf, start, count))[first - start : last - start]


def _flat(tree: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def settled(table: Table) -> tuple[int, int]:
    """Rows that no later one changes, all but the last, and ends of trajectories that are stored."""
    return max(0, int(table.size) - 1), int(table.ends)


def history(table: Table, since: tuple[int, int]) -> Rowwise:
    """One seed's settled rows and ends from ``since`` on: what a file of rows grows by."""
    (first, first_end), (rows, ends) = since, settled(table)
    behind = table.capacity + 1
    places = _flat(_places(table)).items()
    found = {f"row{name}": _cut(leaf, first, rows) for name, leaf in _flat(_of_rows(table)).items()}
    found |= {f"place{name}": _cut(leaf, first, rows) for name, leaf in places}
    return found | {f"end{name}": _cut(leaf, behind + first_end, behind + ends) for name, leaf in places}


def tail(table: Table) -> Rowwise:
    """One seed's last row, and what lies behind it, where the next row will: all that its `history` does not hold."""
    size, rows = int(table.size), settled(table)[0]
    found = {f"row{name}": _cut(leaf, rows, size) for name, leaf in _flat(_of_rows(table)).items()}
    return found | {f"place{name}": _cut(leaf, rows, size + 1) for name, leaf in _flat(_places(table)).items()}


def refilled(table: Table, past: Rowwise, last: Rowwise) -> Table:
    """An empty table with the rows of a `history` from the start, and of its `tail`, in it; it may have other room."""
    counts = [len(each.get("row['rewards']", ())) for each in (past, last)]
    rows, size, behind = counts[0], sum(counts), table.capacity + 1

    def filled(kind: str, column: Any) -> Any:
        def leaf(path: Any, empty: Array) -> Array:
            name = f"{kind}{jax.tree_util.keystr(path)}"
            found = np.array(empty)
            found[:rows] = past.get(name, found[:rows])
            found[rows : rows + len(last[name])] = last[name]
            ends = past.get(f"end{jax.tree_util.keystr(path)}", ()) if kind == "place" else ()
            found[behind : behind + len(ends)] = ends if len(ends) else found[:0]
            return jnp.asarray(found)

        return jax.tree_util.tree_map_with_path(leaf, column)

    columns = filled("row", _of_rows(table)) | filled("place", _places(table))
    ended = np.array(columns["terminals"]) > 0
    left = ended & (np.array(columns["masks"]) > 0)
    row = np.arange(table.capacity)
    next_row = np.where(left, behind + np.cumsum(left) - 1, np.where(ended, row, row + 1)).astype(np.int32)
    return table._replace(
        **columns,
        next_row=jnp.asarray(next_row),
        size=jnp.asarray(size, jnp.int32),
        ends=jnp.asarray(left.sum(), jnp.int32),
    )
