"""The leaderboard as data: which runs count, which share a table, and what each cell holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis import statistics

GROUP = ("suite", "protocol", "preset", "data_source", "backbone", "value", "mujoco")
"""Tags that runs must share to stand in one table; of mujoco's version, the first two numbers."""
TAGS = (*GROUP, "bench.key", "method", "domain", "task", "seed", "git_commit", "git_dirty", "gpu", "host")
PHASES = ("offline", "online")
SCORE = "success"
FINAL = "metrics.final/"
COST = "metrics.cost/"
COSTS = ("wall_hours", "device_hours")
"""Of a finished run, over all its attempts; a device that packs share is shared between them."""
PARAMS = ("params.settings.", "params.data.", "params.hyperparameters.")
OWN_PARAMS = ("params.settings.", "params.hyperparameters.")
"""Those that are shown without the name of their group."""
MANY = 3
"""Rows that share a value are named one by one up to this number."""


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
    """One group: ``scores`` by (row, domain, phase), ``overall`` by (row, phase), ``others`` by (row, measure), and
    ``costs`` by (row, cost), means over finished runs; those that no run tells are left out."""

    group: dict[str, str]
    rows: list[str]
    domains: list[str]
    phases: list[str]
    measures: list[str]
    scores: dict[tuple[str, str, str], Cell]
    overall: dict[tuple[str, str], Cell]
    others: dict[tuple[str, str], Cell]
    costs: dict[tuple[str, str], float]
    notes: list[str]


def tables(runs: pl.DataFrame) -> list[Table]:
    """All tables of these runs, one for each group, sorted; depends on nothing but the runs."""
    frame = _latest(runs)
    groups = frame.partition_by(GROUP, as_dict=True, maintain_order=True) if len(frame) else {}
    return [_table(dict(zip(GROUP, map(str, key), strict=True)), part) for key, part in sorted(groups.items())]


def _latest(runs: pl.DataFrame) -> pl.DataFrame:
    """This project's runs with their tags as columns; of several with one key the one started last."""
    columns = [pl.col(f"tags.{t}") if f"tags.{t}" in runs.columns else pl.lit(None, pl.String) for t in TAGS]
    frame = runs.with_columns(column.alias(tag) for column, tag in zip(columns, TAGS, strict=True))
    frame = frame.filter(pl.col("bench.key").is_not_null()).with_columns(pl.col(TAGS).fill_null("unknown"))
    frame = frame.with_columns(
        pl.col("mujoco").alias("mujoco_full"), pl.col("mujoco").str.extract(r"^(\d+\.\d+)").fill_null("unknown")
    )
    frame = frame.sort("started", "run_id").unique("bench.key", keep="last", maintain_order=True)
    return frame.sort(*GROUP, "method", "domain", "task", "seed", "bench.key")


def _table(group: dict[str, str], frame: pl.DataFrame) -> Table:
    frame = frame.with_columns(_row_names(frame))
    finished = frame.filter(pl.col("status") == "FINISHED")
    finals = [name for name in frame.columns if name.startswith(FINAL) and finished[name].count()]
    measures = [name.removeprefix(FINAL) for name in finals]
    skipped = _skipped(frame)
    had = [phase for phase in PHASES if any((row, phase) not in skipped for row in frame["row"])]
    phases = [phase for phase in PHASES if f"{phase}_{SCORE}" in measures] or had[:1]
    scored = [f"{phase}_{SCORE}" for phase in phases]
    samples = {name: _samples(finished, FINAL + name) for name in (*scored, *measures) if name in measures}
    seeds = {task: part["seed"].n_unique() for (task,), part in frame.partition_by("task", as_dict=True).items()}
    places = frame.select("domain", "task").unique().sort("domain", "task").rows()
    names = sorted(frame["row"].unique())
    domains = sorted(frame["domain"].unique())
    others = [name for name in measures if name not in scored]

    def cell(row: str, measure: str, within: Sequence[str], tasks: set[str]) -> Cell:
        if (row, measure.partition("_")[0]) in skipped:
            return Cell(None, None, 0, 0, False)
        found = samples.get(measure, {})
        chosen = [[task for domain, task in places if domain == name and task in tasks] for name in within]
        values = [[np.array(found.get((row, task), ())) for task in group] for group in chosen]
        return _cell(values, sum(seeds[task] for group in chosen for task in group))

    overall = {(row, p): cell(row, f"{p}_{SCORE}", domains, set(seeds)) for row in names for p in phases}
    return Table(
        group=group,
        rows=sorted(names, key=lambda row: _rank(row, overall[row, phases[-1]])),
        domains=domains,
        phases=phases,
        measures=others,
        scores={(r, d, p): cell(r, f"{p}_{SCORE}", [d], set(seeds)) for r in names for d in domains for p in phases},
        overall=overall,
        others={(r, m): cell(r, m, domains, {task for _, task in samples[m]}) for r in names for m in others},
        costs=_costs(finished),
        notes=_notes(frame, seeds) + _spent(finished),
    )


