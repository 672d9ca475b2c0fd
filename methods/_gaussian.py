"""Tanh-Gaussian policies with a learned temperature: y = tanh(u), u ~ N(mean, std^2). Haarnoja et al. 2018 (arXiv
1812.05905), in the form of Li & Levine 2026 (arXiv 2601.14234), Appendix.

A policy is a network that answers with mean and log-std (B, D); an action of it is the unscaled y in (-1, 1).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from methods._given import Views
from methods._traced import constant

Array = jax.Array
Gaussian = tuple[Array, Array]
"""Mean and log-std of u."""
EDGE = 1e-5
"""A stored action is moved this far inside (-1, 1) before it is inverted."""


def _log_density(policy: Gaussian, u: Array) -> Array:
    """log pi(tanh u), summed over D: (B,). log(1 - tanh^2 u) = 2 (log 2 - u - softplus(-2u)), which cannot overflow."""
    mean, log_std = policy
    normal = -0.5 * jnp.square((u - mean) * jnp.exp(-log_std)) - log_std - 0.5 * math.log(2 * math.pi)
    stretch = 2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u))
    return jnp.sum(normal - stretch, axis=-1)


def sample(policy: Gaussian, noise: Array) -> tuple[Array, Array]:
    """The reparameterised action (B, D) of standard normal ``noise``, and its log-probability (B,)."""
    mean, log_std = policy
    u = mean + jnp.exp(log_std) * noise
    return jnp.tanh(u), _log_density(policy, u)


def log_probability(policy: Gaussian, action: Array) -> Array:
    """log pi of stored actions (B, D): (B,)."""
    return _log_density(policy, jnp.arctanh(jnp.clip(action, -1.0 + EDGE, 1.0 - EDGE)))


def entropy_cost(views: Views, log_probabilities: Array) -> Array:
    """exp(theta) E_b[log pi] with the held temperature: what a policy pays for being sure."""
    return views.held.temperature() * jnp.mean(log_probabilities)


def temperature_loss(views: Views, log_probabilities: Array, size: int | None = None) -> Array:
    """exp(theta) (sg[-E_b log pi] - H*): moves the temperature until the entropy is H*, which is -1/2 for each entry of
    what is chosen: D, or ``size`` of something else."""
    entries = views.problem.D if size is None else size
    return views.live.temperature() * (constant(-jnp.mean(log_probabilities)) + 0.5 * entries)
