"""A diffusion policy as base: its schedule, its denoising loss and its sampler, with T = 10 whatever the run's K.

Reference: Ho et al. 2020 (arXiv 2006.11239) with the variance-preserving schedule of the reference implementation of
Li & Levine 2026 (arXiv 2601.14234). Here t counts noise: t = T is noise, and t = 0 data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from methods._given import Batch, Draw, Views

Array = jax.Array
T = 10
_t = np.arange(1, T + 1)
BETA = 1.0 - np.exp(-0.1 / T - 4.95 * (2 * _t - 1) / T**2)
"""beta_t, t = 1..T."""
ALPHA_BAR = np.cumprod(1.0 - BETA)
"""prod_{s <= t} (1 - beta_s)."""


class Noised(NamedTuple):
    """Data at a random time: x (B, D), its noise (B, D), the time (B, 1) in 1..T, and sqrt(1 - alpha_bar) (B, 1)."""

    x: Array
    noise: Array
    t: Array
    spread: Array


def noised(batch: Batch, draw: Draw) -> Noised:
    """sqrt(alpha_bar_t) a + sqrt(1 - alpha_bar_t) xi. Drawn by name: base loss and method loss see the same."""
    index = jnp.floor(T * draw.uniform("denoise_time", (*batch.chunk.shape[:-1], 1))).astype(jnp.int32)
    keep = jnp.asarray(ALPHA_BAR, jnp.float32)[index]
    noise = draw.normal("denoise_noise", batch.chunk.shape)
    spread = jnp.sqrt(1.0 - keep)
    return Noised(jnp.sqrt(keep) * batch.chunk + spread * noise, noise, index.astype(jnp.float32) + 1.0, spread)


def denoising_loss(views: Views, batch: Batch, draw: Draw) -> Array:
    """E_b[valid mean_d (xi - eps(s, x, t))^2]."""
    at = noised(batch, draw)
    errors = jnp.mean(jnp.square(at.noise - views.live.denoiser.at(batch.obs)(at.x, at.t)), axis=-1)
    return jnp.mean(batch.valid * errors)


class Level(NamedTuple):
    """One step of the schedule: beta_t, alpha_bar_t, alpha_bar_{t-1}."""

    beta: Array
    keep: Array
    keep_before: Array


Step = Callable[[Array, Array, Array, Level], Array]
"""(x_t, clean estimate, noise, level) -> x_{t-1}."""


def posterior_step(x: Array, clean: Array, noise: Array, level: Level) -> Array:
    """DDPM: the clean estimate is clipped, and x moves to the posterior mean."""
    clean = jnp.clip(clean, -1.0, 1.0)
    mean = jnp.sqrt(level.keep_before) * level.beta * clean + jnp.sqrt(1.0 - level.beta) * (1.0 - level.keep_before) * x
    return mean / (1.0 - level.keep) + jnp.sqrt(level.beta) * noise


def jump(x: Array, clean: Array, noise: Array, level: Level) -> Array:
    """x moves to the clean estimate itself and is clipped with its noise: as released for QSM; probably a mistake."""
    return jnp.clip(clean + jnp.sqrt(level.beta) * noise, -1.0, 1.0)


def diffuse(views: Views, obs: Any, draw: Draw, move: Step) -> Array:
    """From noise to an action in [-1, 1], by the held denoiser."""
    shape = views.problem.shape(obs)
    denoiser = views.held.denoiser.at(obs)
    # Steps T..2 add noise, step 1 does not.
    noise = jnp.concatenate([draw.normal("act_steps", shape, steps=T - 1), jnp.zeros((1, *shape))])
    before = np.concatenate([[1.0], ALPHA_BAR[:-1]])
    times, *levels = (jnp.asarray(each[::-1], jnp.float32) for each in (_t, BETA, ALPHA_BAR, before))

    def step(x: Array, inputs: tuple[Array, Level, Array]) -> tuple[Array, None]:
        t, level, xi = inputs
        clean = (x - jnp.sqrt(1.0 - level.keep) * denoiser(x, t)) / jnp.sqrt(level.keep)
        return move(x, clean, xi, level), None

    x, _ = jax.lax.scan(step, draw.normal("act_noise", shape), (times, Level(*levels), noise))
    return jnp.clip(x, -1.0, 1.0)
