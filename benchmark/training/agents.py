"""An agent: a method, a value rule and an optimiser, for one seed. Losses -> gradient -> clip -> Adam -> averages.

It alone owns parameters, the optimiser and the averaged copies, and knows no method by name. Parts that a run gives
from outside stand beside the networks, and are none of these. Averages move from the
parameters BEFORE the step, as in the reference implementation (Li & Levine 2026, arXiv 2601.14234), so that after the
very first update they still equal the initial parameters. Nothing here is compiled or mapped: the trainer does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmark.training.optimiser import Optimiser, Trees
from methods._contract import (
    Batch,
    ContractError,
    Copy,
    Draw,
    Losses,
    Method,
    Problem,
    Seen,
    ValueRule,
    Views,
    named_key,
)
from methods._critic import best_of, chunk_of
from methods._flow import base_action
from methods._frozen import Parts
from methods._nets import Network
from methods._traced import constant

Array = jax.Array
TRAINS = (
    "{name!r} is read live, and it is given to this run and frozen: a method that trains its base can't be used with it"
)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["method", "rule", "arrays"],
    meta_fields=["problem", "optimiser", "parts"],
)
@dataclass(frozen=True)
class Agent:
    """What is trained: traced hyperparameters of method and value rule; problem, optimiser and the functions of given
    parts are static. ``arrays``: what given parts are made of, the same for all seeds."""

    method: Method
    rule: ValueRule
    problem: Problem
    optimiser: Optimiser
    parts: Parts | None = None
    arrays: Any = None

    @property
    def networks(self) -> dict[str, Network]:
        """The networks that are trained."""
        return {name: each for name, each in self.everything.items() if not each.frozen}

    @property
    def everything(self) -> dict[str, Any]:
        """The networks that are trained, and the given parts, which stand in place of those of their names."""
        return self._asked | (self.parts.by_name if self.parts else {})

    @property
    def _asked(self) -> dict[str, Network]:
        return _merged("network", self.method.networks(self.problem), self.rule.networks(self.problem))

    @property
    def averaged(self) -> tuple[str, ...]:
        """Networks with a slow copy; a given part may be named among them, and has none."""
        named = dict.fromkeys((*self.method.averaged, *self.rule.averaged))
        given = {name for name, each in self.everything.items() if each.frozen}
        return tuple(name for name in named if name not in given)

    @property
    def given_base(self) -> bool:
        """Whether the method has a base, which is given, so that nobody clones it."""
        return self.parts is not None and self.parts.stand_for_base(self._asked)


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


def blank(agent: Agent, rows: int) -> Batch:
    """A batch of zeros with all that a batch may hold."""
    problem = agent.problem
    obs, scalar, chunk = problem.observation.zeros(rows), jnp.zeros((rows,)), jnp.zeros((rows, problem.D))
    kept = {name: jnp.zeros((rows, size)) for name, size in agent.method.keeps(problem).items()}
    optional = {"next_chunk": chunk, "next_chunk_valid": scalar, "return_to_go": scalar}
    needed = {name: optional[name] for name in agent.rule.needs}
    return Batch(obs, chunk, scalar, scalar, scalar, obs, kept, **needed)


def make_views(agent: Agent, live: Trees | None, held: Trees, slow: Trees, training: bool = False) -> Views:
    """The three copies; without ``live`` (acting) reading it is an error. While ``training``, so is reading live what
    is given."""
    networks = agent.everything
    given = {name: agent.arrays for name, each in networks.items() if each.frozen}
    return Views(
        agent.problem,
        live=Copy(
            networks,
            {} if live is None else live | ({} if training else given),
            "{name!r} is read live while acting; read it held or slow",
            TRAINS if training else "",
        ),
        held=Copy(networks, constant(held) | given, "{name!r} has no parameters"),
        slow=Copy(networks, constant(slow) | given, "{name!r} has no slow copy; name it in `averaged`"),
    )


def losses(agent: Agent, live: Trees, slow: Trees, batch: Batch, draw: Draw) -> Losses:
    """All terms by name; the value rule's, the base's and the method's."""
    method, rule = agent.method, agent.rule
    views, batch = make_views(agent, live, live, slow, training=True), shifted(agent, batch, draw)

    def next_act(views: Views, obs: Any) -> Array:
        return constant(chunk_of(best_of(method.best_of_n, method.next_act)(views, obs, draw.scope("next_"))))

    return _merged(
        "loss term",
        rule.losses(views, batch, next_act, draw),
        {} if agent.given_base else method.base_loss(views, batch, draw),
        method.losses(views, batch, draw),
    )


def shifted(agent: Agent, batch: Batch, draw: Draw) -> Batch:
    """The batch whose frames are seen moved at random: one shift for each row and frame in time, the same for all
    cameras and networks. Random shifts: Yarats et al. 2021 (arXiv 2107.09645)."""
    most = agent.optimiser.shift
    if not most or not agent.problem.observation.frames:
        return batch

    def at(obs: Any, name: str) -> Seen:
        numbers = draw.uniform(name, (*agent.problem.observation.rows(obs), 2))
        return Seen(obs, shift=jnp.floor((2 * most + 1) * numbers).astype(jnp.int32) - most)

    return batch._replace(obs=at(batch.obs, "shift"), next_obs=at(batch.next_obs, "next_shift"))


def watched(agent: Agent, state: State, batch: Batch, draw: Draw) -> Losses:
    """The method's diagnostics on a batch."""
    views = make_views(agent, state.parameters, state.parameters, state.slow)
    return agent.method.diagnostics(views, batch, draw)


def update(agent: Agent, state: State, batch: Batch, draw: Draw) -> tuple[State, Losses]:
    """One step of one seed: state and batch without a seed axis."""

    def total(live: Trees) -> tuple[Array, Losses]:
        terms = losses(agent, live, state.slow, batch, draw)
        return jnp.asarray(sum(terms.values())), terms

    (loss, terms), gradients = jax.value_and_grad(total, has_aux=True)(state.parameters)
    steps, moments = agent.optimiser.transformation().update(gradients, state.moments)
    steps = agent.optimiser.scaled(steps)
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


Found = tuple[Array, Mapping[str, Array]]
"""Chunks (B, D), and what is to be kept of each, by name."""


def act(agent: Agent, parameters: Trees, slow: Trees, obs: Any, draw: Draw) -> Found:
    """Chunks of one seed."""
    views = make_views(agent, None, parameters, slow)
    return _kept(best_of(agent.method.best_of_n, agent.method.act)(views, obs, draw))


def base_act(agent: Agent, parameters: Trees, slow: Trees, obs: Any, draw: Draw) -> Found:
    """Chunks of one seed by its base, unsteered."""
    views = make_views(agent, None, parameters, slow)
    found = agent.method.base_act(views, obs, draw)
    return _kept(base_action(views, obs, draw) if found is None else found)


def _kept(found: Any) -> Found:
    return found if isinstance(found, tuple) else (found, {})
