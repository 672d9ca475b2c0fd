"""The words and cells of a table, for the terminal and for Markdown alike: title, caption, header and rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from analysis.durations import duration
from analysis.tables import COSTS, MEAN, NAME, SUCCESS, Cell, Table, columns, lacks, ranking

LEGEND = (
    "[low,high]: 95 % bootstrap interval over seeds, stratified by task ([-]: a task has one seed only). mean: over "
    "domains, of means over tasks of means over seeds. (n/N): n of N expected runs are counted; the others failed, "
    "have not ended or were not made, and are never filled in. -: no run, or no such phase."
)


def title(table: Table) -> str:
    """The group in words."""
    group = table.group
    return (
        f"{group['suite']}, protocol {group['protocol']}: preset {group['preset']}, data {group['data_source']}, "
        f"backbone {group['backbone']}, value rule {group['value']}, mujoco {group['mujoco']}"
    )


def captions(table: Table) -> list[str]:
    """What the cells of the main table hold, and in which order its rows stand."""
    reward = f"; reward: {table.reward}" if table.reward else ""
    having = [name for name in table.domains if ranking(table, name) == table.score]
    some = f" (of {', '.join(having)})" if len(having) < len(table.domains) else ""
    ranked = f"{table.score}{some}, and " if table.score != SUCCESS else ""
    meaning = [table.meaning] if table.meaning else []
    cells = f"{ranked}{SUCCESS} in % [95 % interval over seeds]: {' -> '.join(table.phases)}{reward}"
    return [cells, *meaning, f"rows by {_order(table)}"]


def _order(table: Table) -> str:
    by = table.order
    if by == NAME:
        return by
    if by in (MEAN, table.score, SUCCESS, *table.domains):
        score = f"{table.phases[-1]} {by if by in (table.score, SUCCESS) else ranking(table, by)}"
        several = len(table.domains) > 1
        words = (
            f"{score if not several else f'{score} on {by}' if by in table.domains else f'mean {score}'}, best first"
        )
    else:
        words = f"{by}, {'least' if by in COSTS else 'largest'} first"
    behind = "lacks a run of some task" if by not in COSTS else "tells none"
    return (
        f"{words}; a row that {behind} behind the others" if any(lacks(table, row, by) for row in table.rows) else words
    )


def scores(table: Table) -> list[list[str]]:
    """Header and rows of the main table; the mean over domains, which the rows are usually ordered by, comes first."""
    shown = columns(table)
    header = [name if table.score == SUCCESS else f"{name}\n{measure}" for name, measure in shown]
    rows = [
        [
            row,
            *(
                _text([table.scores[row, *column, phase] for phase in table.phases], _number(column[1]))
                for column in shown
            ),
        ]
        for row in table.rows
    ]
    return [["method", *header], *rows]


def grids(table: Table) -> list[list[list[str]]]:
    """Header and rows of the main table, of all other final measures, and of what a run took; without empty ones."""
    found = [scores(table)]
    if table.measures:
        rows = [[row, *(_text([table.others[row, name]], _plain) for name in table.measures)] for row in table.rows]
        found.append([["mean of final", *table.measures], *rows])
    if table.costs:
        rows = [[row, *(_spent(table.costs.get((row, name))) for name in COSTS.values())] for row in table.rows]
        found.append([["mean of a run", *COSTS], *rows])
    return found


def _spent(hours: float | None) -> str:
    return "-" if hours is None else duration(hours)


def _text(cells: Sequence[Cell], number: Callable[[Cell], str]) -> str:
    """The phases of one cell; counts of runs only where some are missing."""
    values = [number(cell) if cell.mean is not None else "-" for cell in cells]
    counts = [f"{cell.seeds}/{cell.expected}" for cell in cells if cell.expected]
    holes = any(cell.seeds != cell.expected for cell in cells)
    value = values[0] if set(values) == {"-"} else " -> ".join(values)
    return f"{value} ({' -> '.join(dict.fromkeys(counts))})" if holes else value


def _number(measure: str) -> Callable[[Cell], str]:
    """How a cell of the main table is written: success in percent."""
    factor, form = (100, ".0f") if measure == SUCCESS else (1, "z.2f")

    def text(cell: Cell) -> str:
        interval = "-" if cell.interval is None else ",".join(f"{factor * end:{form}}" for end in cell.interval)
        return f"{factor * (cell.mean or 0.0):{form}} [{interval}]"

    return text


def _plain(cell: Cell) -> str:
    return f"{cell.mean:.4g}"
