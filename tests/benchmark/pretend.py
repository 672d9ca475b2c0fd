"""Run folders as runs leave them, without running any: with code that made them, and how they ended."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmark.planning.plan import Cell, Plan, make
from benchmark.planning.request import ask
from benchmark.runs import checkpoint
from benchmark.runs.attempts import METHOD_CODE, SHARED_CODE
from benchmark.runs.fingerprint import Sources
from benchmark.runs.records import folder_of, write_json

TABLE = """
tasks = ["b*-v0", "corridor-v0"]
seeds = 1
[toy.data]
source = "generated"
[toy.cost]
seconds_to_start = 1
seconds_per_update = 1
seconds_per_environment_step = 1
"""
"""A preset's table of the toy suite, behind its header: the least that it says."""
OTHER = "0123456789abcdef"
"""Code that nobody has."""


def plan(methods: str = "flow,fql", seeds: str = "0-1") -> Plan:
    return make(ask("toy", "quick", methods, ("bandit-v0",), seeds=seeds))


def today(method: str) -> str:
    return Sources.read().method(method)


def run(
    root: Path, cell: Cell, code: str | None = OTHER, how: str = "done", shared: str = "s", start: int = 1_000
) -> Path:
    """A run of a minute, made by this code (None: from before code was noted); ``how``: done, failed or stopped."""
    folder = folder_of(root, cell.key)
    folder.mkdir(parents=True)
    write_json(folder / "config.json", cell.configuration)
    write_json(folder / "provenance.json", cell.provenance)
    noted = {} if code is None else {METHOD_CODE: code, SHARED_CODE: shared}
    lines = [
        {"attempt": 1, "start": start, "device_share": 1.0, "host": "n", "versions": {}, **noted},
        {"attempt": 1, "end": start + 60_000, "how": how},
    ]
    (folder / "attempts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    metrics = json.dumps({"t": start, "step": 10, "m": {"evaluation/success": 0.5}}) + "\n"
    (folder / "metrics.jsonl").write_text(metrics)
    write_json(folder / "saved.json", {"offset": len(metrics)})
    save(folder / "checkpoint")
    if how == "done":
        write_json(folder / "done.json", {"final": {"online_success": 0.5}})
    if how == "failed":
        write_json(folder / "failed.json", {"error": "Diverged", "message": "it diverged", "attempt": 1})
    return folder


def save(folder: Path) -> None:
    """Two checkpoints of a tiny network."""
    for step in (1, 2):
        tree = {"parameters": {"flow": np.full(2, step)}, "slow": {"flow": np.full(2, -step)}, "moments": np.ones(3)}
        checkpoint.save(folder, tree, {"actions": np.zeros(4)}, {"step": step})
