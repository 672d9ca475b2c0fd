"""Prints and writes the leaderboard of a store: ``python -m analysis.leaderboard [--store URI|DIR] [--out DIR]``."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import tyro
from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from analysis.store import StoreError, default_store, read_runs
from analysis.tables import COSTS, GROUP, SCORE, Cell, Table, tables

MEAN = "mean"
LEGEND = (
    "Success in percent of finished runs: the mean over tasks of the mean over seeds, with its 95 % bootstrap interval "
    "(percentile; over seeds, stratified by task); mean: over the domains. [-]: no interval, since a task has one seed "
    "only. (n/N): n of N expected runs are counted, the others failed, have not ended or were not made; -: none is, or "
    "the method has no such phase. Missing runs are never filled in; a method without a run of some task stands behind "
    "the others."
)


@dataclass(frozen=True)
class Arguments:
    """Print the leaderboard of a tracking store; write it as leaderboard.md and leaderboard.csv."""

    store: str = field(default_factory=default_store)
    """MLflow URI, or a directory with mlflow.db (default: MLFLOW_TRACKING_URI, else ./results)."""
    out: Path | None = None
    """Folder to write to (default: the store if that is a directory, else the current folder)."""


def main(arguments: Arguments) -> int:
    """Read, print and write; returns the exit code."""
    try:
        found = tables(read_runs(arguments.store))
    except StoreError as error:
        print(error, file=sys.stderr)
        return 1
    if not found:
        print(f"There are no runs in {arguments.store} yet: run the benchmark first.", file=sys.stderr)
        return 1
    out = arguments.out or (Path() if "://" in arguments.store else Path(arguments.store))
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in (("leaderboard.md", markdown(found)), ("leaderboard.csv", tidy(found))):
            (out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"Cannot write to {out}: {error}", file=sys.stderr)
        return 1
    console = Console(highlight=False)
    show(found, console)
    console.print(Text(f"wrote leaderboard.md and leaderboard.csv to {out}"), soft_wrap=True)
    return 0


def show(found: Sequence[Table], console: Console) -> None:
    """Print for people: columns that do not fit beside each other go below, nothing is cut off."""
    for table in found:
        console.print(Text(title(table), style="bold"))
        console.print(Text(caption(table)))
        for grid in (_scores(table), _others(table), _costs(table)):
            for part in _parts(grid, console.width):
                _print(part, console)
        for note in table.notes:
            console.print(Text(f"  {note}", style="dim"))
        console.print()
    console.print(Text(LEGEND, style="dim"))


def markdown(found: Sequence[Table]) -> str:
    """The same tables as Markdown."""
    lines = ["# Leaderboard", ""]
    for table in found:
        lines += [f"## {title(table)}", "", caption(table), ""]
        for header, *rows in filter(None, (_scores(table), _others(table), _costs(table))):
            rule = ["---", *["---:"] * (len(header) - 1)]
            lines += ["| " + " | ".join(row) + " |" for row in (_escaped(header), rule, *map(_escaped, rows))]
            lines.append("")
        lines += [*(f"- {note}" for note in table.notes), ""]
    return "\n".join([*lines, LEGEND, ""])


def tidy(found: Sequence[Table]) -> str:
    """One line for each group, method, domain and phase as CSV; fractions, empty where there is no number. Costs are
    the mean over all runs of the method."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*GROUP, "method", "domain", "phase", "mean", "lo", "hi", "seeds", "expected", *COSTS])
    for table in found:
        for row in table.rows:
            costs = [_number(table.costs.get((row, name))).strip("-") for name in COSTS]
            for domain in _columns(table):
                for phase in table.phases:
                    cell = _cell(table, row, domain, phase)
                    numbers = [cell.mean, *(cell.interval or (None, None))]
                    shown = ["" if number is None else f"{number:.6f}" for number in numbers]
                    counts = [cell.seeds, cell.expected]
                    writer.writerow([*table.group.values(), row, domain, phase, *shown, *counts, *costs])
    return text.getvalue()


def title(table: Table) -> str:
    """The group in words."""
    group = table.group
    return (
        f"{group['suite']}, protocol {group['protocol']}: preset {group['preset']}, data {group['data_source']}, "
        f"backbone {group['backbone']}, value rule {group['value']}, mujoco {group['mujoco']}"
    )


def caption(table: Table) -> str:
    """What the cells of the main table hold."""
    return f"{SCORE} in %: {' -> '.join(table.phases)}"


def _columns(table: Table) -> list[str]:
    return [*table.domains, MEAN] if len(table.domains) > 1 else table.domains


def _cell(table: Table, row: str, domain: str, phase: str) -> Cell:
    return table.scores[row, domain, phase] if domain in table.domains else table.overall[row, phase]


def _scores(table: Table) -> list[list[str]]:
    """Header and rows of the main table."""
    header = ["method", *_columns(table)]
    rows = [
        [row, *(_text([_cell(table, row, domain, phase) for phase in table.phases], _percent) for domain in header[1:])]
        for row in table.rows
    ]
    return [header, *rows]


def _others(table: Table) -> list[list[str]]:
    """Header and rows of the table of all other final measures; empty without any."""
    if not table.measures:
        return []
    rows = [[row, *(_text([table.others[row, name]], _plain) for name in table.measures)] for row in table.rows]
    return [["mean of final", *table.measures], *rows]


def _costs(table: Table) -> list[list[str]]:
    """Header and rows of what a run of each method took; empty where no run tells."""
    if not table.costs:
        return []
    rows = [[row, *(_number(table.costs.get((row, name))) for name in COSTS)] for row in table.rows]
    return [["mean of a run", *COSTS], *rows]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _text(cells: Sequence[Cell], number: Callable[[Cell], str]) -> str:
    """The phases of one cell; counts of runs only where some are missing."""
    values = [number(cell) if cell.mean is not None else "-" for cell in cells]
    counts = [f"{cell.seeds}/{cell.expected}" for cell in cells if cell.expected]
    holes = any(cell.seeds != cell.expected for cell in cells)
    value = values[0] if set(values) == {"-"} else " -> ".join(values)
    return f"{value} ({' -> '.join(dict.fromkeys(counts))})" if holes else value


def _percent(cell: Cell) -> str:
    interval = "-" if cell.interval is None else ",".join(f"{100 * end:.0f}" for end in cell.interval)
    return f"{100 * (cell.mean or 0.0):.0f} [{interval}]"


def _plain(cell: Cell) -> str:
    return f"{cell.mean:.4g}"


def _escaped(row: Sequence[str]) -> list[str]:
    return [text.replace("|", "\\|") for text in row]


def _parts(rows: list[list[str]], width: int) -> list[list[list[str]]]:
    """Cut a table into ones that fit this width, each with the first column and at least one other."""
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    parts: list[list[int]] = []
    for column in range(1, len(widths)):
        if not parts or sum(widths[i] for i in (0, *parts[-1], column)) > width:
            parts.append([])
        parts[-1].append(column)
    return [[[row[0], *(row[i] for i in part)] for row in rows] for part in parts]


def _print(rows: list[list[str]], console: Console) -> None:
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    for index, name in enumerate(rows[0]):
        grid.add_column(Text(name), justify="right" if index else "left", no_wrap=True)
    for row in rows[1:]:
        grid.add_row(*map(Text, row))
    needed = sum(max(map(len, column)) + 2 for column in zip(*rows, strict=True))
    width = console.width
    console.width = max(needed, width)  # a single cell wider than the terminal is wrapped by it, not cut off by rich
    console.print(grid)
    console.width = width
    console.print()


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, prog="python -m analysis.leaderboard")))
