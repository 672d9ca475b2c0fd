"""The leaderboard as data: which runs count, which share a table, and what each cell holds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from analysis import statistics
from analysis.natural import natural
from analysis.notes import COST, PARAMS, notes
from analysis.runs import GROUP, current

PHASES = ("offline", "online")
SUCCESS = "success"
MEAN, NAME = "mean", "name"
"""Of the ways to order the rows, those that every table has; the mean is also a column."""
SPARSE = "params.settings.sparse"
FINAL = "metrics.final/"
COSTS = {"wall_time": "wall_hours", "device_time": "device_hours"}
"""What is shown, and the measure behind it: of a finished run, over all its attempts, in hours; a device that packs
share is shared between them."""


@dataclass(frozen=True)
class Cell:
    """A mean with its interval; both None without runs, the interval None where some task has a single seed.

    ``seeds`` of ``expected`` are counted, summed over tasks; ``covered`` if no task is without any. Nothing is expected
    of a phase that a method does not have.
    """

    mean: float | None
    interval: tuple[float, float] | None
    seeds: int
    expected: int
    covered: bool


@dataclass(frozen=True)
class Table:
    """One group: ``scores`` by (row, domain or mean, measure, phase), ``others`` by (row, measure), and ``costs`` by
    (row, cost), means over finished runs; those that no run tells are left out.

    ``reward``: the one that runs were trained on, since a domain may be named after another; empty where none tells.
    ``score`` is the measure that the rows are ranked by, ``meaning`` what is to be said of it; success, which all have,
    is beside it.
    """

    group: dict[str, str]
    reward: str
    score: str
    meaning: str
    rows: list[str]
    order: str
    domains: list[str]
    phases: list[str]
    measures: list[str]
    scores: dict[tuple[str, str, str, str], Cell]
    others: dict[tuple[str, str], Cell]
    costs: dict[tuple[str, str], float]
    notes: list[str]


def tables(runs: pl.DataFrame) -> list[Table]:
    """All tables of these runs, one for each group, sorted; depends on nothing but the runs. Rows by mean."""
    frame = current(runs)  # sorted, and the groups with it
    groups = frame.partition_by(GROUP, as_dict=True, maintain_order=True) if len(frame) else {}
    return [_table(dict(zip(GROUP, map(str, key), strict=True)), part) for key, part in groups.items()]


def orders(table: Table) -> list[str]:
    """What its rows can be ordered by."""
    ranked = dict.fromkeys((table.score, SUCCESS))
    return [MEAN, NAME, *ranked, *table.domains, *(shown for shown in COSTS if _told(table, shown)), *table.measures]


def columns(table: Table) -> list[tuple[str, str]]:
    """(Domain or mean, measure) of the main table, from left to right; the mean only where it is over several."""
    names = [MEAN, *table.domains] if len(table.domains) > 1 else table.domains
    there = {(name, measure) for _, name, measure, _ in table.scores}
    measures = dict.fromkeys((table.score, SUCCESS))
    return [(name, measure) for name in names for measure in measures if (name, measure) in there]


def ordered(table: Table, by: str) -> Table:
    """Its rows in this order, which it must have; those without the number last, equal ones by name."""
    return replace(table, rows=sorted(table.rows, key=lambda row: (*_rank(table, row, by), natural(row))), order=by)


def _table(group: dict[str, str], frame: pl.DataFrame) -> Table:
    frame = frame.with_columns(_row_names(frame))
    finished = frame.filter(pl.col("status") == "FINISHED")
    finals = [name for name in frame.columns if name.startswith(FINAL) and finished[name].count()]
    measures = sorted((name.removeprefix(FINAL) for name in finals), key=natural)
    seeds = {task: part["seed"].n_unique() for (task,), part in frame.partition_by("task", as_dict=True).items()}
    samples = _Samples(
        of={name: _samples(finished, FINAL + name) for name in measures},
        seeds=seeds,
        places=sorted(set(frame.select("domain", "task").rows()), key=lambda place: tuple(map(natural, place))),
        skipped=_skipped(frame),
    )
    phases = _phases(frame, measures, samples.skipped)
    score, meaning = _score(frame, phases, measures)
    names = sorted(frame["row"].unique(), key=natural)
    domains = sorted(frame["domain"].unique(), key=natural)
    scores = _scores(samples, names, domains, phases, score)
    scored = {f"{phase}_{measure}" for _, _, measure, phase in scores}
    others = [name for name in measures if name not in scored]
    table = Table(
        group=group,
        reward=_reward(frame),
        score=score,
        meaning=meaning,
        rows=names,
        order=NAME,
        domains=domains,
        phases=phases,
        measures=others,
        scores=scores,
        others={(r, m): samples.cell(r, m, domains, samples.tasks(m)) for r in names for m in others},
        costs=_costs(finished),
        notes=notes(frame, seeds),
    )
    return ordered(table, MEAN)


@dataclass(frozen=True)
class _Samples:
    """What the runs of a group measured: ``of`` measure -> (row, task) -> a value for each run; ``seeds`` by task;
    ``places`` (domain, task); ``skipped`` (row, phase)."""

    of: dict[str, dict[tuple[str, str], list[float]]]
    seeds: dict[object, int]
    places: list[tuple[str, str]]
    skipped: set[tuple[str, str]]

    def tasks(self, measure: str) -> set[str]:
        """Those on which some run measured this."""
        return {task for _, task in self.of.get(measure, {})}

    def cell(self, row: str, measure: str, domains: Sequence[str], tasks: set[str]) -> Cell:
        if (row, measure.partition("_")[0]) in self.skipped:
            return Cell(None, None, 0, 0, False)
        found = self.of.get(measure, {})
        chosen = [[task for domain, task in self.places if domain == name and task in tasks] for name in domains]
        values = [[np.array(found.get((row, task), ())) for task in group] for group in chosen]
        return _cell(values, sum(self.seeds[task] for group in chosen for task in group))


def _scores(
    samples: _Samples, rows: Sequence[str], domains: Sequence[str], phases: Sequence[str], score: str
) -> dict[tuple[str, str, str, str], Cell]:
    """Success on every task, run or not; another score where the tasks have it."""
    every = {task for _, task in samples.places}
    tasks = {score: {task for phase in phases for task in samples.tasks(f"{phase}_{score}")}, SUCCESS: every}
    found = {}
    for measure, told in tasks.items():
        having = [name for name in domains if any(domain == name and task in told for domain, task in samples.places)]
        for column, within in ((MEAN, having), *((name, [name]) for name in having)):
            for row, phase in itertools.product(rows, phases):
                found[row, column, measure, phase] = samples.cell(row, f"{phase}_{measure}", within, told)
    return found


def _phases(frame: pl.DataFrame, measures: Sequence[str], skipped: set[tuple[str, str]]) -> list[str]:
    """Those that some run has a score of; without any, the first that some method has."""
    had = [phase for phase in PHASES if any((row, phase) not in skipped for row in frame["row"])]
    return [phase for phase in PHASES if f"{phase}_{SUCCESS}" in measures] or had[:1]


def _score(frame: pl.DataFrame, phases: Sequence[str], measures: Sequence[str]) -> tuple[str, str]:
    """What the newest run says that its preset ranks by, and what is said of that; success where no run has measured
    it."""
    told = frame.sort("started", "run_id").select("score", "score_meaning").drop_nulls("score").rows()
    score, meaning = told[-1] if told else (SUCCESS, None)
    if score == SUCCESS:
        return SUCCESS, ""
    if not any(f"{phase}_{score}" in measures for phase in phases):
        return SUCCESS, f"no run has measured {score}, which this preset ranks by"
    return score, f"{score}: {meaning}" if meaning else ""


def _reward(frame: pl.DataFrame) -> str:
    if SPARSE not in frame.columns:
        return ""
    kinds = {"true": "sparse", "false": "dense"}
    return " or ".join(sorted({kinds.get(value, value) for value in map(str, frame[SPARSE].drop_nulls())}))


def _row_names(frame: pl.DataFrame) -> pl.Series:
    """The method with what was swept, and with what tells apart several configurations of one task."""
    params = [name for name in frame.columns if name.startswith(PARAMS)]
    names = [" ".join(filter(None, parts)) for parts in frame.select("method", "swept").rows()]
    while varied := _varied(frame.with_columns(pl.Series("row", names, dtype=pl.String)), params):
        told = [
            [f"{name.split('.', 2)[2]}={run[name] or 'unset'}" for name in varied.get(row, ())]
            for row, run in zip(names, frame.to_dicts(), strict=True)
        ]
        names = [" ".join([row, *parts]) for row, parts in zip(names, told, strict=True)]
    return pl.Series("row", names, dtype=pl.String)


def _varied(frame: pl.DataFrame, params: Sequence[str]) -> dict[str, list[str]]:
    """Row -> the parameters that have several values on one task; of the rows that have such."""
    found: dict[str, set[str]] = {}
    for (row, _), part in frame.partition_by("row", "task", as_dict=True).items():
        if several := {name for name in params if part[name].n_unique() > 1}:
            found.setdefault(str(row), set()).update(several)
    return {row: sorted(names, key=natural) for row, names in found.items()}


def _skipped(frame: pl.DataFrame) -> set[tuple[str, str]]:
    """(row, phase) of the phases that a method does not have: all its runs give them no steps."""
    found = set()
    for phase in PHASES:
        if (name := f"params.settings.{phase}_steps") in frame.columns:
            none = frame.group_by("row").agg((pl.col(name) == "0").fill_null(False).all())
            found |= {(row, phase) for row, skips in none.rows() if skips}
    return found


def _costs(finished: pl.DataFrame) -> dict[tuple[str, str], float]:
    """(row, cost) -> its mean over the runs that tell it."""
    found: dict[tuple[str, str], float] = {}
    for name in COSTS.values():
        if COST + name in finished.columns:
            means = finished.group_by("row").agg(pl.col(COST + name).mean()).drop_nulls()
            found |= {(row, name): value for row, value in means.rows()}
    return found


def _samples(finished: pl.DataFrame, column: str) -> dict[tuple[str, str], list[float]]:
    """(row, task) -> this measure of each counted run."""
    samples: dict[tuple[str, str], list[float]] = {}
    for row, task, value in finished.select("row", "task", column).drop_nulls().rows():
        samples.setdefault((row, task), []).append(value)
    return samples


def _cell(values: list[list[np.ndarray]], expected: int) -> Cell:
    """Mean over domains of the mean over their tasks; ``values`` holds the seeds of each task of each domain."""
    covered = all(len(task) for domain in values for task in domain)
    present = [found for domain in values if (found := [task for task in domain if len(task)])]
    if not present:
        return Cell(None, None, 0, expected, False)
    strata = [task for domain in present for task in domain]
    weights = [1 / len(present) / len(domain) for domain in present for _ in domain]
    count = sum(map(len, strata))
    return Cell(statistics.mean(strata, weights), statistics.interval(strata, weights), count, expected, covered)


def _told(table: Table, shown: str) -> bool:
    return any(name == COSTS[shown] for _, name in table.costs)


def lacks(table: Table, row: str, by: str) -> bool:
    """Whether this row has not the number to order by, or a mean that lacks a task, and so is of other things."""
    if by == NAME:
        return False
    return (row, COSTS[by]) not in table.costs if by in COSTS else not _ranked(table, row, by).covered


def _rank(table: Table, row: str, by: str) -> tuple[bool, float]:
    """Smaller is further up."""
    if by in COSTS:
        return lacks(table, row, by), table.costs.get((row, COSTS[by]), 0.0)
    return lacks(table, row, by), 0.0 if by == NAME else -(_ranked(table, row, by).mean or 0.0)


def _ranked(table: Table, row: str, by: str) -> Cell:
    """The cell of this row in the column to order by: of a score that of its last phase."""
    if by in table.measures:
        return table.others[row, by]
    column, measure = (MEAN, by) if by in (table.score, SUCCESS) else (by, ranking(table, by))
    return table.scores[row, column, measure, table.phases[-1]]


def ranking(table: Table, column: str) -> str:
    """The measure that this domain or the mean is ranked by: the table's, or success where it has not got that."""
    return (
        table.score if (column, table.score) in {(name, measure) for _, name, measure, _ in table.scores} else SUCCESS
    )
