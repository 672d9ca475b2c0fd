"""Flow policies: the interpolant, its loss, the one Euler loop, the denoised action, and steering.

Noise is t = 0, data is t = 1, velocity is data minus noise. A latent (what the flow moves) becomes an action in
`euler`, `denoise` and `as_action`, by the flow's own map, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from methods._given import Batch, Draw, Problem, Views
from methods._traced import constant

Array = jax.Array


def interpolate(noise: Array, data: Array, t: Array) -> Array:
    """x_t = (1 - t) noise + t data, for t (B, 1)."""
    return (1.0 - t) * noise + t * data


def flow_errors(flow: Any, batch: Batch, draw: Draw) -> Array:
    """Squared error of the velocity at a random time, mean over D: (B,). Lipman et al. 2023 (arXiv 2210.02747)."""
    at = flow.at(batch.obs)
    noise, data = at.start(draw, "flow_noise"), at.from_action(batch.chunk)
    t = draw.uniform("flow_time", (*batch.chunk.shape[:-1], 1))
    velocity = at(interpolate(noise, data, t), t)
    return jnp.mean(jnp.square(velocity - (data - noise)), axis=-1)


def flow_matching(flow: Any, batch: Batch, draw: Draw) -> Array:
    """E_b[valid (1/D) |v(s, x_t, t) - (a - x_0)|^2]."""
    return jnp.mean(batch.valid * flow_errors(flow, batch, draw))


Steer = Callable[..., Array]
"""steer(x, t, velocity[, noise_i]) -> the velocity to follow instead."""


def euler(
    flow: Any,
    start: Array,
    problem: Problem,
    steer: Steer | None = None,
    noise: Array | None = None,
    theory: bool = False,
) -> Array:
    """Follow the flow from ``start`` (B, L) in K steps of 1/K; the action (B, D), clipped to [-1, 1].

    ``steer`` may bend the velocity of every step but the first; with ``noise`` (K, ...) it is also given entry i at
    step i. ``theory`` is for checks against closed forms: the first step is steered too and nothing is clipped.
    The first step stands outside the loop because at t = 0 a guidance would be evaluated only to be thrown away, and
    because the base flow and the steered flow then run the same steps.
    """
    steps = problem.flow_steps
    times = np.arange(steps, dtype=np.float32) / np.float32(steps)
    scanned = (times, noise)

    def step(x: Array, inputs: tuple[Array, Array | None], bend: Steer | None) -> Array:
        t, extra = inputs
        velocity = flow(x, t)
        if bend is not None:
            velocity = bend(x, t, velocity) if extra is None else bend(x, t, velocity, extra)
        return x + velocity / steps

    first = jax.tree.map(lambda each: each[0], scanned)
    rest = jax.tree.map(lambda each: each[1:], scanned)
    x = step(start, first, steer if theory else None)
    x, _ = jax.lax.scan(lambda x, inputs: (step(x, inputs, steer), None), x, rest)
    action = flow.to_action(x)
    return action if theory else jnp.clip(action, -1.0, 1.0)


def flow_action(flow: Any, problem: Problem, draw: Draw, name: str = "act_noise") -> Array:
    """Flow(v, s, z): what the unsteered flow makes of noise of its own."""
    return euler(flow, flow.start(draw, name), problem)


def base_action(views: Views, obs: Any, draw: Draw) -> Array:
    """What the base does unasked."""
    return flow_action(views.held.flow.at(obs), views.problem, draw)


def as_action(flow: Any, x: Array) -> Array:
    """The action that a latent stands for."""
    return flow.to_action(x)


def denoise(flow: Any) -> Callable[[Array, Any], Array]:
    """(x, t) -> the predicted clean action x + (1 - t) v(x, t): Tweedie's estimate, QPILOTS (P-14)."""
    return lambda x, t: flow.to_action(x + (1.0 - t) * flow(x, t))


def straight_through_clip(action: Array) -> Array:
    """Clipped to [-1, 1] forward, the identity backward, QPILOTS Section 3."""
    return action + constant(jnp.clip(action, -1.0, 1.0) - action)


def rescaled(flow: Any, guidance: Array, velocity: Array, alpha: Array | float) -> Array:
    """velocity + alpha g, where g is the guidance scaled to the velocity's norm, per sample. QPILOTS (P-17).

    Both norms are over what reaches the action, and nothing else is steered: the flow mixes padding into it, so that
    the gradient there is not zero. The epsilon is 1e-8, the value of the Meta Flow Maps release (arXiv 2601.14430);
    QPILOTS gives none.
    """
    guidance = flow.real(guidance)

    def norm(x: Array) -> Array:
        return jnp.linalg.norm(x, axis=-1, keepdims=True)

    return velocity + alpha * (norm(flow.real(velocity)) / (norm(guidance) + 1e-8)) * guidance


def steered(
    flow: Any,
    guidance: Callable[..., Array],
    alpha: Array | float,
    problem: Problem,
    draw: Draw,
    noise: Array | None = None,
) -> Array:
    """The flow's action when every step is bent by ``guidance(x, t[, noise_i])``, rescaled. QPILOTS, Algorithm 1."""

    def steer(x: Array, t: Array, velocity: Array, *noise_i: Array) -> Array:
        return rescaled(flow, guidance(x, t, *noise_i), velocity, alpha)

    return euler(flow, flow.start(draw, "act_noise"), problem, steer, noise)
