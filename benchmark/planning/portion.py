"""The part of a plan that a launch takes: what is left, in which order, and how much of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import accumulate

from benchmark.planning.plan import Cell, Pack

DEPTH, BREADTH = ORDERS = ("depth", "breadth")


def ordered(
    packs: Sequence[Pack], order: str, seconds: Callable[[Pack], float], begun: Collection[str] = ()
) -> list[Pack]:
    """'depth': all seeds of a method and task side by side, the longest first, or they would end long after the others;
    'breadth': one seed of everything, then the other seeds. ``begun``: kinds of packs of which a seed was taken before.
    """
    longest = sorted(packs, key=lambda pack: -seconds(pack))
    if order == DEPTH:
        return longest
    new = [pack for pack in longest if pack.kind not in begun]
    rest = [pack.of(pack.cells[1:]) if pack in new else pack for pack in longest]
    return [pack.of(pack.cells[:1]) for pack in new] + [pack for pack in rest if pack.cells]


def pieces(packs: Sequence[Pack], most: int) -> list[Pack]:
    """Packs of so many seeds at the most; 0 is no limit."""
    return [
        pack.of(pack.cells[start : start + (most or len(pack.cells))])
        for pack in packs
        for start in range(0, len(pack.cells), most or len(pack.cells))
    ]


def left(packs: Sequence[Pack], wanted: Callable[[Cell], bool]) -> list[Pack]:
    """The packs of those cells that are wanted."""
    found = (pack.of(cell for cell in pack.cells if wanted(cell)) for pack in packs)
    return [pack for pack in found if pack.cells]


def taken(packs: Sequence[Pack], limit: int, budget: float, seconds: Callable[[Pack], float]) -> list[Pack]:
    """The first packs, as long as they are within ``limit`` cells and ``budget`` seconds of a device; 0 is no limit.

    A pack that would pass the limit is cut; one that would pass the budget is cut, or left if not one seed fits.
    """
    found: list[Pack] = []
    for pack in packs:
        count = len(pack.cells)
        if limit:
            count = min(count, limit - sum(len(each.cells) for each in found))
        if budget:
            room = budget - sum(map(seconds, found))
            costs = accumulate([seconds(pack) / len(pack.cells)] * len(pack.cells))
            count = min(count, sum(cost <= room for cost in costs))
        if count <= 0:
            break
        found.append(pack.of(pack.cells[:count]))
    return found
