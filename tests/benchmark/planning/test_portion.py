"""What a launch takes of a plan."""

from __future__ import annotations

import pytest

from benchmark.planning.plan import Pack, make
from benchmark.planning.portion import left, ordered, pieces, taken
from benchmark.planning.request import ask


def packs() -> tuple[Pack, ...]:
    return make(ask("toy", "quick", methods="flow,bon,fql", tasks=("bandit-v0",), seeds="0-3")).packs


def cost(pack: Pack) -> float:
    """Seconds: fql's seeds take longest."""
    return len(pack.cells) * {"flow": 1.0, "bon": 2.0, "fql": 3.0}[pack.first.method]


def told(found: list[Pack]) -> list[tuple[str, list[int]]]:
    return [(pack.first.method, [cell.seed for cell in pack.cells]) for pack in found]


ALL = [0, 1, 2, 3]


def test_depth_takes_all_seeds_together_the_longest_first() -> None:
    assert told(ordered(packs(), "depth", cost)) == [("fql", ALL), ("bon", ALL), ("flow", ALL)]


def test_breadth_takes_one_seed_of_everything_first() -> None:
    rest = [("fql", ALL[1:]), ("bon", ALL[1:]), ("flow", ALL[1:])]
    assert told(ordered(packs(), "breadth", cost)) == [("fql", [0]), ("bon", [0]), ("flow", [0]), *rest]


def test_breadth_goes_on_where_an_earlier_launch_was() -> None:
    """What has a seed already waits for what has none."""
    fql = next(pack for pack in packs() if pack.first.method == "fql")
    found = ordered([*packs()[:2], fql.of(fql.cells[1:])], "breadth", cost, {fql.kind})
    assert told(found) == [("bon", [0]), ("flow", [0]), ("fql", ALL[1:]), ("bon", ALL[1:]), ("flow", ALL[1:])]


def test_only_what_is_wanted_is_left() -> None:
    assert told(left(packs(), lambda cell: cell.seed == 2 and cell.method != "bon")) == [("flow", [2]), ("fql", [2])]


def test_pieces() -> None:
    assert told(pieces(packs()[:1], 3)) == [("flow", [0, 1, 2]), ("flow", [3])]
    assert told(pieces(packs()[:1], 0)) == [("flow", ALL)]


@pytest.mark.parametrize(
    ("limit", "budget", "wanted"),
    [
        (0, 0.0, [("flow", ALL), ("bon", ALL), ("fql", ALL)]),
        (6, 0.0, [("flow", ALL), ("bon", [0, 1])]),
        (4, 0.0, [("flow", ALL)]),
        (0, 8.0, [("flow", ALL), ("bon", [0, 1])]),
        (0, 5.0, [("flow", ALL)]),
        (0, 0.5, []),
        (5, 100.0, [("flow", ALL), ("bon", [0])]),
    ],
)
def test_no_more_is_taken_than_was_allowed(limit: int, budget: float, wanted: list[tuple[str, list[int]]]) -> None:
    assert told(taken(packs(), limit, budget, cost)) == wanted


def test_a_piece_is_no_pack_of_another_name() -> None:
    """The display and the record tell packs by their names."""
    parts = pieces(packs()[:1], 1)
    assert len({part.name for part in parts}) == 4
    assert all(part.words == packs()[0].words for part in parts)
