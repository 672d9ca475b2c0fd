"""What a person sees: no broken word, few notes, and where the others are."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from analysis.layout import LEGEND, captions, grids, title
from analysis.tables import Table
from analysis.terminal import noted, show, terminal, wrapped
from tests.analysis.stores import many, only, run

FILE = Path("results/leaderboard.md")


def lines(table: Table, width: int, file: Path = FILE) -> list[str]:
    text = StringIO()
    show([table], Console(file=text, width=width, highlight=False), file)
    return [line.rstrip() for line in text.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("one two three", 6, ["one", "two", "three"]),
        ("incomprehensible word", 6, ["incomprehensible", "word"]),
        ("a word incomprehensible", 6, ["a word", "incomprehensible"]),
        ("keys a=1,b=2,c=3", 9, ["keys a=1,", "b=2,c=3"]),
        ("cost 1,417 days [44,47]", 7, ["cost", "1,417", "days", "[44,47]"]),
        ("exactly", 7, ["exactly"]),
        ("", 7, [""]),
    ],
)
def test_lines_end_between_words_or_behind_commas(text: str, width: int, expected: list[str]) -> None:
    assert wrapped(text, width) == expected


LONG = "x" * 79
"""Takes three lines of a terminal with 40 columns, with what stands before it."""


@pytest.mark.parametrize(
    ("notes", "width", "expected"),
    [
        (["a", "b"], 40, ["  a", "  b"]),
        (list("abcdef"), 40, ["  a", "  b", "  c", "  d", "  e", "  f"]),
        (list("abcdefg"), 40, ["  a", "  b", "  c", "  d", "  e", "  2 more notes: results/leaderboard.md"]),
        (["a", "word " * 10], 40, ["  a", "  word word word word word word word", "    word word word"]),
        (
            ["a", "word " * 60, "z"],
            60,
            [
                "  a",
                "  word word word word word word word word word word word",
                "    word word word word word word word word word word",
                "    word word word word word word word word word word ...",
                "  the rest of this note and 1 more note:",
                "    results/leaderboard.md",
            ],
        ),
        ([*"abcde", "word " * 20], 40, ["  a", "  b", "  c", "  d", "  e", "  1 more note: results/leaderboard.md"]),
        ([LONG, LONG], 40, [f"  {LONG}", f"  {LONG}"]),
        ([LONG, "b", "c", LONG], 40, [f"  {LONG}", "  b", "  c", "  1 more note: results/leaderboard.md"]),
        ([f"a {LONG}"], 40, ["  a", f"    {LONG}"]),
    ],
)
def test_at_most_six_lines_of_notes(notes: list[str], width: int, expected: list[str]) -> None:
    assert noted(notes, width, FILE) == expected


def seen(line: str, width: int) -> int:
    """Rows of a terminal that a line takes."""
    return max(1, (len(line) + width - 1) // width)


def crowded() -> Table:
    """As many notes and as long ones as there can be; long names, lists without spaces."""
    listed = "first=1,second=2,third=3,fourth=4,fifth=5,sixth=6,seventh=7,eighth=8,ninth=9,tenth=10"
    made: list[dict[str, Any]] = []
    for one in many(9, 2, 2):
        method = one["tags.method"]
        extra = {f"params.hyperparameters.of_{method}_{i}": str(i) for i in range(3)}
        extra |= {f"params.settings.with_a_long_name_{i}": "1,2,3" for i in range(20)}
        made.append(one | extra | {"params.settings.listed": listed})
    swept = {"method": "method-0", "swept": f"layers={listed}", "domain": "domain-0-play", "task": "0-0"}
    made += [run(0.5, 0.5, seed=seed, params={"settings.listed": listed}, **swept) for seed in "01"]
    return only(made)


@pytest.mark.parametrize("file", [FILE, Path("/a/long/way", *["folder"] * 12, "leaderboard.md")], ids=["short", "long"])
@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_notes_of_a_crowded_table(width: int, file: Path) -> None:
    table = crowded()
    found = lines(table, width, file)
    start = next(index for index, line in enumerate(found) if line.startswith("  runs:"))
    notes = found[start : found.index("", start)]
    assert sum(seen(line, width) for line in notes) <= 6
    assert str(file) in notes[-1]
    text = "".join("".join(notes).split())
    assert text.endswith(f"morenotes:{file}")
    whole = sum("".join(note.split()) in text for note in table.notes)
    more = int(" ".join(notes).rpartition(" more notes")[0].split()[-1])
    assert whole + ("therestofthisnoteand" in text) + more == len(table.notes)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def pieces(texts: Iterable[str]) -> set[str]:
    """Words, and of lists with commas the items."""
    return {piece for text in texts for word in text.split() for piece in word.replace(",", ", ").split()}


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_word_is_broken_and_no_line_too_long(width: int) -> None:
    table = crowded()
    cells = [cell for grid in grids(table) for row in grid for cell in row]
    words = [
        title(table),
        *captions(table),
        LEGEND,
        *table.notes,
        f"... the rest of this note and 9 more notes: {FILE}",
    ]
    found = lines(table, width)
    shown = {piece for piece in pieces(found) if not piece.isdigit() and set(piece) != {"─"}}
    assert shown <= pieces([*cells, *words])
    assert pieces(cells) <= pieces(found)
    assert width < 60 or max(map(len, found)) <= width


def test_the_legend_is_short() -> None:
    assert len(wrapped(LEGEND, 80)) <= 4
    assert "95 % bootstrap interval over seeds" in LEGEND


@pytest.mark.parametrize(("columns", "expected"), [("", 100), ("60", 60), ("80", 80)])
def test_the_width_where_there_is_no_terminal(columns: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    assert terminal().width == expected
