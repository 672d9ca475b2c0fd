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
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from jax.extend.core import jaxprs_in_params

import methods
from benchmark.planning.errors import SettingsError
from benchmark.planning.plan import Cell, make
from benchmark.planning.request import ask, check_suite
from benchmark.planning.settings import method_table
from benchmark.training import agents
from benchmark.training.build import build_agent
from envs._suite import SuiteError
from methods._contract import Batch, Draw, Method, Network
from methods._nets import Bound

WIDTH = 100
LEGEND = """\
update, action: forward passes of each network for one row; a backward pass counts as the one or two forward passes that
it multiplies as much as. times flow: the multiplications of a whole update, in updates of the cloned flow. averages:
networks with a slow copy."""
ROWS = 4
"""Of the batch that is traced; what is counted does not depend on it."""


@dataclass(frozen=True)
class Arguments:
    methods: str = "all"
    """all, or a comma-separated list"""
    suite: str = "ogbench"
    """suite whose first task of the preset decides the sizes"""
    preset: str = "paper"
    """preset that decides the sizes"""


@dataclass(frozen=True)
class Cost:
    """``parameters`` that are trained; forward passes of each network for one row of an update, and for one action.

    A backward pass counts as the multiplications that it adds, about one forward pass for its inputs and one for its
    parameters.
    """

    parameters: int
    update: dict[str, float]
    action: dict[str, float]


class Scoped:
    """A network whose multiplications carry its name into the traced program."""

    def __init__(self, name: str, network: Network) -> None:
        self.name, self.network, self.problem = name, network, network.problem

    def init(self, key: jax.Array) -> Any:
        return self.network.init(key)

    def bind(self, parameters: Any) -> Any:
        bound = self.network.bind(parameters)
        return dataclasses.replace(bound, network=self) if isinstance(bound, Bound) else bound

    def __call__(self, parameters: Any, obs: Any, *inputs: Any) -> Any:
        with jax.named_scope(f"network:{self.name}:"):
            return self.network(parameters, obs, *inputs)


class ScopedAgent(agents.Agent):
    @property
    def networks(self) -> dict[str, Any]:
        return {name: Scoped(name, network) for name, network in super().networks.items()}


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

    def kernels(name: str) -> int:
        leaves = jax.tree_util.tree_leaves_with_path(parameters[name])
        return sum(leaf.size for path, leaf in leaves if path[-1].key == "kernel")

    return {name: found[name] / (ROWS * kernels(name)) for name in agent.networks if found[name]}


def cost(agent: agents.Agent) -> Cost:
    """What the method asks for, read from its traced programs; nothing is computed."""
    scoped = ScopedAgent(agent.method, agent.rule, agent.problem, agent.optimiser)
    draw, problem = Draw(jax.random.PRNGKey(0)), agent.problem
    state = jax.eval_shape(lambda key: agents.init_one(agent, key), jax.random.PRNGKey(0))
    obs, row = jnp.zeros((ROWS, *problem.observation)), jnp.zeros((ROWS,))
    batch = Batch(obs, jnp.zeros((ROWS, problem.D)), row, row, row, obs)

    def total(live: Any, slow: Any) -> jax.Array:
        return jnp.asarray(sum(agents.losses(scoped, live, slow, batch, draw).values()))

    def action(held: Any, slow: Any) -> jax.Array:
        return agents.act(scoped, held, slow, obs, draw)

    return Cost(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.parameters)),
        update=passes(agent, jax.grad(total), state.parameters, state.slow),
        action=passes(agent, action, state.parameters, state.slow),
    )


def tuned(name: str) -> str:
    """The hyperparameters that were tuned per domain, each with its range."""
    values: dict[str, list[Any]] = {}
    for table in method_table(name).get("domain", {}).values():
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
    table = method_table(name)
    tuned_keys = {key for domain in table.get("domain", {}).values() for key in domain}
    mine = {key: value for key, value in table.get("default", {}).items() if key not in {"source", *tuned_keys}}
    return ", ".join(f"{key} {value}" for key, value in mine.items())


def fixed(name: str) -> str:
    """The settings of the run that are part of the method."""
    return ", ".join(f"{key}={value}" for key, value in method_table(name).get("run", {}).items() if key != "source")


def told(name: str) -> dict[str, str]:
    """What a method's docstring says: its first line, the reference, and what differs from the paper."""
    words = inspect.cleandoc(sys.modules[methods.load(name).__module__].__doc__ or "")
    title, _, rest = words.partition("\nReference:")
    reference, _, differs = rest.partition("\nDiffers from the paper:")
    return {"title": title.strip(), "reference": " ".join(reference.split()), "differs": " ".join(differs.split())}


def describe(cell: Cell) -> list[str]:
    """A method as lines of text."""
    _, _, agent = build_agent(cell)
    spent, words = cost(agent), told(cell.method)
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
        "times flow": f"{method_table(cell.method).get('cost', {}).get(cell.configuration['preset'], 1.0):g}",
        "update": ", ".join(f"{name} {count:.1f}" for name, count in spent.update.items()),
        "action": ", ".join(f"{name} {count:.1f}" for name, count in spent.action.items()) or "none",
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


def main() -> None:
    arguments = tyro.cli(Arguments, prog="python -m benchmark.methods")
    try:
        check_suite(arguments.suite)
        words = (arguments.suite, arguments.preset)
        task = ask(*words, seeds="0").tasks[0].name
        request = ask(*words, arguments.methods, tasks=(task,), seeds="0")
        told_of = [describe(cell) for cell in make(request).cells]
    except (SettingsError, SuiteError, agents.ContractError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"Sizes of preset {arguments.preset} on {task}.")
    print(LEGEND)
    for lines in told_of:
        print("\n" + "\n".join(lines))
    for reason in methods.available()[1].values():
        print(f"\nunavailable: {reason}")


if __name__ == "__main__":
    main()
