"""What can be asked for: tasks, domains, and every setting of a preset with where its value comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmark.planning.data_files import preset_table, presets, rule_values
from benchmark.planning.errors import in_short
from benchmark.planning.request import Request
from benchmark.planning.settings import Layer, resolve, run_layers
from benchmark.planning.words import word_of
from envs import load_suite
from envs._suite import Task
from methods._values import RULES

Found = tuple[str, str]
"""A value as it would be typed, and where it comes from."""


def listing(request: Request, named: Sequence[str]) -> list[str]:
    """Lines for people; with the own settings of the methods that were ``named``."""
    suite, preset = request.suite, request.preset
    every = list(load_suite(suite).tasks().values())
    lines = [
        f"suite {suite}, preset {preset} (presets: {', '.join(presets(suite))})",
        "",
        "tasks (--tasks); * those that are planned:",
        *_tasks(request, every),
        "",
        f"domains (--domains): {', '.join(_domains(suite))}",
        "",
        "settings of the run (--set run.KEY=VALUE, or METHOD.KEY=VALUE for one method):",
        *_table({each.domain: _of_run(each, suite, preset) for each in request.tasks}),
        "",
        f"data (--set data.KEY=VALUE, --data): {_data(suite, preset)}",
        f"value rules (--value): {_rules()}",
        f"leaderboard ranked by: {preset_table(suite, preset).score}",
    ]
    for name in named:
        alike = [each for each in every if each.offline in {task.offline for task in request.tasks}]
        own = {each.domain: _of_method(request, name, each) for each in _first_of_each_domain(alike)}
        lines += ["", f"{name} (--set {name}.KEY=VALUE):", *_table(own)]
    return lines


def _tasks(request: Request, every: Iterable[Task]) -> list[str]:
    planned = {task.name for task in request.tasks}
    chosen = in_short(task.name for task in every if task.name in planned)
    others = in_short(task.name for task in every if task.name not in planned)
    return [f"  * {each}" for each in chosen] + [f"    {each}" for each in others]


def _domains(suite: str) -> list[str]:
    """Each with its other name, if there is one."""
    words = load_suite(suite).domain_words()
    short = {name: word for word, name in words.items() if word != name}
    return [f"{name} ({short[name]})" if name in short else name for name in dict.fromkeys(words.values())]


def _of_run(task: Task, suite: str, preset: str) -> dict[str, Found]:
    return _found(run_layers(task, suite, preset))


def _found(layers: Iterable[Layer]) -> dict[str, Found]:
    """Every key with its last value; a layer's own source is told with it."""
    found: dict[str, Found] = {}
    for where, values in layers:
        cited = f" ({values['source']})" if "source" in values else ""
        found |= {key: (word_of(value), where + cited) for key, value in values.items() if key != "source"}
    return found


def _of_method(request: Request, name: str, task: Task) -> dict[str, Found]:
    """A method's hyperparameters, and the settings of the run that its own files decide."""
    resolved = resolve(request.methods[name], name, task, request.suite, request.preset)
    values = {f"hyperparameters.{key}": value for key, value in resolved.hyperparameters.items()}
    values |= {f"settings.{key}": value for key, value in resolved.settings.items()}
    mine = {key for key, where in resolved.provenance.items() if where.startswith("methods/")}
    mine |= {key for key in values if key.startswith("hyperparameters.")}
    return {
        key.partition(".")[2]: (word_of(value), resolved.provenance[key])
        for key, value in values.items()
        if key in mine
    }


def _first_of_each_domain(tasks: Iterable[Task]) -> list[Task]:
    return list({task.domain: task for task in reversed(list(tasks))}.values())[::-1]


def _table(by_domain: Mapping[str, Mapping[str, Found]]) -> list[str]:
    """Rows of key, value, source; where domains differ, a row for each value with the domains that have it."""
    rows = []
    for key in dict.fromkeys(key for found in by_domain.values() for key in found):
        groups: dict[Found, list[str]] = {}
        for domain, found in by_domain.items():
            if key in found:
                groups.setdefault(_without(domain, found[key]), []).append(domain)
        several = len({value for value, _ in groups}) > 1
        rows += [(key, value, where, ", ".join(of) if several else "") for (value, where), of in groups.items()]
    widths = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
    return [
        f"  {key:<{widths[0]}} = {value:<{widths[1]}}  {where}{f': {of}' if of else ''}"
        for key, value, where, of in rows
    ]


def _without(domain: str, found: Found) -> Found:
    """The source without the domain's own name, so that those of equal value stand together."""
    value, where = found
    return value, where.replace(f"[domain.{domain}]", "[domain]").replace(f", {domain}", "")


def _data(suite: str, preset: str) -> str:
    return ", ".join(f"{key}={word_of(value)}" for key, value in preset_table(suite, preset).data.model_dump().items())


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={word_of(value)}" for key, value in values.items() if key != "source") + (
        f" ({values['source']})" if "source" in values else ""
    )


def _rules() -> str:
    return "; ".join(["own", *(f"{name} {_pairs(rule_values(name))}".strip() for name in RULES)])
