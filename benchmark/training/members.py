"""The members of a pack: one run each, and from where they can go on side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.planning.plan import Cell
from benchmark.runs import checkpoint
from benchmark.runs.records import Records
from benchmark.runs.row_files import Arrays, RowFiles
from benchmark.training.evaluate import Measures
from benchmark.training.replay import Table, history, settled, tail

LAST, OPEN = "last/", "open/"


class Saved(NamedTuple):
    """A seed's state; its settled rows, its last one, and the arrays of its open episode."""

    state: Any
    past: Arrays
    last: Arrays
    open: Arrays


@dataclass
class Member:
    """One seed of a pack: its records, where it goes on from, and what the evaluations at the ends of phases found."""

    cell: Cell
    records: Records
    found: checkpoint.Found | None = None
    final: Measures = field(default_factory=dict)
    files: RowFiles | None = None

    @property
    def note(self) -> dict[str, Any] | None:
        return self.found.note if self.found else None

    @property
    def stands(self) -> Any:
        """What members must have in common to go on side by side: phase and last boundary."""
        return None if self.note is None else (self.note["collector"]["begun"], self.note["reached"])

    @property
    def reached(self) -> int:
        """Steps that are saved, offline and online."""
        if self.note is None:
            return 0
        taken = self.note["collector"]["steps"]
        return max(self.note["reached"], self.cell.configuration["settings"]["offline_steps"] + taken if taken else 0)

    @property
    def checkpoint(self) -> Path:
        return self.records.folder / "checkpoint"

    def save(self, state: Any, rows: Table, open_episode: Arrays, note: dict[str, Any]) -> None:
        """A checkpoint; of the rows only what is new is written."""
        self.records.check()  # rows are written where they stay
        self.checkpoint.mkdir(exist_ok=True)
        self.files = self.files or checkpoint.files_of_rows(self.checkpoint)
        mark = self.files.grow(settled(rows), partial(history, rows))
        beside = {LAST + name: array for name, array in tail(rows).items()}
        beside |= {OPEN + name: array for name, array in open_episode.items()}
        checkpoint.save(self.checkpoint, state, beside, note, self.records.check, mark)
        self.files.saved(mark)

    def load(self, like: Any) -> Saved:
        """What was saved, the state shaped as ``like``."""
        found = checkpoint.load(self.checkpoint / checkpoint.FILE, like)

        def named(prefix: str) -> Arrays:
            return {name.removeprefix(prefix): each for name, each in found.beside.items() if name.startswith(prefix)}

        return Saved(found.tree, found.rows, named(LAST), named(OPEN))

    def choices(self) -> dict[str, checkpoint.Found | None]:
        """Where this run can go on from, newest first, by the name of the save that its pack made together; the start
        ('') until its pack has saved together once."""
        usable = checkpoint.usable(self.checkpoint)
        found: dict[str, checkpoint.Found | None] = {each.note.get("save", str(each.path)): each for each in usable}
        return found if found and self.records.saved else {**found, "": None}


def side_by_side(members: Sequence[Member]) -> list[list[Member]]:
    """Members in groups that go on together, each told from where.

    A kill between the saves of two members leaves them one save apart; then all go back to the last that they share, so
    that the pack goes on as it was, to the last bit. Members that share none go on in groups that stand alike. What was
    saved after that is forgotten.
    """
    choices = [member.choices() for member in members]
    shared = [save for save in choices[0] if all(save in each for each in choices)]
    groups: dict[Any, list[Member]] = {}
    for member, own in zip(members, choices, strict=True):
        member.found = own[shared[0]] if shared else next(iter(own.values()))
        checkpoint.go_back(member.checkpoint, member.found)
        groups.setdefault(member.stands, []).append(member)
    return list(groups.values())
