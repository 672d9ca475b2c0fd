"""How fast the program itself is: ``python -m benchmark.speed``. Machines are shared and noisy, so nothing is asserted.

``plan``: what a launch does before it starts anything, for 13 methods on the 50 tasks with 8 seeds, 5,200 cells, of
which 5,000 are done, 1,000 of them by other code: from words to cells, their states and their code from their files,
what is left and what it will cost.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

from annotated_types import Interval

import methods
from benchmark.execution.work import RERUN, Portion, look, summarise
from benchmark.planning.plan import Plan, make
from benchmark.planning.portion import DEPTH
from benchmark.planning.request import ask
from benchmark.runs import plan_file
from benchmark.runs.attempts import METHOD_CODE, SHARED_CODE
from benchmark.runs.fingerprint import Sources
from benchmark.runs.records import folder_of, write_json
from benchmark.status import look as look_at_all
from envs._command_line import carried_out, parsed

METHODS, DONE, STALE = 13, 5000, 1000


@dataclass(frozen=True)
class Arguments:
    """Time the planning of a large grid, of which most is done."""

    rounds: Annotated[int, Interval(ge=1, le=10_000)] = 5
    """how often; the median counts"""


def grid() -> Plan:
    return make(ask("ogbench", "paper", methods=",".join(sorted(methods.names())[:METHODS])))


def pretend(root: Path, plan: Plan) -> None:
    """Run folders as DONE finished runs leave them, STALE of which were made by other code of their method."""
    sources = Sources.read()
    for number, cell in enumerate(plan.cells[:DONE]):
        folder = folder_of(root, cell.key)
        folder.mkdir(parents=True)
        code = {METHOD_CODE: "other" if number < STALE else sources.method(cell.method), SHARED_CODE: "other"}
        start = {"attempt": 1, "start": 0, "reached": 0, "device_share": 0.125, "host": "n", "versions": {}, **code}
        end = {"attempt": 1, "end": 3_600_000, "how": "done"}
        (folder / "attempts.jsonl").write_text(f"{json.dumps(start)}\n{json.dumps(end)}\n")
        (folder / "done.json").write_text("{}")
        write_json(folder / "config.json", cell.configuration)
    plan_file.save(root, plan)


def timed(what: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Least, median and most seconds."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        what()
        seconds.append(time.perf_counter() - started)
    return min(seconds), median(seconds), max(seconds)


def measure(rounds: int) -> None:
    plan = grid()
    with TemporaryDirectory() as folder:
        root = Path(folder)
        pretend(root, plan)
        parts: dict[str, Callable[[], object]] = {
            "words to cells": grid,
            "states, what is left, its cost": lambda: summarise(plan, look(root, plan, Portion(DEPTH), RERUN)),
            "all of it": lambda: summarise(made := grid(), look(root, made, Portion(DEPTH), RERUN)),
            "writing the plan down": lambda: plan_file.save(root, plan),
            "status, from the plan's file": lambda: look_at_all(root),
        }
        load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
        print(f"{len(plan.cells)} cells, {DONE} done, {STALE} of them by other code; {rounds} rounds; load {load}")
        for name, what in parts.items():
            least, middle, most = timed(what, rounds)
            print(f"{name:32} {middle:6.2f} s (from {least:.2f} to {most:.2f})", flush=True)


def run(words: list[str]) -> int:
    measure(parsed(Arguments, "python -m benchmark.speed", words).rounds)
    return 0


if __name__ == "__main__":
    sys.exit(carried_out(run))
