"""Meta flow maps: where noise may end, given a point on the way.

The map is X_{u,e}(x_bar; t, x, s) = x_bar + (e - u) v_{u,e}(x_bar; t, x, s): from time u to time e of an auxiliary flow
that carries noise to the law of the data given x_t = x. Meta Flow Maps (arXiv 2601.14430); QPILOTS (arXiv 2606.14801).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from methods._flow import interpolate
from methods._given import Batch, Draw, Views
from methods._traced import constant

Array = jax.Array


def jump(velocity: Any, x_bar: Array, x: Array, t: Any, u: Any, e: Any) -> Array:
    """X_{u,e}(x_bar) in the context (t, x); ``velocity`` is the map's network at an observation."""
    return x_bar + (e - u) * velocity(x_bar, x, t, u, e)


def posterior_velocity(flow: Any, x_bar: Array, x: Array, t: Array, u: Array) -> Array:
    """The velocity at x_bar, time u, of the flow that carries noise to the law of the data given x_t = x, from the
    marginal velocity alone: two noisy views of one datum are one view of their summed precision. GLASS flows (arXiv
    2509.25170), QPILOTS Section 7, in the form without a division by 1 - t or 1 - u."""
    a, b = 1.0 - t, 1.0 - u
    r = jnp.maximum(jnp.sqrt(jnp.square(t * b) + jnp.square(u * a)), 1e-6)
    e = r + a * b
    together = (t * jnp.square(b) * x + u * jnp.square(a) * x_bar) / (r * e)
    own = (t * b * x + (u * jnp.square(a) - jnp.square(t) * b - a * r) * x_bar) / (r * e)
    return own + (a / e) * flow(together, r / e)


def squared_residuals(views: Views, batch: Batch, draw: Draw) -> tuple[Array, Array]:
    """Squared residuals of the diagonal and of the consistency law, summed over what reaches the action: (B,), (B,).

    Diagonal: v_{u,u} against data minus noise. Consistency: one jump u -> e against the averaged map's two jumps by way
    of a time between. Both share the context t = r^2, x_t = x and the data; their noises are independent of its noise.
    """
    problem = views.problem
    data, column = problem.from_action(batch.chunk), (*batch.chunk.shape[:-1], 1)
    t = jnp.square(draw.uniform("context_r", column))
    x = interpolate(draw.normal("context_noise", data.shape), data, t)
    live, slow = views.live.map.at(batch.obs), views.slow.map.at(batch.obs)

    u, noise = draw.uniform("diagonal_u", column), draw.normal("diagonal_noise", data.shape)
    diagonal = live(interpolate(noise, data, u), x, t, u, u) - (data - noise)

    pair = draw.uniform("consistency_u", column), draw.uniform("consistency_w", column)
    u, e = jnp.minimum(*pair), jnp.maximum(*pair)
    middle = u + draw.uniform("consistency_fraction", column) * (e - u)
    start = interpolate(draw.normal("consistency_noise", data.shape), data, u)
    teacher = jump(slow, jump(slow, start, x, t, u, middle), x, t, middle, e)
    consistency = jump(live, start, x, t, u, e) - constant(teacher)

    def squared(residual: Array) -> Array:
        return jnp.sum(jnp.square(problem.real(residual)), axis=-1)

    return squared(diagonal), squared(consistency)


def adaptive(squared: Array, valid: Array, power: Any, softening: Any) -> Array:
    """E_b[valid w squared] with the held weight w = (squared + c)^-p. With a noisy target, p > 0 fits a median."""
    weight = constant((squared + softening) ** -jnp.asarray(power))
    return jnp.mean(valid * weight * squared)
