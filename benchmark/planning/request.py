"""What a user asked for, in words, and what the words select: suite, methods, tasks, seeds, overrides."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import methods
from benchmark.planning.errors import SettingsError, nearest
from benchmark.planning.settings import COMMAND_LINE, Settings, method_table, parse_override, preset_table, typed
from envs import suites
from envs._suite import Task
from methods._contract import Method

OWN = "own"
"""The value rule asked for when every method keeps its own."""
PRESET = "preset"
"""The data asked for when it is the preset's."""
OWNERS = ("run", "value", "data")
"""What can be set beside methods."""
SETTINGS = get_type_hints(Settings)
"""Settings of the run and their types."""


@dataclass(frozen=True)
class Request:
    """What a user asked for, in words; None is the preset's choice."""

    suite: str
    preset: str
    methods: str = "all"
    tasks: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    seeds: str | None = None
    overrides: tuple[str, ...] = ()
    value: str = OWN
    backbone: str = "reference"
    data: str = PRESET
    sweeps: tuple[str, ...] = ()

    def words(self, method: str, task: str, point: Sequence[str], data: str) -> tuple[str, ...]:
        """The command line, without its seeds, that plans this method on this task alone, at a point of the sweeps."""
        chosen = [text for text in self.overrides if text.partition(".")[0] in (method, *OWNERS)]
        words = ["--suite", self.suite, "--preset", self.preset, "--methods", method, "--tasks", task]
        for name, value, usual in (("value", self.value, OWN), ("backbone", self.backbone, "reference")):
            words += [f"--{name}", value] if value != usual else []
        words += ["--data", data] if self.data != PRESET else []
        return (*words, *(["--set", *chosen, *point] if chosen or point else []))


def parse_seeds(text: str) -> list[int]:
    """'0-3,7' -> [0, 1, 2, 3, 7]."""
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part)
        if found is None or int(found[2] or found[1]) < int(found[1]):
            raise SettingsError(f"--seeds {text!r} is not a list of seeds; write 0-7 or 0,2,5")
        seeds.extend(range(int(found[1]), int(found[2] or found[1]) + 1))
    if not seeds or len(set(seeds)) != len(seeds):
        raise SettingsError(f"--seeds {text!r} names no seed, or one twice; write 0-7 or 0,2,5")
    return seeds


def check_suite(name: str) -> None:
    if name not in suites():
        raise SettingsError(f"unknown suite {name!r}; it is one of {', '.join(suites())}{nearest(name, suites())}")


def select_methods(text: str) -> dict[str, type[Method]]:
    """'all' or a comma-separated list, as classes by name."""
    if text == "all":
        return methods.available()[0]
    chosen: dict[str, type[Method]] = {}
    for name in text.split(","):
        if name not in methods.names():
            raise SettingsError(f"unknown method {name!r}; see --help for the list{nearest(name, methods.names())}")
        try:
            chosen[name] = methods.load(name)
        except methods.UnavailableMethod as error:
            raise SettingsError(f"method {name!r} is unavailable: {error}") from error
    return chosen


def select_tasks(request: Request, known: Mapping[str, Task]) -> list[Task]:
    """The tasks that the globs and domains of a request leave, in the suite's order."""
    all_domains = {task.domain for task in known.values()}
    for domain in request.domains:
        if domain not in all_domains:
            raise SettingsError(f"unknown domain {domain!r} of suite {request.suite!r}{nearest(domain, all_domains)}")
    narrowed = request.tasks or request.domains
    globs = request.tasks or (("*",) if narrowed else tuple(preset_table(request.suite, request.preset)["tasks"]))
    for pattern in globs:
        if not fnmatch.filter(known, pattern):
            raise SettingsError(f"no task of suite {request.suite!r} matches {pattern!r}{nearest(pattern, known)}")
    chosen = {name for pattern in globs for name in fnmatch.filter(known, pattern)}
    tasks = [task for task in known.values() if task.name in chosen]
    tasks = [task for task in tasks if not request.domains or task.domain in request.domains]
    if not tasks:
        raise SettingsError("no task is in both --tasks and --domains; widen one of them")
    return tasks


def split_overrides(texts: Sequence[str], chosen: Mapping[str, type[Method]]) -> dict[str, dict[str, Any]]:
    """Overrides by owner: a method, 'run' (every method that does not fix the key), 'value' (the rule) or 'data'."""
    split: dict[str, dict[str, Any]] = {}
    for text in texts:
        owner, key, value = parse_override(text)
        if owner not in chosen and owner not in OWNERS:
            near = nearest(owner, [*OWNERS, *chosen])
            raise SettingsError(f"--set {text!r}: {owner!r} is no method of this plan, nor {', '.join(OWNERS)}{near}")
        split.setdefault(owner, {})[key] = value
    for key, value in split.get("run", {}).items():
        if all(key in method_table(name).get("run", {}) for name in chosen):
            name = next(iter(chosen))
            raise SettingsError(f"--set run.{key}: {name} fixes {key} itself; write --set {name}.{key}=VALUE")
        if key in SETTINGS:
            typed(COMMAND_LINE, key, value, SETTINGS[key])
    return split


def sweep_points(texts: Sequence[str], method: str) -> list[tuple[str, ...]]:
    """Every combination of the swept values that concern a method, as overrides; one empty one where none does.

    'fql.alpha=1,3' sweeps a value of one method, 'run.learning_rate=1e-4,3e-4' of all.
    """
    axes = []
    for text in texts:
        owner, key, _ = parse_override(text)
        if owner in (method, "run"):
            axes.append([f"{owner}.{key}={value}" for value in _values(text)])
    return list(itertools.product(*axes))


def check_sweeps(texts: Sequence[str], chosen: Mapping[str, type[Method]]) -> None:
    """Raise on a sweep of nothing that is planned, or of no two values."""
    for text in texts:
        if not re.fullmatch(r"[^.=]+\.[^=]+=.+", text):
            raise SettingsError(f"--sweep {text!r} is not of the form METHOD.KEY=VALUE,VALUE (or run.KEY=... for all)")
        owner = parse_override(text)[0]
        if owner not in chosen and owner != "run":
            known = ["run", *chosen]
            raise SettingsError(
                f"--sweep {text!r}: {owner!r} is no method of this plan, nor run{nearest(owner, known)}"
            )
        values = _values(text)
        if len(values) < 2 or len(set(values)) < len(values):
            raise SettingsError(f"--sweep {text!r} needs two different values at least, as in qpilots_u.alpha=0.1,0.2")


def _values(text: str) -> list[str]:
    """The values of a sweep as words; those of a list of lists, like widths, may hold commas."""
    return [part.strip() for part in re.split(r",(?![^\[]*\])", text.partition("=")[2])]
