"""Runs small enough for a test: the toy corridor, one narrow layer, a handful of steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.execution.serving import run_pack
from benchmark.planning.data_files import method_file
from benchmark.planning.plan import Cell, make
from benchmark.planning.request import ask
from benchmark.runs import checkpoint, row_files
from benchmark.runs.records import folder_of
from benchmark.training.build import Shared, Site, share

SIZES = {
    "offline_steps": 20,
    "online_steps": 24,
    "start_training": 4,
    "evaluate_every": 10,
    "evaluation_episodes": 2,
    "log_every": 5,
    "batch_size": 8,
    "flow_steps": 2,
    "heads": 2,
    "actor_widths": [8],
    "value_widths": [8],
}
EPISODES = 20
"""Recorded trajectories: 320 rows."""


def words(**changes: Any) -> tuple[str, ...]:
    """The sizes as a user would write them after ``--set``."""
    return tuple(f"run.{name}={value}" for name, value in (SIZES | changes).items())


SEEDS = "6,8"
"""Two whose episodes end at different steps, inside and at the end of chunks; the second gets to its end first."""


def cells(seeds: str = SEEDS, task: str = "corridor-v0", method: str = "flow", **changes: Any) -> list[Cell]:
    """The cells of one tiny pack."""
    fixed = method_file(method).run
    sizes = tuple(word for word in words(**changes) if word.split("=")[0].removeprefix("run.") not in fixed)
    plan = make(ask("toy", "quick", methods=method, tasks=(task,), seeds=seeds, settings=sizes))
    (pack,) = plan.packs
    data = {**pack.first.configuration["data"], "episodes": EPISODES}
    return [Cell({**cell.configuration, "data": data}, cell.provenance) for cell in pack.cells]


def site(root: Path) -> Site:
    return Site(root, root / "data", 0, {"pack": "p", "plan": "q", "versions": {}})


@cache
def shared() -> Shared:
    """Task, agent and data of the tiny pack."""
    return share(site(Path("nowhere")), cells("6")[0])


def never() -> str:
    return ""


def run(root: Path, pack: list[Cell], stop: Callable[[], str] = never) -> list[tuple[Cell, str]]:
    """The pack to its end, as a worker runs it; what failed."""
    return run_pack(site(root), pack, lambda event: None, stop).failed


def done(root: Path, cell: Cell) -> dict[str, float]:
    """The final numbers of a run."""
    return json.loads((folder_of(root, cell.key) / "done.json").read_text())["final"]


def history(root: Path, cell: Cell) -> list[tuple[int, str, float]]:
    """Every logged (step, name, value), in order, without what depends on the clock."""
    lines = (folder_of(root, cell.key) / "metrics.jsonl").read_text().splitlines()
    points = [(line["step"], name, value) for line in map(json.loads, lines) for name, value in line["m"].items()]
    return [point for point in points if not point[1].endswith("steps_per_second")]


def arrays(root: Path, cell: Cell) -> dict[str, np.ndarray]:
    """All arrays of a run's last checkpoint, without its note; its rows are whole, whatever lies in which file."""
    folder = folder_of(root, cell.key) / "checkpoint"
    with np.load(folder / checkpoint.FILE, allow_pickle=False) as stored:
        found = {name: stored[name] for name in stored.files if name != checkpoint.NOTE}
        note = json.loads(bytes(stored[checkpoint.NOTE]).decode())
    rows = row_files.read(folder, row_files.Mark(**note["rows"]))
    last = {name: found.pop(name) for name in list(found) if name.startswith("beside/last/")}
    for name in {*rows, *(name.removeprefix("beside/last/") for name in last)}:
        parts = [each[key] for each, key in ((rows, name), (last, f"beside/last/{name}")) if key in each]
        found[f"rows/{name}"] = np.concatenate(parts)
    return found
