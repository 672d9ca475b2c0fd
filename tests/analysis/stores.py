"""Runs and stores made up by hand, for the tests beside this file."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl

from analysis.tables import Table, tables

TAGS = {
    **{"suite": "toy", "protocol": "1", "preset": "quick", "data_source": "official", "backbone": "reference"},
    **{"value": "own", "mujoco": "3.3.7", "domain": "door", "task": "door-1", "seed": "0", "method": "walk"},
    **{"git_commit": "0123456789abcdef", "git_dirty": "false"},
}


def run(
    offline: float | None = None, online: float | None = None, status: str = "FINISHED", **more: Any
) -> dict[str, Any]:
    """One run; ``params`` and ``final`` add parameters and final measures, other arguments replace tags."""
    final = {"offline_success": offline, "online_success": online} | more.pop("final", {})
    params = {"settings.episodes": "50", "settings.offline_steps": "1000"} | more.pop("params", {})
    key = more.pop("key", None)
    started = more.pop("started", 1000)
    tags = TAGS | more
    tags["bench.key"] = key or "/".join([*tags.values(), *params.values()])
    row = {f"tags.{name}": value for name, value in tags.items()} | {f"params.{n}": v for n, v in params.items()}
    row |= {f"metrics.final/{name}": value for name, value in final.items() if value is not None}
    return {"run_id": f"{row['tags.bench.key']}@{started}", "status": status, "started": started, **row}


def cost(wall: float, device: float) -> dict[str, float]:
    return {"metrics.cost/wall_hours": wall, "metrics.cost/device_hours": device}


def many(methods: int = 3, domains: int = 4, seeds: int = 3) -> list[dict[str, Any]]:
    generator = random.Random(0)
    return [
        run(generator.randint(0, 50) / 50, generator.randint(0, 50) / 50, **tags)
        for m in range(methods)
        for d in range(domains)
        for t in range(2)
        for s in range(seeds)
        for tags in [{"method": f"method-{m}", "domain": f"domain-{d}-play", "task": f"{d}-{t}", "seed": str(s)}]
    ]


def frame(runs: Iterable[dict[str, Any]]) -> pl.DataFrame:
    runs = list(runs)
    columns = sorted({column for one in runs for column in one})
    return pl.DataFrame({column: [one.get(column) for one in runs] for column in columns}, strict=False)


def only(runs: Iterable[dict[str, Any]]) -> Table:
    (table,) = tables(frame(runs))
    return table


def write(runs: list[dict[str, Any]], path: Path) -> None:
    """A store with these runs: as much of MLflow's schema as is read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.execute("create table experiments (experiment_id integer, name text, lifecycle_stage text)")
        db.execute("insert into experiments values (1, 'toy/v1', 'active')")
        db.execute("create table runs (run_uuid, status, start_time, lifecycle_stage, experiment_id)")
        db.execute("create table metrics (run_uuid, key, value, timestamp, step, is_nan)")
        for table, columns in (("tags", ""), ("params", ""), ("latest_metrics", ", is_nan")):
            db.execute(f"create table {table} (run_uuid, key, value{columns})")
        for one in runs:
            db.execute("insert into runs values (?, ?, ?, 'active', 1)", (one["run_id"], one["status"], one["started"]))
            for name, value in one.items():
                kind, _, key = name.partition(".")
                if kind == "metrics":
                    db.execute("insert into latest_metrics values (?, ?, ?, 0)", (one["run_id"], key, value))
                elif key:
                    db.execute(f"insert into {kind} values (?, ?, ?)", (one["run_id"], key, value))
        db.commit()
