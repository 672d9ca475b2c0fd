"""Which runs of a plan were made by other code than is there today."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.planning.plan import Cell
from benchmark.planning.words import counted
from benchmark.runs.attempts import METHOD_CODE, SHARED_CODE, Lines, code_of
from benchmark.runs.fingerprint import Sources
from benchmark.runs.superseded import FOLDER

SHORT = 8
"""Digits of a fingerprint that are shown."""


@dataclass(frozen=True)
class Changed:
    """``today``: the code of each method. ``stale``: runs (by key) that other code of their method made. ``back``: runs
    that were set aside, and were made by today's. ``shared`` and ``unknown``: runs that are done and whose shared path
    differs, or that are from before code was noted."""

    today: Mapping[str, str]
    stale: Mapping[str, str] = field(default_factory=dict)
    back: frozenset[str] = frozenset()
    shared: int = 0
    unknown: int = 0


def compare(
    root: Path, cells: Sequence[Cell], attempts: Mapping[str, Lines], states: Mapping[str, str], sources: Sources
) -> Changed:
    """How the runs of these cells stand to today's code; ``attempts`` and ``states`` are theirs, by key."""
    today = {name: sources.method(name) for name in {cell.method for cell in cells}}
    aside = {folder.name: {each.name for each in folder.glob("*")} for folder in (root / FOLDER).glob("*")}
    stale, back, shared, unknown = {}, set(), 0, 0
    for cell in cells:
        lines, done = attempts[cell.key], states[cell.key] == "done"
        code = code_of(lines, METHOD_CODE)
        other = bool(code) and code != today[cell.method]
        if other:
            stale[cell.key] = code
        if today[cell.method] in aside.get(cell.key, ()) and (other or states[cell.key] == "planned"):
            back.add(cell.key)
        if done and not other:
            path = code_of(lines, SHARED_CODE)
            shared += bool(path) and path != sources.shared(cell.configuration["suite"])
            unknown += not code
    return Changed(today, stale, frozenset(back), shared, unknown)


def told(changed: Changed) -> list[str]:
    """A line for each thing that differs and is kept all the same."""
    lines = []
    if changed.shared:
        lines.append(f"shared code differs from that of {counted(changed.shared, 'done run')}; kept")
    if changed.unknown:
        lines.append(f"from before code was noted: {counted(changed.unknown, 'done run')}; kept")
    return lines


def by_method(keys: Iterable[str], cells: Mapping[str, Cell]) -> str:
    """'fql 12, qam 3'."""
    counts = Counter(cells[key].method for key in keys)
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
