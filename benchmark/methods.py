"""What there is to compare: ``python -m benchmark.methods`` lists every method, what it trains, and what that costs."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

import methods
from benchmark.planning.data_files import available, method_file, presets
from benchmark.planning.errors import SettingsError
from benchmark.planning.plan import Cell, make
from benchmark.planning.request import ask, check_suite
from benchmark.planning.settings import resolve
from benchmark.training import agents
from benchmark.training.build import build_agent
from envs import load_suite, suites
from envs._command_line import carried_out, listed, option, parsed
from envs._suite import SuiteError, Task
from methods._contract import Draw, Method, Network
from methods._nets import Bound

WIDTH = 100
LEGEND = """\
update, action: forward passes of each network for one row; a backward pass counts as the one or two forward passes that
it multiplies as much as. times flow: the multiplications of a whole update, in updates of the cloned flow. averages:
networks with a slow copy."""
BASE = "flow"
"""What costs are told in."""
ROWS = 4
"""Of the batch that is traced; what is counted does not depend on it."""


@dataclass(frozen=True)
class Arguments:
    """Tell of every method what it trains, its tuned values, its reference and what it costs."""

    methods: Annotated[str, option("all|NAME,NAME,...", "all")] = "all"
    """which methods"""
    suite: Annotated[str, option("|".join(suites()), "ogbench")] = "ogbench"
    """suite that decides the sizes, by the preset's first task"""
    preset: Annotated[str, option("NAME", "paper, or the first that the suite has")] = ""
    """preset that decides the sizes"""


@dataclass(frozen=True)
class Cost:
    """``parameters`` that are trained; forward passes of each network for one row of an update, and for one action;
    ``multiplied``: the multiplications of a row's update in all.

    A backward pass counts as the multiplications that it adds, about one forward pass for its inputs and one for its
    parameters.
    """

    parameters: int
    update: dict[str, float]
    action: dict[str, float]
    multiplied: float


class Scoped:
    """A network whose multiplications carry its name into the traced program."""

    frozen = False

    def __init__(self, name: str, network: Network) -> None:
        self.name, self.network, self.problem = name, network, network.problem

    def init(self, key: jax.Array) -> Any:
        return self.network.init(key)

    def bind(self, parameters: Any) -> Any:
        bound = self.network.bind(parameters)
        return dataclasses.replace(bound, network=self) if isinstance(bound, Bound) else bound

    def look(self, parameters: Any, obs: Any) -> Any:
        with jax.named_scope(f"network:{self.name}:"):
            return self.network.look(parameters, obs)

    def __call__(self, parameters: Any, look: Any, *inputs: Any) -> Any:
        with jax.named_scope(f"network:{self.name}:"):
            return self.network(parameters, look, *inputs)


class ScopedAgent(agents.Agent):
    @property
    def everything(self) -> dict[str, Any]:
        return {name: each if each.frozen else Scoped(name, each) for name, each in super().everything.items()}


def multiplications(program: Any, times: int = 1) -> Iterator[tuple[str, int]]:
    """(network, multiplications) of the matrix products of a traced program; a loop counts as often as it runs."""
    for equation in program.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            size = math.prod(equation.outvars[0].aval.shape) * math.prod(shape[axis] for axis in contracted)
            scope = re.search(r"network:(\w+):", str(equation.source_info.name_stack))
            yield scope[1] if scope else "", times * size
        length = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        for inner in jaxprs_in_params(equation.params):
            yield from multiplications(inner, times * length)


def passes(agent: agents.Agent, function: Callable[..., Any], parameters: Any, *arguments: Any) -> dict[str, float]:
    """Forward passes of each network for one of ROWS rows."""
    program = jax.make_jaxpr(function)(parameters, *arguments)
    found: Counter[str] = Counter()
    for name, count in multiplications(program.jaxpr):
        found[name] += count

    return {name: found[name] / (ROWS * kernels(parameters[name])) for name in agent.networks if found[name]}


def kernels(parameters: Any) -> int:
    """Multiplications of one forward pass of a network."""
    leaves = jax.tree_util.tree_leaves_with_path(parameters)
    return sum(leaf.size for path, leaf in leaves if path[-1].key == "kernel")


def cost(agent: agents.Agent) -> Cost:
    """What the method asks for, read from its traced programs; nothing is computed."""
    scoped = ScopedAgent(**vars(agent))
    draw, batch = Draw(jax.random.PRNGKey(0)), agents.blank(agent, ROWS)
    state = jax.eval_shape(lambda key: agents.init_one(agent, key), jax.random.PRNGKey(0))

    def total(live: Any, slow: Any) -> jax.Array:
        return jnp.asarray(sum(agents.losses(scoped, live, slow, batch, draw).values()))

    def action(held: Any, slow: Any) -> jax.Array:
        return agents.act(scoped, held, slow, batch.obs, draw)[0]

    update = passes(agent, jax.grad(total), state.parameters, state.slow)
    return Cost(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.parameters)),
        update=update,
        action=passes(agent, action, state.parameters, state.slow),
        multiplied=sum(count * kernels(state.parameters[name]) for name, count in update.items()),
    )


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
