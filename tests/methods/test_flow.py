"""The Euler loop and what is passed to it, against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from methods._contract import Backbone, Batch, Draw, Problem, Space
from methods._flow import as_action, denoise, euler, flow_errors, interpolate, rescaled, straight_through_clip
from methods._nets import FlowAt

BACKBONE = Backbone("gelu", "raw", (8,), (8,), heads=2)


def problem(steps: int) -> Problem:
    return Problem(Space.array(3), 2, 1, 0.99, 0.5, steps, BACKBONE)


@dataclass(frozen=True)
class Field:
    """A velocity field given as a formula; its latents are twice the action, and a third entry is padding."""

    formula: Callable[[jax.Array, jax.Array], jax.Array]
    scale: float = 1.0
    entries: int | None = None

    def __call__(self, x: jax.Array, t: jax.Array) -> jax.Array:
        return self.formula(x, t)

    def to_action(self, x: jax.Array) -> jax.Array:
        return self.scale * x[..., : self.entries]

    def real(self, x: jax.Array) -> jax.Array:
        inside = jnp.arange(x.shape[-1]) < (x.shape[-1] if self.entries is None else self.entries)
        return jnp.where(inside, x, 0.0)


def test_constant_velocity_integrates_exactly() -> None:
    start = jnp.asarray([[0.1, -0.2], [0.0, 0.3]])
    action = euler(Field(lambda x, t: jnp.asarray([0.25, -0.5])), start, problem(7))
    np.testing.assert_allclose(action, start + jnp.asarray([0.25, -0.5]), atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_linear_velocity_gives_the_product_of_the_steps(steps: int) -> None:
    action = euler(Field(lambda x, t: -0.5 * x), jnp.asarray([[0.8, -0.4]]), problem(steps))
    np.testing.assert_allclose(action, np.asarray([[0.8, -0.4]]) * (1 - 0.5 / steps) ** steps, rtol=1e-5)


def test_times_are_i_over_k_and_the_last_is_not_one() -> None:
    """v = t sums the times: sum of i / K^2 = (K - 1) / 2K."""
    action = euler(Field(lambda x, t: jnp.ones_like(x) * t), jnp.zeros((1, 2)), problem(5))
    np.testing.assert_allclose(action, 0.4, atol=1e-6)


def test_only_the_end_is_clipped() -> None:
    """Up to 3 in the first step and back down in the others: a clip on the way would show."""
    field = Field(lambda x, t: jnp.where(t < 0.1, 12.0, -3.5) * jnp.ones_like(x))
    np.testing.assert_allclose(euler(field, jnp.zeros((1, 2)), problem(4)), 0.375, atol=1e-6)
    np.testing.assert_allclose(euler(Field(lambda x, t: 5.0 + 0 * x), jnp.zeros((1, 2)), problem(4)), 1.0)


def test_the_first_step_is_not_steered_and_noise_goes_with_its_step() -> None:
    noise = jnp.asarray([100.0, 0.1, 0.2, 0.3])[:, None, None] * jnp.ones((4, 1, 2))

    def steer(x: jax.Array, t: jax.Array, velocity: jax.Array, noise: jax.Array) -> jax.Array:
        return velocity + noise

    still = Field(lambda x, t: jnp.zeros_like(x))
    np.testing.assert_allclose(euler(still, jnp.zeros((1, 2)), problem(4), steer, noise), 0.6 / 4, atol=1e-6)
    theory = euler(still, jnp.zeros((1, 2)), problem(4), steer, noise, theory=True)
    np.testing.assert_allclose(theory, 100.6 / 4, rtol=1e-6)


def test_the_flow_maps_latents_to_actions() -> None:
    field = Field(lambda x, t: jnp.ones_like(x), scale=0.5, entries=2)
    start = jnp.asarray([[0.2, 0.4, 9.0]])
    np.testing.assert_allclose(euler(field, start, problem(2)), [[0.6, 0.7]], atol=1e-6)
    np.testing.assert_allclose(denoise(field)(start, 0.5), [[0.35, 0.45]], atol=1e-6)
    np.testing.assert_allclose(as_action(field, start), [[0.1, 0.2]], atol=1e-6)


def test_denoise_is_exact_on_straight_lines() -> None:
    """For a single data point a, v(x, t) = (a - x) / (1 - t), and the estimate is a at every t."""
    target = jnp.asarray([[0.3, -0.7]])
    field = Field(lambda x, t: (target - x) / (1.0 - t))
    for t in (0.0, 0.4, 0.9):
        np.testing.assert_allclose(denoise(field)(jnp.asarray([[1.5, 2.0]]), t), target, atol=1e-5)


def test_straight_through_clip() -> None:
    x = jnp.asarray([-3.0, -0.5, 0.2, 1.7])
    np.testing.assert_allclose(straight_through_clip(x), [-1.0, -0.5, 0.2, 1.0])
    slope = jax.grad(lambda x: (straight_through_clip(x) * jnp.arange(4.0)).sum())(x)
    np.testing.assert_allclose(slope, np.arange(4.0))


def test_rescaled_has_the_length_of_the_velocity() -> None:
    rng = np.random.default_rng(0)
    guidance, velocity = (jnp.asarray(rng.normal(size=(5, 4)), jnp.float32) for _ in range(2))
    added = rescaled(Field(lambda x, t: x), guidance, velocity, jnp.asarray(0.3)) - velocity
    np.testing.assert_allclose(np.linalg.norm(added, axis=1), 0.3 * np.linalg.norm(velocity, axis=1), rtol=1e-5)
    cosine = np.sum(added * guidance, axis=1) / np.linalg.norm(added, axis=1) / np.linalg.norm(guidance, axis=1)
    np.testing.assert_allclose(cosine, 1.0, rtol=1e-5)


def test_rescaled_takes_norms_over_real_entries() -> None:
    """The padding counts in neither norm, and is not steered."""
    velocity, guidance = jnp.asarray([[3.0, 4.0, 99.0]]), jnp.asarray([[0.0, 2.0, 50.0]])
    bent = rescaled(Field(lambda x, t: x, entries=2), guidance, velocity, jnp.asarray(1.0))
    np.testing.assert_allclose(bent, [[3.0, 9.0, 99.0]], rtol=1e-6)


def test_rescaled_without_guidance_is_the_velocity() -> None:
    velocity = jnp.asarray([[1.0, -2.0]])
    bent = rescaled(Field(lambda x, t: x), jnp.zeros((1, 2)), velocity, jnp.asarray(2.0))
    np.testing.assert_array_equal(bent, velocity)


def test_rescaling_epsilon_is_1e_8() -> None:
    velocity, guidance = jnp.asarray([[1.0, 0.0]]), jnp.asarray([[1e-8, 0.0]])
    bent = rescaled(Field(lambda x, t: x), guidance, velocity, jnp.asarray(1.0))
    np.testing.assert_allclose(bent, [[1.5, 0.0]], rtol=1e-5)


def test_flow_error_of_the_true_velocity_is_zero_and_averages_over_the_entries() -> None:
    batch = Batch(jnp.zeros((3, 3)), jnp.ones((3, 2)) * 0.5, jnp.ones(3), jnp.ones(3), jnp.ones(3), jnp.zeros((3, 3)))
    draw = Draw(jax.random.PRNGKey(0))
    noise = draw.normal("flow_noise", (3, 2))
    t = draw.uniform("flow_time", (3, 1))

    class At:
        def __init__(self, off: float) -> None:
            self.off = off

        def at(self, obs: jax.Array) -> FlowAt:
            def velocity(x: jax.Array, time: jax.Array) -> jax.Array:
                np.testing.assert_allclose(time, t)
                np.testing.assert_allclose(x, interpolate(noise, batch.chunk, t), atol=1e-6)
                return batch.chunk - noise + self.off

            return FlowAt(problem(4), (3,), velocity)

    np.testing.assert_allclose(flow_errors(At(0.0), batch, draw), 0.0, atol=1e-12)
    np.testing.assert_allclose(flow_errors(At(0.2), batch, draw), 0.04, rtol=1e-4)
