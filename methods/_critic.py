"""What is asked of a critic: reductions over its heads, the TD loss, and the choice among candidates.

Heads come first: a critic at an observation takes (B, D) to (J, B) and candidates (B, N, D) to (J, B, N).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from methods._given import Act, Batch, Draw, Problem, Seen, Views, seen
from methods._traced import constant

Array = jax.Array
Reduction = Callable[[Array], Array]
"""From heads (J, ...) to one value (...)."""


def average(heads: Array) -> Array:
    """mean_j Q_j."""
    return heads.mean(axis=0)


def minimum(heads: Array) -> Array:
    """min_j Q_j."""
    return heads.min(axis=0)


def standard_deviation(heads: Array) -> Array:
    """Population std over the heads; sqrt(var + 1e-12), because heads that agree have no derivative otherwise."""
    return jnp.sqrt(heads.var(axis=0) + 1e-12)


def pessimistic(problem: Problem) -> Reduction:
    """mean_j Q_j - rho std_j Q_j; where rho is 0 the second term is absent."""
    if problem.pessimism == 0.0:
        return average
    return lambda heads: average(heads) - problem.pessimism * standard_deviation(heads)


def pessimistic_value(critic: Any, problem: Problem) -> Callable[[Array], Array]:
    """Chunks (B, [N,] D) -> pessimistic value (B, [N])."""
    reduce = pessimistic(problem)
    return lambda chunk: reduce(critic(chunk))


def mean_value(critic: Any) -> Callable[[Array], Array]:
    """Chunks (B, [N,] D) -> mean over heads (B, [N])."""
    return lambda chunk: average(critic(chunk))


def gradient(function: Callable[..., Array]) -> Callable[..., Array]:
    """Gradient of a per-sample function (B, D), ... -> (B,) in its first argument.

    The sum over samples has per-sample gradients because no sample's value depends on another sample.
    """
    return jax.grad(lambda x, *rest: function(x, *rest).sum())


def backed_up(problem: Problem, batch: Batch, value: Array) -> Array:
    """y = R + gamma^H m value, shape (B,)."""
    return batch.reward + problem.discount**problem.chunk_length * batch.mask * value


def td_loss(views: Views, batch: Batch, target: Array, valid: Array | None = None) -> Array:
    """mean over heads and batch of valid (Q_j(s, a) - y)^2; the target (B,) is held. Li & Levine 2026, Section 3."""
    heads = views.live.critic.at(batch.obs)(batch.chunk)  # (J, B)
    return squared_gap(heads, target, batch.valid if valid is None else valid)


def squared_gap(heads: Array, target: Array, valid: Array) -> Array:
    """mean over heads (J, B) and batch of valid (Q_j - y)^2; the target (B,) is held."""
    return jnp.mean(valid * jnp.square(heads - constant(target)))


def choose(critic: Any, candidates: Array, reduction: Reduction, kept: Any = ()) -> Any:
    """The best of candidates (B, N, D) by the reduced critic: (B, D). With ``kept``, a pytree of what belongs to each
    (B, N, ...), also what belongs to it."""
    scores = reduction(critic(candidates))  # (B, N)
    best = jnp.argmax(scores, axis=-1)[..., None, None]

    def taken(of: Array) -> Array:
        return jnp.take_along_axis(of, best, axis=-2)[..., 0, :]

    return (taken(candidates), jax.tree.map(taken, kept)) if kept else taken(candidates)


def repeated(obs: Any, n: int) -> Seen:
    """An observation that stands for n candidates, side by side (B, n); nothing is copied."""
    obs = seen(obs)
    return replace(obs, each=(*obs.each, n))


def best_of(n: int, act: Act, reduction: Reduction = average) -> Act:
    """Act n times at each observation (noise (B, n, D)) and take the best by the held critic, with what is kept of it;
    n = 1 asks no critic."""
    if n == 1:
        return act

    def chosen(views: Views, obs: Any, draw: Draw) -> Any:
        found = act(views, repeated(obs, n), draw)
        candidates, *kept = found if isinstance(found, tuple) else (found,)
        return choose(views.held.critic.at(obs), candidates, reduction, *kept)

    return chosen


def chunk_of(found: Any) -> Array:
    """The chunk of what a method's `act` answers, which may come with what is to be kept."""
    return found[0] if isinstance(found, tuple) else found
