"""Fine-tuning a flow along memoryless paths: simulate, pull the critic's gradient back, match.

Two velocities: ``fast``, which is fine-tuned, and ``slow``, the averaged clone that it starts from. With h = 1/K,
t_i = i h and sigma_i^2 = 2 (1 - t_i + h) / (t_i + h). Adjoint matching: Domingo-Enrich et al. 2025 (arXiv 2409.08861);
discretised as by Li & Levine 2026 (arXiv 2601.14234): times are shifted by h, and the last step is an ODE step.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from methods._given import Draw, Problem

Array = jax.Array


def times_and_noise_levels(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """t_i and sigma_i, i = 0..K-1."""
    steps = problem.flow_steps
    times = np.arange(steps, dtype=np.float32) / np.float32(steps)
    shifted = times + np.float32(1 / steps)
    return times, np.sqrt(2.0 * (1.0 - times + np.float32(1 / steps)) / shifted)


def memoryless_path(fast: Any, slow: Any, problem: Problem, draw: Draw) -> tuple[Array, Array]:
    """States x_0..x_{K-1} (K, B, D) of the SDE, and the end x_K (B, D), which is not clipped.

    x_{i+1} = x_i + h (2 f(x_i, t_i) - x_i / (t_i + h)) + sqrt(h) sigma_i xi_i; the last step is x + h b'(x, t).
    Gradients pass wherever the two velocities let them.
    """
    h = 1.0 / problem.flow_steps
    times, levels = times_and_noise_levels(problem)
    start = fast.start(draw, "path_start")
    noise = draw.normal("path_noise", start.shape, steps=problem.flow_steps - 1)

    def step(x: Array, inputs: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        t, level, xi = inputs
        return x + h * (2.0 * fast(x, t) - x / (t + h)) + jnp.sqrt(h) * level * xi, x

    inputs = (jnp.asarray(times[:-1]), jnp.asarray(levels[:-1]), noise)
    last, states = jax.lax.scan(step, start, inputs)
    return jnp.concatenate([states, last[None]]), last + h * slow(last, times[-1])


def drift_gap(fast: Any, slow: Any, states: Array, problem: Problem) -> Array:
    """2 (f - b') / sigma_i at the first of K states, as many as are given: (n, B, D)."""
    times, levels = (each[: len(states)] for each in times_and_noise_levels(problem))
    return jax.vmap(lambda x, t, level: 2.0 * (fast(x, t) - slow(x, t)) / level)(states, times, levels)


def lean_adjoints(slow: Any, states: Array, terminal: Array, problem: Problem) -> Array:
    """g_0..g_{K-1} (K, B, D) from g_K: g_i = g_{i+1} + h J_i^T g_{i+1}, J_i of 2 b'(x_i, t_i + h) - x_i / (t_i + h).

    The flow is linearised at all states in one batched pass; only the transposed sweep runs step by step.
    """
    h = 1.0 / problem.flow_steps
    times, _ = times_and_noise_levels(problem)
    pullbacks = jax.vmap(lambda x, t: jax.vjp(lambda x: 2.0 * slow(x, t + h) - x / (t + h), x)[1])(states, times)

    def step(g: Array, pullback: Any) -> tuple[Array, Array]:
        g = g + h * pullback(g)[0]
        return g, g

    return jax.lax.scan(step, terminal, pullbacks, reverse=True)[1]
