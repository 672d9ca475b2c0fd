"""What there is to compare: ``python -m benchmark.methods`` lists every method, what it trains, and what that costs."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import textwrap
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import methods
from benchmark.planning.data_files import available, method_file, presets
from benchmark.planning.errors import SettingsError
from benchmark.planning.plan import Cell, make
from benchmark.planning.request import ask, check_suite
from benchmark.planning.settings import resolve
from benchmark.training import agents
from benchmark.training.build import build_agent
from benchmark.training.cost import Cost, cost
from envs import load_suite, suites
from envs._command_line import carried_out, listed, option, parsed
from envs._suite import SuiteError, Task
from methods._contract import Method

WIDTH = 100
LEGEND = """\
update, action: forward passes of each network for one row; a backward pass counts as the one or two forward passes that
it multiplies as much as; NAME_encoder: what that network makes of frames; a base that is given is not counted. times
flow: the multiplications of a whole update, in updates of the method flow. averages: networks with a slow copy."""
BASE = "flow"
"""What costs are told in."""


@dataclass(frozen=True)
class Arguments:
    """Tell of every method what it trains, its tuned values, its reference and what it costs."""

    methods: Annotated[str, option("all|NAME,NAME,...", "all")] = "all"
    """which methods"""
    suite: Annotated[str, option("|".join(suites()), "ogbench")] = "ogbench"
    """suite that decides the sizes, by the preset's first task"""
    preset: Annotated[str, option("NAME", "paper, or the first that the suite has")] = ""
    """preset that decides the sizes"""


def cell_of(suite: str, preset: str, name: str) -> Cell:
    """The cell that a method is counted on: of the preset's first task, or of the first domain that has all of the
    method where this one leaves a part of it out."""
    request = ask(suite, preset, name, seeds="0")
    first = request.tasks[0]
    tasks = [first, *(task for task in load_suite(suite).tasks().values() if task.offline == first.offline)]

    def parts(task: Task) -> int:
        own = resolve(request.methods[name], name, task, suite, preset).hyperparameters
        return sum(value is True for value in own.values())

    return make(dataclasses.replace(request, tasks=(max(tasks, key=parts),))).cells[0]


@cache
def counted(suite: str, preset: str, name: str, task: str) -> Cost:
    """What a method asks for on a task."""
    return cost(build_agent(make(ask(suite, preset, name, tasks=(task,), seeds="0")).cells[0])[2])


def times_flow(suite: str, preset: str, name: str) -> float:
    """Multiplications of a method's update, in updates of the cloned flow on the same task."""
    task = cell_of(suite, preset, name).task
    return counted(suite, preset, name, task).multiplied / counted(suite, preset, BASE, task).multiplied


def tuned(name: str) -> str:
    """The hyperparameters that were tuned per domain, each with its range."""
    values: dict[str, list[Any]] = {}
    for table in method_file(name).domain.values():
        for key, value in table.items():
            if key != "source" and not isinstance(value, bool):
                values.setdefault(key, []).append(value)
    ranges = [f"{key} {' to '.join(f'{end:g}' for end in sorted({min(v), max(v)}))}" for key, v in values.items()]
    return ", ".join(ranges) or "nothing"


def coefficients(name: str) -> str:
    """What the docstrings of the class, and of the methods that it is built on, say of their hyperparameters."""
    classes = [each for each in reversed(methods.load(name).__mro__) if issubclass(each, Method) and each is not Method]
    written = [(each, inspect.cleandoc(vars(each)["__doc__"] or "")) for each in classes]
    return " ".join(words for each, words in written if not words.startswith(f"{each.__name__}(")).replace("``", "")


def defaults(name: str) -> str:
    """The hyperparameters that no domain tunes."""
    table = method_file(name)
    tuned_keys = {key for domain in table.domain.values() for key in domain}
    mine = {key: value for key, value in table.default.items() if key not in {"source", *tuned_keys}}
    return ", ".join(f"{key} {value}" for key, value in mine.items())


def fixed(name: str) -> str:
    """The settings of the run that are part of the method."""
    return ", ".join(f"{key}={value}" for key, value in method_file(name).run.items() if key != "source")


def told(name: str) -> dict[str, str]:
    """What a method's docstring says: its first line, the reference, and what differs from the paper."""
    words = inspect.cleandoc(sys.modules[methods.load(name).__module__].__doc__ or "")
    title, _, rest = words.partition("\nReference:")
    reference, _, differs = rest.partition("\nDiffers from the paper:")
    return {"title": title.strip(), "reference": " ".join(reference.split()), "differs": " ".join(differs.split())}


def describe(cell: Cell) -> list[str]:
    """A method as lines of text."""
    _, _, agent = build_agent(cell)
    where = (cell.configuration["suite"], cell.configuration["preset"], cell.method)
    spent, words = counted(*where, cell.task), told(cell.method)
    networks = ", ".join(sorted(agent.networks))
    facts = {
        "family": methods.load(cell.method).family,
        "trains": f"{networks}; the critic by {cell.configuration['settings']['value_used']}",
        "averages": ", ".join(agent.averaged),
        "coefficients": coefficients(cell.method),
        "tuned": tuned(cell.method),
        "default": defaults(cell.method),
        "here": ", ".join(f"{key} {value}" for key, value in sorted(cell.configuration["hyperparameters"].items())),
        "fixes": fixed(cell.method),
        "reference": words["reference"],
        "differs": words["differs"],
        "parameters": f"{spent.parameters:,}",
        "times flow": f"{times_flow(*where):.2g}",
        "update": ", ".join(f"{name} {count:.1f}" for name, count in spent.update.items()),
        "action": ", ".join(f"{name} {count:.1f}" for name, count in spent.action.items()) or "none",
        "counted on": cell.task,
        "fails": "; ".join(f"{check}: {reason}" for check, reason in methods.load(cell.method).known_failures.items()),
    }
    lines = [f"{cell.method}: {words['title']}"]
    for label, text in facts.items():
        if text:
            indent = " " * 16
            lines += textwrap.wrap(
                f"  {label:<14}{' '.join(text.split())}", WIDTH, subsequent_indent=indent, break_on_hyphens=False
            )
    return lines


USUAL = ("paper", "quick")
"""Presets whose sizes are told where no other is asked for."""


def run(words: list[str]) -> int:
    arguments = parsed(Arguments, "python -m benchmark.methods", listed(words, ("--methods",)))
    check_suite(arguments.suite)
    known = presets(arguments.suite)
    suite, preset = arguments.suite, arguments.preset or next(each for each in (*USUAL, *known) if each in known)
    request = ask(suite, preset, arguments.methods, seeds="0")
    print(f"Sizes of preset {preset} of suite {suite}.\n{LEGEND}", flush=True)
    for name in request.methods:  # each as soon as it is counted, which takes a moment
        print("\n" + "\n".join(describe(cell_of(suite, preset, name))), flush=True)
    for reason in available()[1].values():
        print(f"\nunavailable: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(carried_out(run, SettingsError, SuiteError, agents.ContractError))