def _row_names(frame: pl.DataFrame) -> pl.Series:
    """The method, and where one task of it was run with several configurations, what tells these apart."""
    params = [name for name in frame.columns if name.startswith(PARAMS)]
    varied: dict[str, list[str]] = {}
    for (method, _), part in frame.partition_by("method", "task", as_dict=True, maintain_order=True).items():
        known = varied.setdefault(str(method), [])
        known += [name for name in params if name not in known and part[name].n_unique() > 1]
    names = []
    for run in frame.to_dicts():
        parts = [f"{name.split('.', 2)[2]}={run[name]}" for name in sorted(varied[run["method"]])]
        names.append(" ".join([run["method"], *parts]))
    return pl.Series("row", names, dtype=pl.String)


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
    for name in COSTS:
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


def _rank(row: str, cell: Cell) -> tuple[bool, float, str]:
    """Best first; a mean that lacks a task is of other things and stands behind."""
    return not cell.covered, -(cell.mean if cell.mean is not None else 0.0), row


def _notes(frame: pl.DataFrame, seeds: dict[object, int]) -> list[str]:
    """What is counted, and every setting that the numbers depend on."""
    status = frame["status"]
    finished, failed = int((status == "FINISHED").sum()), int((status == "FAILED").sum())
    counts = "-".join(str(count) for count in sorted({min(seeds.values()), max(seeds.values())}))
    commits = sorted({c[:10] + (" (dirty)" if d == "true" else "") for c, d in frame["git_commit", "git_dirty"].rows()})
    same, differing = _settings(frame)
    unfinished = len(frame) - finished - failed
    notes = [
        f"runs: {finished} finished, {failed} failed, {unfinished} unfinished; seeds per task: {counts}",
        f"mujoco {', '.join(sorted(frame['mujoco_full'].unique()))}; code {', '.join(commits)}",
    ]
    notes += [f"settings: {', '.join(same)}"] if same else []
    return notes + [f"differs: {line}" for line in differing]


def _spent(finished: pl.DataFrame) -> list[str]:
    """What all finished runs took together, and on what."""
    if COST + COSTS[1] not in finished.columns or not finished[COST + COSTS[1]].count():
        return []
    devices = ", ".join(sorted(finished["gpu"].unique()))
    hosts = finished["host"].n_unique()
    return [f"cost: {finished[COST + COSTS[1]].sum():.3g} device-hours in all, on {devices} ({hosts} hosts)"]


def _settings(frame: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Settings with one value in the whole group, and the others with the values of each row that has them."""
    same, differing = [], []
    for name in sorted(name for name in frame.columns if name.startswith(PARAMS)):
        short = name.split(".", 2)[2] if name.startswith(OWN_PARAMS) else name.removeprefix("params.")
        by_row = {
            str(row): "/".join(sorted(part[name].fill_null("unset").unique()))
            for (row,), part in frame.partition_by("row", as_dict=True, maintain_order=True).items()
        }
        values = set(by_row.values())
        if values == {"unset"}:
            continue
        if len(values) > 1:
            told = sorted((row, value) for row, value in by_row.items() if value != "unset")
            usual, count = Counter(value for _, value in told).most_common(1)[0]
            if count > MANY:
                told = [*((row, value) for row, value in told if value != usual), ("the others that have it", usual)]
            differing.append(f"{short}: " + ", ".join(f"{row} {value}" for row, value in told))
        elif frame[name].n_unique() > 1:
            differing.append(f"{short}: {values.pop()}, by task")
        else:
            same.append(f"{short}={values.pop()}")
    return same, differing
