"""The leaderboard for people: as wide as the terminal, no word broken, and only the first lines of the notes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from analysis.layout import LEGEND, captions, grids, title
from analysis.tables import Table

WIDTH = 100
"""Columns where there is no terminal, and nothing says how many there are."""
NOTES = 6
"""Lines of notes under a table, as a person sees them."""
GAP = 2
INDENT = "  "
CUT = " ..."


def terminal() -> Console:
    """What the leaderboard is printed to."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH
    return console


def show(found: Sequence[Table], console: Console, file: Path) -> None:
    """Print all tables; columns that do not fit beside each other go below. ``file`` is where all the notes are."""
    for table in found:
        say(title(table), console, "bold")
        for caption in captions(table):
            say(caption, console)
        for grid in grids(table):
            for part in _parts(grid, console.width):
                _print(_fitted(part, console.width), console)
        for line in noted(table.notes, console.width, file):
            _line(line, console, "dim")
        console.print()
    say(LEGEND, console, "dim")


def say(text: str, console: Console, style: str = "") -> None:
    """Print a paragraph."""
    for line in wrapped(text, console.width):
        _line(line, console, style)


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Lines that end at a space or behind a comma; a word that is longer than a line is left whole. ``indent`` is put
    before all but the first."""
    lines = [""]
    for piece in _pieces(text):
        if lines[-1].strip() and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append(indent)
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def noted(notes: Sequence[str], width: int, file: Path) -> list[str]:
    """As many of the notes' lines as NOTES allows; where that is not all, the last says how many are in the file."""
    blocks = [wrapped(INDENT + note, width - len(CUT), 2 * INDENT) for note in notes]
    shown = [line for block in blocks for line in block]
    for count in reversed(range(min(len(shown), NOTES))):
        if sum(_height(line, width) for line in shown) <= NOTES:
            break
        shown = _first(count, blocks, width, file)
    return shown


def _first(count: int, blocks: Sequence[Sequence[str]], width: int, file: Path) -> list[str]:
    """So many lines, and where the others are."""
    lines = [(line, index > 0) for block in blocks for index, line in enumerate(block)]
    within = lines[count][1]
    shown = [line for line, _ in lines[:count]]
    left = sum(not further for _, further in lines[count:])
    more = f"{left} more note{'' if left == 1 else 's'}" if left else ""
    if within:
        shown[-1] += CUT
    words = " and ".join(filter(None, ["the rest of this note" if within else "", more]))
    return [*shown, *wrapped(f"{INDENT}{words}: {file}", width, 2 * INDENT)]


def _height(line: str, width: int) -> int:
    """Lines of the terminal, which breaks what is longer than itself."""
    return -(-len(line) // width)


def _pieces(text: str) -> list[str]:
    """Where lines may be broken; never within a number or an interval."""
    return re.split(r"(?<=\s)(?=\S)|(?<=,)(?=[^\s\d])", text)


def _line(text: str, console: Console, style: str) -> None:
    console.print(Text(text, style=style), soft_wrap=True)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(line) for text in column for line in text.split("\n")) for column in zip(*rows, strict=True)]


def _parts(rows: list[list[str]], width: int) -> list[list[list[str]]]:
    """Cut a table into ones that fit this width, each with the first column and at least one other."""
    widths = [one + GAP for one in _widths(rows)]
    parts: list[list[int]] = []
    for column in range(1, len(widths)):
        if not parts or sum(widths[i] for i in (0, *parts[-1], column)) > width:
            parts.append([])
        parts[-1].append(column)
    return [[[row[0], *(row[i] for i in part)] for row in rows] for part in parts]


def _fitted(rows: list[list[str]], width: int) -> list[list[str]]:
    """A table that is too wide with its cells broken into lines: first the names of the rows, then all others."""
    for column in (0, 1):
        widths = _widths(rows)
        if sum(widths) + GAP * (len(widths) - 1) > width:
            room = width - sum(widths) + widths[column] - GAP * (len(widths) - 1)
            rows = [
                ["\n".join(wrapped(text, room)) if i == column else text for i, text in enumerate(row)] for row in rows
            ]
    return rows


def _print(rows: list[list[str]], console: Console) -> None:
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    for index, name in enumerate(rows[0]):
        grid.add_column(Text(name), justify="right" if index else "left", no_wrap=True)
    for row in rows[1:]:
        grid.add_row(*map(Text, row))
    width = console.width
    console.width = max(width, sum(_widths(rows)) + GAP * len(rows[0]))  # the terminal may wrap it, rich would cut it
    console.print(grid)
    console.width = width
    console.print()
