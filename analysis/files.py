"""The leaderboard as files, which are the same to the byte for the same runs, whatever the terminal."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO

from analysis.layout import LEGEND, captions, grids, title
from analysis.runs import GROUP, Choice
from analysis.tables import COSTS, MEAN, Table, columns


def markdown(found: Sequence[Table], choice: Choice) -> str:
    """All tables with all their notes as Markdown; names what was asked for, as the rest is not in it."""
    lines = ["# Leaderboard", ""]
    if choice.parts:
        lines += [f"Only {choice}.", ""]
    for table in found:
        lines += [f"## {title(table)}", "", "; ".join(captions(table)), ""]
        for header, *rows in grids(table):
            rule = ["---", *["---:"] * (len(header) - 1)]
            lines += ["| " + " | ".join(row) + " |" for row in (_escaped(header), rule, *map(_escaped, rows))]
            lines.append("")
        lines += [*(f"- {note}" for note in table.notes), ""]
    return "\n".join([*lines, LEGEND, ""])


def tidy(found: Sequence[Table]) -> str:
    """One line for each group, method, domain, measure and phase as CSV; success as a fraction, empty where there is no
    number. Costs are the mean over all runs of the method."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [*GROUP, "method", "domain", "measure", "phase", "mean", "lo", "hi", "seeds", "expected", *COSTS.values()]
    )
    for table in found:
        for row in table.rows:
            costs = [
                "" if (spent := table.costs.get((row, name))) is None else f"{spent:.3g}" for name in COSTS.values()
            ]
            for column in sorted(columns(table), key=lambda column: column[0] == MEAN):
                for phase in table.phases:
                    of = table.scores[row, *column, phase]
                    numbers = [of.mean, *(of.interval or (None, None))]
                    shown = ["" if number is None else f"{number:.6f}" for number in numbers]
                    writer.writerow([*table.group.values(), row, *column, phase, *shown, of.seeds, of.expected, *costs])
    return text.getvalue()


def _escaped(row: Sequence[str]) -> list[str]:
    return [text.replace("|", "\\|").replace("\n", " ") for text in row]
