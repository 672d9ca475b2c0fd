"""The one place for jit, scan and the map over seeds: many updates, or many actions, in one dispatch.

Every array of a `State` has a leading seed axis. On accelerators the seeds are mapped (vmap); on a CPU, where a batched
matrix product gains nothing, they run one after the other in one program. Results agree to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmark.training.agents import Agent, State, Trees, act, base_act, init_one, update, watched
from benchmark.training.replay import Table, Transition, append
from benchmark.training.sampling import sample, with_returns
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


def vectorised_here(agent: Agent) -> bool:
    """Whether seeds are mapped on this machine's device. What leaves the program for a given part is called once for
    all seeds, also on a CPU: a loop over seeds would multiply the calls."""
    return jax.default_backend() != "cpu" or (agent.parts is not None and agent.parts.called_back)


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
    return sample(
        offline,
        online,
        key,
        optimiser.batch_size,
        problem.chunk_length,
        problem.discount,
        optimiser.balanced,
        problem.decisions,
        agent.rule.needs,
    )


class Due(NamedTuple):
    """What is due after some steps, for each seed (S,): ``skipped`` iterations without an update, then ``updates``,
    before which there were ``done``; ``trained`` steps have passed since training started, these included."""

    skipped: Any
    updates: Any
    done: Any
    trained: Any


def due(before: Any, after: Any, start: int, rate: Fraction) -> Due:
    """The updates that belong to the steps between two counts: so many for each step from step ``start`` on."""
    trained_before, trained = (np.maximum(np.asarray(count) - start + 1, 0) for count in (before, after))
    done, all_done = (count * rate.numerator // rate.denominator for count in (trained_before, trained))
    return Due(np.asarray(after) - before - (trained - trained_before), all_done - done, done, trained)


@partial(jax.jit, static_argnames="vectorised", donate_argnames="state")
def train(
    agent: Agent, state: State, offline: Table, online: Table, due: Due, vectorised: bool
) -> tuple[State, Losses]:
    """The updates of every seed that are due, in one dispatch.

    Where rows are steps and ``online`` has been appended to in this dispatch, an update samples from what was there at
    its turn: all but the rows of the steps after it. No action is chosen inside an open-loop chunk, so this is what a
    loop of one environment step at a time would do. Rows that are decisions are appended before a chunk or after its
    updates. Metrics (S,) are means over the updates, 0 without any.
    """
    each = agent.optimiser.updates_per_step

    def seed(state: State, online: Table, due: Due) -> tuple[State, Losses]:
        def update_at(turn: Array, carry: tuple[State, Losses]) -> tuple[State, Losses]:
            state, sums = carry
            seen = online
            if not agent.problem.decisions:
                at = -(-(due.done + turn + 1) * each.denominator // each.numerator)
                seen = online._replace(size=jnp.clip(online.size + at - due.trained, 0, online.size))
            state, metrics = _sampled_update(agent, state._replace(iteration=state.iteration + 1), offline, seen)
            return state, jax.tree.map(jnp.add, sums, metrics)

        metrics = jax.eval_shape(partial(_sampled_update, agent), state, offline, online)[1]
        sums = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), metrics)
        state = state._replace(iteration=state.iteration + due.skipped)
        state, sums = jax.lax.fori_loop(0, due.updates, update_at, (state, sums))
        return state, jax.tree.map(lambda total: total / jnp.maximum(due.updates, 1), sums)

    return over_seeds(seed, vectorised)(state, online, due)


@jax.jit
def latest(found: Losses, before: Losses, updates: Array) -> Losses:
    """The metrics of the last dispatch in which each seed (S,) was updated."""
    return jax.tree.map(lambda new, old: jnp.where(updates > 0, new, old), found, before)


@partial(jax.jit, static_argnames=("discount", "longest"), donate_argnames="online")
def append_all(online: Table, block: Transition, present: Array, discount: float = 1.0, longest: int = 1) -> Table:
    """Append a chunk's transitions (S, H, ...), as far as they are ``present`` (S, H). Where returns are wanted, those
    of the last ``longest`` rows are told anew, with ``discount`` for each row."""

    def seed(online: Table, block: Transition, present: Array) -> Table:
        def step(online: Table, inputs: tuple[Transition, Array]) -> tuple[Table, None]:
            return append(online, *inputs), None

        online = jax.lax.scan(step, online, (block, present))[0]
        return online if online.returns is None else with_returns(online, discount, longest)

    return jax.vmap(seed)(online, block, present)


@partial(jax.jit, static_argnames=("vectorised", "base"))
def act_rows(
    agent: Agent, state: State, obs: Any, counters: Array, vectorised: bool, base: bool = False
) -> tuple[Array, dict[str, Array]]:
    """Chunks (S, M, H, A) for observations (S, M, ...), each with noise of its own, and what is kept of each
    (S, M, size); by the ``base`` alone before training starts.

    ``counters`` (S, M, n) name the decision: with the seed they decide the noise, so that an action depends on neither
    its neighbours nor the order of the episodes.
    """
    problem, asked = agent.problem, base_act if base else act

    def row(parameters: Trees, slow: Trees, key: Array, obs: Any, counters: Array) -> Any:
        key = jax.lax.fori_loop(0, counters.shape[0], lambda i, key: jax.random.fold_in(key, counters[i]), key)
        found = asked(agent, parameters, slow, jax.tree.map(lambda leaf: leaf[None], obs), Draw(key))
        return jax.tree.map(lambda leaf: leaf[0], found)

    def seed(parameters: Trees, slow: Trees, key: Array, obs: Any, counters: Array) -> Any:
        rows = partial(row, parameters, slow, named_key(key, "act"))
        return jax.vmap(rows)(obs, counters)

    chunks, kept = over_seeds(seed, vectorised)(state.parameters, state.slow, state.seed_key, obs, counters)
    return chunks.reshape(*chunks.shape[:2], problem.chunk_length, problem.action_size), kept


def diagnostics(agent: Agent, state: State, offline: Table, online: Table) -> Losses:
    """The method's diagnostics (S,) on a batch of their own; changes nothing. Most methods have none."""
    if type(agent.method).diagnostics is Method.diagnostics:
        return {}
    return _diagnostics(agent, state, offline, online)


@jax.jit
def _diagnostics(agent: Agent, state: State, offline: Table, online: Table) -> Losses:

    def seed(state: State, online: Table) -> Losses:
        sample_key, draw_key = jax.random.split(named_key(state.key, "diagnostics"))
        return watched(agent, state, _batch(agent, sample_key, offline, online), Draw(draw_key))

    return over_seeds(seed, vectorised=False)(state, online)
