"""Memoryless paths and their adjoints against slow loops and explicit Jacobians."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from methods._adjoint import drift_gap, lean_adjoints, memoryless_path, times_and_noise_levels
from methods.bam import BAM
from methods.qam import QAM
from tests.methods.formulas import DRAW, PROBLEM, WEIGHTS, B, D, Formula, batch, linear_critic, numbers, views

K = PROBLEM.flow_steps
FAST, SLOW = 0.5 * numbers(D, D, seed=10), 0.5 * numbers(D, D, seed=11)
LEVELS = [22, 10, 6, 4, 2.8, 2, 10 / 7, 1, 2 / 3, 0.4]
"""sigma^2 for K = 10."""


def fast(obs: Any, x: Any, t: Any) -> Any:
    return x @ FAST * (1.0 + t) + obs.sum(-1, keepdims=True)


def slow(obs: Any, x: Any, t: Any) -> Any:
    return x @ SLOW * (2.0 - t)


def test_noise_levels() -> None:
    times, levels = times_and_noise_levels(replace(PROBLEM, flow_steps=10))
    np.testing.assert_allclose(times, np.arange(10) / 10, rtol=1e-6)
    np.testing.assert_allclose(levels**2, LEVELS, rtol=1e-5)


def numpy_path(obs: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    x, h = np.asarray(DRAW.normal("path_start", (B, D))), 1 / K
    noise = np.asarray(DRAW.normal("path_noise", (B, D), steps=K - 1))
    states = []
    for i in range(K):
        states.append(x)
        t = i * h
        if i < K - 1:
            sigma = np.sqrt(2 * (1 - t + h) / (t + h))
            x = x + h * (2 * fast(obs, x, t) - x / (t + h)) + np.sqrt(h) * sigma * noise[i]
    return states, x + h * slow(obs, x, (K - 1) * h)


def test_a_path_is_the_slow_loops() -> None:
    obs = numbers(B, 2)
    states, end = memoryless_path(Formula(fast).at(obs), Formula(slow).at(obs), PROBLEM, DRAW)
    wanted, wanted_end = numpy_path(obs)
    np.testing.assert_allclose(states, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(end, wanted_end, rtol=1e-4, atol=1e-5)


def numpy_adjoints(terminal: np.ndarray) -> list[np.ndarray]:
    """g_i = (1 + h J_i)^T g_{i+1} with the Jacobian of 2 b'(x, t_i + h) - x / (t_i + h) written out."""
    g, h, found = terminal, 1 / K, []
    for i in reversed(range(K)):
        t = (i + 1) * h
        jacobian = 2 * SLOW * (2 - t) - np.eye(D) / t  # of the row vector x: row index in, column index out
        g = g + h * g @ jacobian.T
        found.append(g)
    return found[::-1]


def test_adjoints_are_products_with_explicit_jacobians() -> None:
    terminal = numbers(B, D, seed=4)
    found = lean_adjoints(
        Formula(slow).at(numbers(B, 2)), jnp.asarray(numbers(K, B, D)), jnp.asarray(terminal), PROBLEM
    )
    np.testing.assert_allclose(found, numpy_adjoints(terminal), rtol=1e-4, atol=1e-5)


