"""What an agent asks for, counted in its traced programs: nothing is computed, and nothing is declared."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

from benchmark.training import agents
from methods._contract import Draw, Network
from methods._nets import Bound

ENCODER = "_encoder"
"""Behind a network's name: what it makes of frames."""
ROWS = 4
"""Of the batch that is traced; what is counted does not depend on it."""


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
        with jax.named_scope(f"network:{self.name}{ENCODER}:"):
            return self.network.look(parameters, obs)

    def __call__(self, parameters: Any, look: Any, *inputs: Any) -> Any:
        with jax.named_scope(f"network:{self.name}:"):
            return self.network(parameters, look, *inputs)


class ScopedAgent(agents.Agent):
    @property
    def everything(self) -> dict[str, Any]:
        return {name: each if each.frozen else Scoped(name, each) for name, each in super().everything.items()}


def multiplications(program: Any, times: int = 1) -> Iterator[tuple[str, int]]:
    """(network, multiplications) of the products of a traced program; a loop counts as often as it runs."""
    for equation in program.eqns:
        if size := products(equation):
            scope = re.search(r"network:(\w+):", str(equation.source_info.name_stack))
            yield scope[1] if scope else "", times * size
        length = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        for inner in jaxprs_in_params(equation.params):
            yield from multiplications(inner, times * length)


def products(equation: Any) -> int:
    """Multiplications of one operation: of a matrix product, or of a convolution."""
    if equation.primitive.name not in ("dot_general", "conv_general_dilated"):
        return 0
    words = equation.params
    first, second, answer = (each.aval.shape for each in (*equation.invars, *equation.outvars))
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = words["dimension_numbers"]
        return math.prod(answer) * math.prod(first[axis] for axis in contracted)
    image, kernel, out = words["dimension_numbers"]
    size = math.prod(answer) * second[kernel[1]]  # for each number of the answer the channels of one place, then places
    for axis in range(len(image) - 2):
        outputs = answer[out[2 + axis]]
        size = size * places(words, axis, first[image[2 + axis]], second[kernel[2 + axis]], outputs) // outputs
    return size


def places(words: dict[str, Any], axis: int, image: int, kernel: int, outputs: int) -> int:
    """How often entries of a convolution's kernel meet the image along an axis, and not zeros between or around."""
    stride, spread, apart = (words[name][axis] for name in ("window_strides", "lhs_dilation", "rhs_dilation"))
    met = (o * stride + k * apart - words["padding"][axis][0] for o in range(outputs) for k in range(kernel))
    return sum(at % spread == 0 and 0 <= at < image * spread for at in met)


def passes(agent: agents.Agent, function: Callable[..., Any], parameters: Any, *arguments: Any) -> dict[str, float]:
    """Forward passes of each network for one of ROWS rows."""
    program = jax.make_jaxpr(function)(parameters, *arguments)
    found: Counter[str] = Counter()
    for name, count in multiplications(program.jaxpr):
        found[name] += count

    return {name: found[name] / (ROWS * size) for name, size in forward(agent, parameters).items() if found[name]}


def forward(agent: agents.Agent, parameters: Any) -> dict[str, int]:
    """Multiplications of one forward pass of each network, and of its encoder, for one row."""
    found = {}
    obs = agent.problem.observation.zeros(1)
    for name, network in agent.networks.items():
        found[name] = kernels(parameters[name])
        if isinstance(parameters[name], dict) and "encoder" in parameters[name]:
            found[name] = kernels(parameters[name]["module"])
            program = jax.make_jaxpr(network.look)(parameters[name], obs)
            found[name + ENCODER] = sum(count for _, count in multiplications(program.jaxpr))
    return found


def kernels(parameters: Any) -> int:
    """Multiplications of one forward pass of dense layers."""
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
        multiplied=sum(update.get(name, 0.0) * size for name, size in forward(agent, state.parameters).items()),
    )
