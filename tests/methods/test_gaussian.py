"""Tanh-Gaussians against the density of a transformed variable, in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from methods._gaussian import entropy_cost, log_probability, sample, temperature_loss
from tests.methods.formulas import B, D, numbers, views

POLICY = (jnp.asarray(numbers(B, D, seed=1)), jnp.asarray(0.3 * numbers(B, D, seed=2)))


def density(y: np.ndarray) -> np.ndarray:
    """log of N(atanh y; mean, std) / (1 - y^2), summed over D."""
    mean, std = np.float64(POLICY[0]), np.exp(np.float64(POLICY[1]))
    z = (np.arctanh(y) - mean) / std
    return np.sum(-0.5 * z**2 - np.log(std * np.sqrt(2 * np.pi)) - np.log1p(-(y**2)), axis=-1)


def test_a_sample_and_its_log_probability() -> None:
    noise = numbers(B, D, seed=3)
    y, log_pi = sample(POLICY, jnp.asarray(noise))
    np.testing.assert_allclose(y, np.tanh(POLICY[0] + np.exp(POLICY[1]) * noise), rtol=1e-6)
    np.testing.assert_allclose(log_pi, density(np.asarray(y, np.float64)), rtol=1e-4)
    np.testing.assert_allclose(log_probability(POLICY, y), log_pi, rtol=1e-3)


def test_far_out_everything_stays_finite() -> None:
    """tanh(40) is 1 in float32, where log(1 - y^2) is minus infinity; a stored action may lie on the edge itself."""
    far = (jnp.full((1, D), 40.0), jnp.zeros((1, D)))
    value, gradient = jax.value_and_grad(lambda mean: sample((mean, far[1]), jnp.ones((1, D)))[1].sum())(far[0])
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    edge = log_probability(POLICY, jnp.asarray([[1.0, -1.0, 1.0, -1.0]] * B))
    np.testing.assert_allclose(edge, density(np.tile([1.0, -1.0, 1.0, -1.0], (B, 1)) * (1 - 1e-5)), rtol=1e-3)


def test_the_temperature_moves_towards_the_wanted_entropy() -> None:
    """d/dtheta of exp(theta) (entropy - H*) has the sign of entropy - H*, H* = -D / 2."""

    def loss(theta: jax.Array, entropy: float) -> jax.Array:
        copies = {"temperature": lambda: jnp.exp(theta)}
        return temperature_loss(views(live=copies), jnp.full((B,), -entropy))

    for entropy in (-0.5 * D + 1.0, -0.5 * D - 2.0):
        value, slope = jax.value_and_grad(loss)(jnp.asarray(0.3), entropy)
        np.testing.assert_allclose([value, slope], np.exp(0.3) * (entropy + 0.5 * D), rtol=1e-5)


def test_being_sure_costs_the_held_temperature() -> None:
    copies = {"temperature": lambda: jnp.asarray(2.5)}
    np.testing.assert_allclose(entropy_cost(views(held=copies), jnp.asarray([1.0, 2.0, 6.0])), 7.5)

    def of_the_policy(scale: jax.Array) -> jax.Array:
        return temperature_loss(views(live=copies), scale * jnp.ones(B))

    assert jax.grad(of_the_policy)(1.0) == 0.0
