"""The footnotes of a table, the most important first: what is counted, whose code, what it took, every setting."""

from __future__ import annotations

from collections import Counter

import polars as pl

from analysis.durations import duration
from analysis.fingerprints import mixed
from analysis.natural import natural

COST = "metrics.cost/"
DEVICE = COST + "device_hours"
PARAMS = ("params.settings.", "params.data.", "params.hyperparameters.")
OWN_PARAMS = ("params.settings.", "params.hyperparameters.")
"""Those that are shown without the name of their group."""
MANY = 3
"""Rows that share a value are named one by one up to this number."""


def notes(frame: pl.DataFrame, seeds: dict[object, int]) -> list[str]:
    """All notes on these runs, which have their row's name in ``row``; ``seeds`` of each task."""
    finished = frame.filter(pl.col("status") == "FINISHED")
    same, differing = _settings(frame)
    found = [_counts(frame, seeds), *mixed(finished), *_spent(finished), _versions(frame)]
    found += [f"settings: {', '.join(same)}"] if same else []
    return found + [f"differs: {line}" for line in differing]


def _counts(frame: pl.DataFrame, seeds: dict[object, int]) -> str:
    """How many runs there are, and what became of them."""
    finished, failed = (int((frame["status"] == status).sum()) for status in ("FINISHED", "FAILED"))
    per_task = "-".join(str(count) for count in sorted({min(seeds.values()), max(seeds.values())}))
    unfinished = len(frame) - finished - failed
    return f"runs: {finished} finished, {failed} failed, {unfinished} unfinished; seeds per task: {per_task}"


def _spent(finished: pl.DataFrame) -> list[str]:
    """What all finished runs took together, and on what."""
    if DEVICE not in finished.columns or not finished[DEVICE].count():
        return []
    devices = ", ".join(sorted(finished["gpu"].unique(), key=natural))
    hosts = finished["host"].n_unique()
    spent = duration(float(finished[DEVICE].sum()), "device-")
    return [f"cost: about {spent} in all, on {devices} ({hosts} host{'' if hosts == 1 else 's'})"]


def _versions(frame: pl.DataFrame) -> str:
    commits = sorted({c[:10] + (" (dirty)" if d == "true" else "") for c, d in frame["git_commit", "git_dirty"].rows()})
    return f"mujoco {', '.join(sorted(frame['mujoco_full'].unique(), key=natural))}; code {', '.join(commits)}"


def _settings(frame: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Settings with one value in the whole group, and the others with the values of each row that has them."""
    same, differing = [], []
    for name in sorted((name for name in frame.columns if name.startswith(PARAMS)), key=natural):
        short = name.split(".", 2)[2] if name.startswith(OWN_PARAMS) else name.removeprefix("params.")
        by_row = {
            str(row): "/".join(sorted(part[name].fill_null("unset").unique(), key=natural))
            for (row,), part in frame.partition_by("row", as_dict=True, maintain_order=True).items()
        }
        values = set(by_row.values())
        if values == {"unset"}:
            continue
        if len(values) > 1:
            differing.append(f"{short}: {_by_row(by_row)}")
        elif frame[name].n_unique() > 1:
            differing.append(f"{short}: {values.pop()}, by task")
        else:
            same.append(f"{short}={values.pop()}")
    return same, differing


def _by_row(by_row: dict[str, str]) -> str:
    """The value of each row that has one; a value that many rows share is named once."""
    told = [(row, by_row[row]) for row in sorted(by_row, key=natural) if by_row[row] != "unset"]
    usual, count = Counter(value for _, value in told).most_common(1)[0]
    if count > MANY:
        told = [*((row, value) for row, value in told if value != usual), ("the others that have it", usual)]
    return ", ".join(f"{row} {value}" for row, value in told)
