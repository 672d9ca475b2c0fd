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

from benchmark.training.agents import Agent, State, Trees, act, init_one, make_views, update
from benchmark.training.replay import Table, Transition, append, sample
from methods._contract import Batch, Draw, Losses, Method, named_key

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
    batch = _batch(agent, sample_key, offline, online)
    return update(agent, state._replace(key=key), batch, Draw(draw_key))


def _batch(agent: Agent, key: Array, offline: Table, online: Table) -> Batch:
    problem, optimiser = agent.problem, agent.optimiser
    size, balanced = optimiser.batch_size, optimiser.balanced
    return sample(offline, online, key, size, problem.chunk_length, problem.discount, balanced)


@partial(jax.jit, static_argnames="vectorised", donate_argnames="state")
def train(
    agent: Agent, state: State, offline: Table, online: Table, steps: Array, updates: Array, vectorised: bool
) -> tuple[State, Losses]:
    """``steps`` (S,) iterations of every seed in one dispatch, of which the last ``updates`` (S,) are updates.

    Where ``online`` has been appended to in this dispatch, an iteration samples from what was there at its turn: all
    but the rows of the iterations after it. No action is chosen inside an open-loop chunk, so this is what a loop of
    one environment step at a time would do. Metrics (S,) are means over the updates, 0 without any.
    """

    def seed(state: State, online: Table, steps: Array, updates: Array) -> tuple[State, Losses]:
        def update_at(turn: Array, carry: tuple[State, Losses]) -> tuple[State, Losses]:
            state, sums = carry
            seen = online._replace(size=jnp.maximum(online.size + turn + 1 - steps, 0))
            state, metrics = _sampled_update(agent, state._replace(iteration=state.iteration + 1), offline, seen)
            return state, jax.tree.map(jnp.add, sums, metrics)

        metrics = jax.eval_shape(partial(_sampled_update, agent), state, offline, online)[1]
        sums = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), metrics)
        state = state._replace(iteration=state.iteration + steps - updates)
        state, sums = jax.lax.fori_loop(steps - updates, steps, update_at, (state, sums))
        return state, jax.tree.map(lambda total: total / jnp.maximum(updates, 1), sums)

    return over_seeds(seed, vectorised)(state, online, steps, updates)


@jax.jit
def latest(found: Losses, before: Losses, updates: Array) -> Losses:
    """The metrics of the last dispatch in which each seed (S,) was updated."""
    return jax.tree.map(lambda new, old: jnp.where(updates > 0, new, old), found, before)


@partial(jax.jit, donate_argnames="online")
def append_all(online: Table, block: Transition, present: Array) -> Table:
    """Append a chunk's transitions (S, H, ...), as far as they are ``present`` (S, H)."""

    def seed(online: Table, block: Transition, present: Array) -> Table:
        def step(online: Table, inputs: tuple[Transition, Array]) -> tuple[Table, None]:
            return append(online, *inputs), None

        return jax.lax.scan(step, online, (block, present))[0]

    return jax.vmap(seed)(online, block, present)


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
        batch = _batch(agent, sample_key, offline, online)
        views = make_views(agent, state.parameters, state.parameters, state.slow)
        return agent.method.diagnostics(views, batch, Draw(draw_key))

    return over_seeds(seed, vectorised=False)(state, online)
