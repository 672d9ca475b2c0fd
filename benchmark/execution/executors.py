"""What an executor is: a module that is loaded by its name and brings packs to workers.

It has ``check(order)``, which raises LaunchError where it could not run, ``run(order, listener) -> Outcome``,
``preview(order) -> lines`` that show what it would send elsewhere, ``queued(root) -> {key: Queued}``, what it sent
elsewhere before, ``fates(root) -> {job: word}``, how that ended, and ``WAITS``, whether `run` returns only when the
packs have ended.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.planning.errors import LaunchError
from benchmark.planning.plan import Cell, Pack, Plan

EXECUTORS = {"local": "benchmark.execution.local", "slurm": "slurm.submit"}
"""Imported only when they are asked for: the one place where an arrow points from here to `slurm`."""

Listener = Callable[[Pack, dict[str, Any]], None]
"""Told of each pack's progress, and of its end: {"phase": "done"}, "failed", "stopped", or what else became of it."""


@dataclass(frozen=True)
class Order:
    """Packs to run. ``site`` is what a worker is told of its place; ``profile`` names a cluster's."""

    plan: Plan
    packs: Sequence[Pack]
    site: dict[str, Any]
    jobs: int
    profile: str = ""
    retry: bool = False
    """Whether to send again what failed again and again."""


@dataclass
class Outcome:
    """What became of the packs: cells that failed, that others work on, or that were left since code changed, each with
    a sentence; whether Ctrl-C ended it early, whether a worker broke down; what was sent elsewhere, in lines for the
    user."""

    failed: list[tuple[Cell, str]] = field(default_factory=list)
    held: list[tuple[Cell, str]] = field(default_factory=list)
    changed: list[tuple[Cell, str]] = field(default_factory=list)
    stopped: bool = False
    broken: bool = False
    submitted: list[str] = field(default_factory=list)
    refused: str = ""
    """What could not be sent elsewhere, though more was."""


@dataclass(frozen=True)
class Queued:
    """A cell that a scheduler has: its job, whether that runs already, why it waits, and whether it is on its end."""

    job: str
    running: bool
    reason: str
    ending: bool = False


def load_executor(name: str) -> Any:
    """The executor's module. Raises LaunchError where it can't be had."""
    try:
        return importlib.import_module(EXECUTORS[name])
    except ModuleNotFoundError as error:
        raise LaunchError(f"the {name} executor is not there ({error}); use --executor local") from error


def fates_of_all(root: Path) -> dict[str, str]:
    """What a scheduler says of how jobs of this root ended last, by their names."""
    found: dict[str, str] = {}
    for name in EXECUTORS:
        if (root / name).is_dir():
            found |= load_executor(name).fates(root)
    return found


def queued_by_all(root: Path) -> dict[str, Queued]:
    """What any executor has of the runs under a root; asks only those that were used there."""
    found: dict[str, Queued] = {}
    for name in EXECUTORS:
        if (root / name).is_dir():
            found |= load_executor(name).queued(root)
    return found