def test_adjoints_of_a_curved_flow_match_finite_differences() -> None:
    """g_0 is the gradient of what follows from x_0: with a flow that bends, taken at the states themselves."""

    def curved(obs: Any, x: Any, t: Any) -> Any:
        return jnp.sin(x @ SLOW + t)

    h, terminal = 1 / K, numbers(B, D, seed=4)
    states = jnp.asarray(numbers(K, B, D, seed=5))
    found = np.asarray(lean_adjoints(Formula(curved).at(numbers(B, 2)), states, jnp.asarray(terminal), PROBLEM))
    g = terminal.astype(np.float64)
    for i in reversed(range(K)):
        t, x, next_g = (i + 1) * h, np.asarray(states[i], np.float64), g.copy()
        for d in range(D):
            step = np.zeros(D)
            step[d] = 1e-6
            drift = [2 * np.sin((x + s * step) @ SLOW + t) - (x + s * step) / t for s in (1, -1)]
            g[:, d] = next_g[:, d] + h * np.sum((drift[0] - drift[1]) / 2e-6 * next_g, axis=-1)
        np.testing.assert_allclose(found[i], g, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("tau", [0.5, 3.0])
def test_qam_on_a_linear_critic(tau: float) -> None:
    """Plain sum over steps of |2 (f - b') / sigma + sigma g|^2, with the gradient cut where the end is clipped."""
    given = batch()
    copies = views(
        live={"fast": fast},
        held={"fast": fast},
        slow={"flow": slow, "critic": linear_critic},
    )
    found = QAM(tau).losses(copies, given, DRAW)["adjoint_loss"]
    states, end = numpy_path(np.asarray(given.obs))
    inside = np.abs(end) < 1.0
    assert inside.any()
    assert not inside.all()
    adjoints = numpy_adjoints(-tau * WEIGHTS.mean(0) * inside)
    total = np.zeros(B)
    for i, (x, g) in enumerate(zip(states, adjoints, strict=True)):
        t, h = i / K, 1 / K
        sigma = np.sqrt(2 * (1 - t + h) / (t + h))
        gap = 2 * (fast(np.asarray(given.obs), x, t) - slow(None, x, t)) / sigma + sigma * g
        total += np.sum(gap**2, axis=-1)
    np.testing.assert_allclose(found, total.mean(), rtol=1e-3)


def test_bam_is_the_price_of_the_path_and_a_pessimistic_end() -> None:
    given, tau = batch(), 2.0
    copies = views(live={"fast": fast}, held={"critic": linear_critic}, slow={"flow": slow})
    found = BAM(tau).losses(copies, given, DRAW)
    obs = np.asarray(given.obs)
    states, end = numpy_path(obs)
    price = sum(
        2
        * np.sum((fast(obs, x, i / K) - slow(obs, x, i / K)) ** 2, axis=-1)
        / (2 * (1 - i / K + 1 / K) / ((i + 1) / K))
        for i, x in enumerate(states[:-1])
    )
    heads = np.asarray(linear_critic(obs, end))
    value = heads.mean(0) - PROBLEM.pessimism * heads.std(0)
    np.testing.assert_allclose(found["price_loss"], np.mean(price), rtol=1e-4)
    np.testing.assert_allclose(found["q_loss"], -tau * value.mean(), rtol=1e-4)


def test_bam_reaches_the_start_of_the_path() -> None:
    """The price is differentiated through the states, and the end through every step."""
    given = batch()

    def losses(scale: jax.Array) -> dict[str, jax.Array]:
        copies = views(
            live={"fast": lambda obs, x, t: scale * fast(obs, x, t)},
            held={"critic": linear_critic},
            slow={"flow": slow},
        )
        return BAM(2.0).losses(copies, given, DRAW)

    for name in ("price_loss", "q_loss"):
        slope = jax.grad(lambda scale, name=name: losses(scale)[name])(1.0)
        ahead, behind = losses(jnp.asarray(1.01))[name], losses(jnp.asarray(0.99))[name]
        np.testing.assert_allclose(slope, (ahead - behind) / 0.02, rtol=2e-2)


def test_drift_gap_of_some_states_uses_their_times() -> None:
    states = jnp.asarray(numbers(K, B, D))
    whole = drift_gap(Formula(fast).at(numbers(B, 2)), Formula(slow).at(numbers(B, 2)), states, PROBLEM)
    some = drift_gap(Formula(fast).at(numbers(B, 2)), Formula(slow).at(numbers(B, 2)), states[:-1], PROBLEM)
    np.testing.assert_allclose(whole[:-1], some, rtol=1e-6)
