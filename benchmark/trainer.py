"""The one place for jit, scan and the map over seeds: many updates, or many actions, in one dispatch.

Every array of a `State` has a leading seed axis. On accelerators the seeds are mapped (vmap); on a CPU, where a batched
matrix product gains nothing, they run one after the other in one program. Results agree to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from benchmark.agents import Agent, State, Trees, act, init_one, make_views, update
from benchmark.replay import Table, Transition, append, sample
from methods._contract import Draw, Losses, Method, named_key

Array = jax.Array


@jax.jit
def finite(state: State) -> Array:
    """Which seeds (S,) have parameters that are all numbers."""
    leaves = [jnp.isfinite(leaf).reshape(leaf.shape[0], -1).all(axis=1) for leaf in jax.tree.leaves(state.parameters)]
    return jnp.stack(leaves).all(axis=0)


def over_seeds(function: Callable[..., Any], vectorised: bool) -> Callable[..., Any]:
    """``function`` over the leading axis of every argument."""
    if vectorised:
        return jax.vmap(function)
    return lambda *mapped: jax.lax.map(lambda each: function(*each), mapped)


def vectorised_here() -> bool:
    """Whether seeds are mapped on this machine's device."""
    return jax.default_backend() != "cpu"


# Initialisation runs once: optimising it would cost far more than it takes.
@partial(jax.jit, compiler_options={"xla_backend_optimization_level": "0"})
def _init(agent: Agent, keys: Array) -> State:
    return jax.vmap(partial(init_one, agent))(keys)


def init(agent: Agent, seeds: Sequence[int]) -> State:
    """Fresh states; a seed's numbers do not depend on the seeds beside it."""
    return _init(agent, jnp.stack([jax.random.PRNGKey(seed) for seed in seeds]))


def _sampled_update(agent: Agent, state: State, offline: Table, online: Table) -> tuple[State, Losses]:
    key, sample_key, draw_key = jax.random.split(state.key, 3)
    problem, size = agent.problem, agent.optimiser.batch_size
    batch = sample(offline, online, sample_key, size, problem.chunk_length, problem.discount)
    return update(agent, state._replace(key=key), batch, Draw(draw_key))


@partial(jax.jit, static_argnames=("length", "vectorised"), donate_argnames="state")
def train_offline(
    agent: Agent, state: State, offline: Table, online: Table, length: int, vectorised: bool
) -> tuple[State, Losses]:
    """``length`` updates of every seed in one dispatch; metrics (S,) are means over them."""

    def seed(state: State, online: Table) -> tuple[State, Losses]:
        def step(state: State, _: None) -> tuple[State, Losses]:
            return _sampled_update(agent, state._replace(iteration=state.iteration + 1), offline, online)

        state, metrics = jax.lax.scan(step, state, None, length)
        return state, jax.tree.map(jnp.mean, metrics)

    return over_seeds(seed, vectorised)(state, online)


@partial(jax.jit, static_argnames=("start_training", "vectorised"), donate_argnames=("state", "online", "metrics"))
def train_online(
    agent: Agent,
    state: State,
    offline: Table,
    online: Table,
    metrics: Losses,
    block: Transition,
    present: Array,
    start_training: int,
    vectorised: bool,
) -> tuple[State, Table, Losses]:
    """Append a chunk's transitions (S, H, ...) one by one, an update after each from ``start_training`` on.

    No action is chosen inside an open-loop chunk, so this is what a loop of one step at a time would do. ``present``
    (S, H) marks the steps that were taken; ``metrics`` (S,) are replaced by those of the last update.
    """

    def seed(state: State, online: Table, metrics: Losses, block: Transition, present: Array) -> Any:
        def taken(carry: tuple[State, Table, Losses], step: Transition) -> tuple[State, Table, Losses]:
            state, online, metrics = carry
            online = append(online, step)
            state = state._replace(iteration=state.iteration + 1)
            state, metrics = jax.lax.cond(
                state.iteration >= start_training,
                lambda state, _: _sampled_update(agent, state, offline, online),
                lambda state, metrics: (state, metrics),
                state,
                metrics,
            )
            return state, online, metrics

        def step(carry: tuple[State, Table, Losses], inputs: tuple[Transition, Array]) -> tuple[Any, None]:
            transition, here = inputs
            return jax.lax.cond(here, taken, lambda carry, _: carry, carry, transition), None

        return jax.lax.scan(step, (state, online, metrics), (block, present))[0]

    return over_seeds(seed, vectorised)(state, online, metrics, block, present)


def no_metrics(agent: Agent, state: State, offline: Table, online: Table) -> Losses:
    """Zeros in the place of metrics, for `train_online` before its first update."""
    shapes = jax.eval_shape(partial(train_offline, length=1, vectorised=True), agent, state, offline, online)[1]
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


@partial(jax.jit, static_argnames="vectorised")
def act_rows(agent: Agent, state: State, obs: Array, counters: Array, vectorised: bool) -> Array:
    """Chunks (S, M, H, A) for observations (S, M, d), each with noise of its own.

    ``counters`` (S, M, n) name the decision: with the seed they decide the noise, so that an action depends on neither
    its neighbours nor the order of the episodes.
    """
    problem = agent.problem

    def row(parameters: Trees, slow: Trees, key: Array, obs: Array, counters: Array) -> Array:
        key = jax.lax.fori_loop(0, counters.shape[0], lambda i, key: jax.random.fold_in(key, counters[i]), key)
        return act(agent, parameters, slow, obs[None], Draw(key))[0]

    def seed(parameters: Trees, slow: Trees, key: Array, obs: Array, counters: Array) -> Array:
        rows = partial(row, parameters, slow, named_key(key, "act"))
        return jax.vmap(rows)(obs, counters)

    chunks = over_seeds(seed, vectorised)(state.parameters, state.slow, state.seed_key, obs, counters)
    return chunks.reshape(*chunks.shape[:2], problem.chunk_length, problem.action_size)


def diagnostics(agent: Agent, state: State, offline: Table, online: Table) -> Losses:
    """The method's diagnostics (S,) on a batch of their own; changes nothing. Most methods have none."""
    if type(agent.method).diagnostics is Method.diagnostics:
        return {}
    return _diagnostics(agent, state, offline, online)


@jax.jit
def _diagnostics(agent: Agent, state: State, offline: Table, online: Table) -> Losses:

    def seed(state: State, online: Table) -> Losses:
        sample_key, draw_key = jax.random.split(named_key(state.key, "diagnostics"))
        problem, size = agent.problem, agent.optimiser.batch_size
        batch = sample(offline, online, sample_key, size, problem.chunk_length, problem.discount)
        views = make_views(agent, state.parameters, state.parameters, state.slow)
        return agent.method.diagnostics(views, batch, Draw(draw_key))

    return over_seeds(seed, vectorised=False)(state, online)
