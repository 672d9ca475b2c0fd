"""An agent: a method, a value rule and an optimiser, for one seed. Losses -> gradient -> clip -> Adam -> averages.

It alone owns parameters, the optimiser and the averaged copies, and knows no method by name. Averages move from the
parameters BEFORE the step, as in the reference implementation (Li & Levine 2026, arXiv 2601.14234), so that after the
very first update they still equal the initial parameters. Nothing here is compiled or mapped: the trainer does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from methods._contract import Batch, Copy, Draw, Losses, Method, Problem, ValueRule, Views, named_key
from methods._critic import best_of
from methods._nets import Network
from methods._traced import constant

Array = jax.Array
Trees = dict[str, Any]
"""Parameters of each network by its name."""


class ContractError(ValueError):
    """A method or value rule that does not keep the contract."""


@dataclass(frozen=True)
class Optimiser:
    """Adam with one learning rate for all networks; ``clip_norm`` 0 is none; ``target_rate`` of the averages;
    ``balanced``: half of every batch is offline data, half the run's own."""

    learning_rate: float
    target_rate: float
    clip_norm: float
    batch_size: int
    balanced: bool = False

    def transformation(self) -> optax.GradientTransformation:
        adam = optax.adam(self.learning_rate)
        return optax.chain(optax.clip_by_global_norm(self.clip_norm), adam) if self.clip_norm else adam


@partial(jax.tree_util.register_dataclass, data_fields=["method", "rule"], meta_fields=["problem", "optimiser"])
@dataclass(frozen=True)
class Agent:
    """What is trained: traced hyperparameters of method and value rule; problem and optimiser are static."""

    method: Method
    rule: ValueRule
    problem: Problem
    optimiser: Optimiser

    @property
    def networks(self) -> dict[str, Network]:
        return _merged("network", self.method.networks(self.problem), self.rule.networks(self.problem))

    @property
    def averaged(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.method.averaged, *self.rule.averaged)))


class State(NamedTuple):
    """Everything that an update changes, and a seed's own key; the trainer gives each leaf a leading seed axis."""

    parameters: Trees
    slow: Trees
    moments: Any
    iteration: Array
    key: Array
    seed_key: Array


def _merged(what: str, *owners: dict[str, Any]) -> dict[str, Any]:
    together: dict[str, Any] = {}
    for each in owners:
        if twice := sorted(together.keys() & each.keys()):
            raise ContractError(
                f"the {what} {twice[0]!r} has two owners; the method and the value rule cannot be joined"
            )
        together |= each
    return together


@cache  # the packs of a method differ in their task, and mostly not in this
def build(method: Method, rule: ValueRule, problem: Problem, optimiser: Optimiser) -> Agent:
    """An agent whose parts fit together; raises ContractError where a network or a loss term has two owners."""
    agent = Agent(method, rule, problem, optimiser)
    missing = set(agent.averaged) - set(agent.networks)
    if missing:
        raise ContractError(f"{sorted(missing)[0]!r} is to be averaged and is no network")
    jax.eval_shape(partial(_abstract_losses, agent), jax.ShapeDtypeStruct((2,), jnp.uint32))
    return agent


def _abstract_losses(agent: Agent, key: Array) -> Losses:
    state, problem = init_one(agent, key), agent.problem
    obs, scalar = jnp.zeros((1, *problem.observation)), jnp.zeros((1,))
    batch = Batch(obs, jnp.zeros((1, problem.D)), scalar, scalar, scalar, obs)
    return losses(agent, state.parameters, state.slow, batch, Draw(key))


def make_views(agent: Agent, live: Trees | None, held: Trees, slow: Trees) -> Views:
    """The three copies; without ``live`` (acting) reading it is an error."""
    networks = agent.networks
    return Views(
        agent.problem,
        live=Copy(networks, live or {}, "{name!r} is read live while acting; read it held or slow"),
        held=Copy(networks, constant(held), "{name!r} has no parameters"),
        slow=Copy(networks, constant(slow), "{name!r} has no slow copy; name it in `averaged`"),
    )


def losses(agent: Agent, live: Trees, slow: Trees, batch: Batch, draw: Draw) -> Losses:
    """All terms by name; the value rule's, the base's and the method's."""
    method, rule = agent.method, agent.rule
    views = make_views(agent, live, live, slow)

    def next_act(views: Views, obs: Any) -> Array:
        return constant(best_of(method.best_of_n, method.next_act)(views, obs, draw.scope("next_")))

    return _merged(
        "loss term",
        rule.losses(views, batch, next_act, draw),
        method.base_loss(views, batch, draw),
        method.losses(views, batch, draw),
    )


def update(agent: Agent, state: State, batch: Batch, draw: Draw) -> tuple[State, Losses]:
    """One step of one seed: state and batch without a seed axis."""

    def total(live: Trees) -> tuple[Array, Losses]:
        terms = losses(agent, live, state.slow, batch, draw)
        return jnp.asarray(sum(terms.values())), terms

    (loss, terms), gradients = jax.value_and_grad(total, has_aux=True)(state.parameters)
    steps, moments = agent.optimiser.transformation().update(gradients, state.moments)
    rate = agent.optimiser.target_rate
    moves = state.iteration % agent.method.average_every == 0
    slow = jax.tree.map(
        lambda before, average: jnp.where(moves, rate * before + (1.0 - rate) * average, average),
        {name: state.parameters[name] for name in state.slow},
        state.slow,
    )
    parameters = optax.apply_updates(state.parameters, steps)
    metrics = {"loss": loss, "gradient_norm": optax.tree.norm(gradients)} | terms
    return state._replace(parameters=parameters, slow=slow, moments=moments), metrics


def init_one(agent: Agent, key: Array) -> State:
    """A fresh state of one seed."""
    networks = agent.networks
    parameters = {name: net.init(named_key(named_key(key, "init"), name)) for name, net in networks.items()}
    # A copy, because a state whose leaves share a buffer cannot be donated.
    slow = jax.tree.map(jnp.copy, {name: parameters[name] for name in agent.averaged})
    moments = agent.optimiser.transformation().init(parameters)
    return State(parameters, slow, moments, jnp.zeros((), jnp.int32), named_key(key, "train"), key)


def act(agent: Agent, parameters: Trees, slow: Trees, obs: Any, draw: Draw) -> Array:
    """Chunks (B, D) of one seed."""
    views = make_views(agent, None, parameters, slow)
    return best_of(agent.method.best_of_n, agent.method.act)(views, obs, draw)
