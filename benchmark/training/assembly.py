"""Whether a method, a value rule, a problem and what a run gives fit together; nothing is computed to tell."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from benchmark.training.agents import Agent, act, base_act, blank, init_one, losses, make_views, watched
from benchmark.training.optimiser import Optimiser
from methods._contract import ContractError, Draw, Method, Problem, ValueRule
from methods._frozen import Parts
from methods._given import NoSuchNetwork
from methods._values import TD

Array = jax.Array


def build(
    method: Method,
    rule: ValueRule | None,
    problem: Problem,
    optimiser: Optimiser,
    parts: Parts | None = None,
) -> Agent:
    """An agent whose parts fit together; without a ``rule`` its critic learns by TD.

    Raises ContractError with the reason why they don't: a network or a loss term has two owners, a method trains a base
    that is given, or brings another, or asks it where it can't answer.
    """
    return whole(unchecked(method, rule or TD(), problem, optimiser, parts))


def unchecked(
    method: Method, rule: ValueRule, problem: Problem, optimiser: Optimiser, parts: Parts | None = None
) -> Agent:
    """An agent that nobody has looked at yet."""
    return Agent(method, rule, problem, optimiser, parts, parts.arrays if parts else None)


def whole(agent: Agent) -> Agent:
    """The same agent. Raises ContractError as `build` does."""
    _look(agent.method, agent.rule, agent.problem, agent.optimiser, agent.parts)
    return agent


@cache  # the packs of a method differ in their task, and mostly not in this
def _look(*asked: Any) -> None:
    agent = unchecked(*asked)
    check(agent)
    jax.eval_shape(partial(_abstract, agent), jax.ShapeDtypeStruct((2,), jnp.uint32))


forget = _look.cache_clear
"""So that agents are looked at again."""


def check(agent: Agent) -> None:
    """Raise ContractError for what can be told without asking the networks anything."""
    method, known = agent.method, agent.everything
    for name in agent.rule.averaged:
        if name not in known:
            raise ContractError(
                f"the value rule {type(agent.rule).__name__} learns {name!r}, which the method does not have: it "
                "learns by a rule of its own, so leave --value out"
            )
    if missing := sorted({*agent.averaged, *dict(agent.optimiser.rates)} - set(agent.networks)):
        what = "is to be averaged" if missing[0] in agent.averaged else "has a learning rate of its own"
        raise ContractError(f"{missing[0]!r} {what} and is no network")
    frames = [min(leaf.shape[:2]) for leaf in agent.problem.observation.leaves if len(leaf.shape) == 3]
    if frames and agent.optimiser.shift >= min(frames):
        raise ContractError(
            f"a frame {min(frames)} pixels wide can't be moved by {agent.optimiser.shift} (random_shift)"
        )
    if (kept := list(method.keeps(agent.problem))) and not agent.problem.decisions:
        raise ContractError(f"it keeps {kept[0]!r} of each decision, and here a row of replay is a step")
    if method.best_of_n > 1 and "critic" not in known:
        raise ContractError("best_of_n chooses among actions by a critic of actions, and it has none; leave it at 1")
    if agent.parts and agent.given_base and (left := agent.parts.learned_with_base(agent.networks)):
        raise ContractError(f"its {left} is learned together with its base, which is given to this run without one")


def _abstract(agent: Agent, key: Array) -> Any:
    state, batch, draw = init_one(agent, key), blank(agent, 1), Draw(key)
    if (
        agent.parts
        and not agent.given_base
        and agent.method.base_loss(make_views(agent, state.parameters, state.parameters, state.slow), batch, draw)
    ):
        raise ContractError("it brings a base of its own, and the base is given to this run")
    found = losses(agent, state.parameters, state.slow, batch, draw)
    if agent.parts:  # asking the base at what replay keeps is an error that the first log point would meet
        watched(agent, state, batch, draw)
    return found


def check_acting(agent: Agent, obs: Any, base: bool) -> None:
    """Raise ContractError where the method can't act at observations like these, or before training by its ``base``."""
    key = jax.ShapeDtypeStruct((2,), jnp.uint32)
    wanted = {name: (1, size) for name, size in agent.method.keeps(agent.problem).items()}
    for asked in (act, base_act) if base else (act,):

        def chunks(key: Array, asked: Any = asked) -> Any:
            state = init_one(agent, key)
            return asked(agent, state.parameters, state.slow, obs, Draw(key))

        try:
            _, kept = jax.eval_shape(chunks, key)
        except NoSuchNetwork as error:
            if asked is act:
                raise
            raise ContractError("before training starts its base is to act (warm_up=base), and it has none") from error
        if (found := {name: each.shape for name, each in kept.items()}) != wanted:
            raise ContractError(
                f"{asked.__name__} answers with {found} beside its chunk, and it says that it keeps {wanted}: act has "
                "to answer with that, and base_act, by which it acts before training starts, too"
            )
