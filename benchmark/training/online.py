"""The rows that the seeds of a pack saw themselves: one table for each, stacked, with room for what may come."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from benchmark.planning.settings import Settings
from benchmark.training import replay, trainer
from benchmark.training.agents import Agent
from benchmark.training.collect import Block
from benchmark.training.replay import Rowwise, Table
from benchmark.training.sampling import with_returns

Room = tuple[int, int]
"""Rows, and ends of trajectories that no success ended."""


class Online:
    """Tables (S, ...) of one shape. There from the start, so that both phases are one program."""

    def __init__(self, agent: Agent, settings: Settings, seeds: int) -> None:
        self.agent, self.settings = agent, settings
        self.table = _stacked([self._empty(self.room())] * seeds)

    def room(self) -> Room:
        """Room for every step, or for every decision if each but an episode's last executes its whole chunk and one
        episode in a few ends early; each episode that finds no success takes all of its horizon."""
        settings, decisions = self.settings, self.agent.problem.decisions
        rows = max(1, settings.online_steps)
        rows = rows // settings.chunk_length * 5 // 4 + 16 if decisions else rows
        return rows, settings.online_steps // settings.horizon + 2

    def _empty(self, room: Room) -> Table:
        kept = self.agent.method.keeps(self.agent.problem)
        return replay.empty_table(*room, self.agent.problem, kept, "return_to_go" in self.agent.rule.needs)

    def append(self, block: Block) -> None:
        """Rows (S, R, ...), as far as they are present."""
        if self.agent.problem.decisions:
            self._make_room(block.present.shape[1])
        problem = self.agent.problem
        longest = -(-self.settings.horizon // (problem.chunk_length if problem.decisions else 1)) + 1
        words = (problem.row_discount, longest) if self.table.returns is not None else ()
        self.table = trainer.append_all(self.table, block.rows, block.present, *words)

    def _make_room(self, rows: int) -> None:
        """Half as much again where decisions were shorter than expected."""
        capacity = self.table.capacity
        if int(jnp.max(self.table.size)) + rows > capacity:
            each = [self.of(s) for s in range(len(self.table.size))]
            empty = self._empty((capacity * 3 // 2, each[0].room_for_ends))
            filled = [replay.refilled(empty, replay.history(one, (0, 0)), replay.tail(one)) for one in each]
            self.table = _stacked([self._told(one) for one in filled])

    def of(self, s: int) -> Table:
        """One seed's table."""
        return jax.tree.map(lambda leaf: leaf[s], self.table)

    def take(self, table: Table) -> None:
        """The same rows, some of which ended after all: what follows from that is told anew."""
        seeds = range(len(table.size)) if table.returns is not None else ()
        told = [self._told(jax.tree.map(lambda leaf, s=s: leaf[s], table)) for s in seeds]
        self.table = _stacked(told) if told else table

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these seeds only."""
        self.table = jax.tree.map(lambda leaf: leaf[np.asarray(rows, int)], self.table)

    def refill(self, saved: Sequence[tuple[Rowwise, Rowwise]], steps: Sequence[int]) -> None:
        """The rows of each seed, as `replay.history` and `replay.tail` said them, with room for what may follow so many
        steps: an episode that could not be taken up again ended before its time."""
        capacity, ends = self.room()
        behind = [_count(past, "end") for past, _ in saved]
        sizes = [len(past.get("row['rewards']", ())) + len(last["row['rewards']"]) for past, last in saved]
        while self.agent.problem.decisions and max(sizes) + 2 > capacity:
            capacity = capacity * 3 // 2
        left = [(self.settings.online_steps - taken) // self.settings.horizon + 2 for taken in steps]
        empty = self._empty((capacity, max(ends, *(had + more for had, more in zip(behind, left, strict=True)))))
        self.table = _stacked([self._told(replay.refilled(empty, past, last)) for past, last in saved])

    def _told(self, table: Table) -> Table:
        if table.returns is None:
            return table
        return with_returns(table, self.agent.problem.row_discount)

    @property
    def nbytes(self) -> int:
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self.table))


def _count(rows: Rowwise, kind: str) -> int:
    return next((len(array) for name, array in rows.items() if name.startswith(kind)), 0)


def _stacked(tables: Sequence[Table]) -> Table:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *tables)
