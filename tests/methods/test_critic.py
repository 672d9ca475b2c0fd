"""Reductions over heads, the safe deviation, and the choice among candidates."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from methods._contract import Backbone, Draw, Problem, Space
from methods._critic import average, best_of, choose, gradient, minimum, pessimistic, standard_deviation

HEADS = jnp.asarray([[1.0, 4.0], [3.0, 4.0], [8.0, 4.0]])


def problem(pessimism: float) -> Problem:
    return Problem(Space.array(3), 2, 1, 0.99, pessimism, 4, Backbone("gelu", "raw", (8,), (8,), heads=3))


def test_reductions() -> None:
    np.testing.assert_allclose(average(HEADS), [4.0, 4.0])
    np.testing.assert_allclose(minimum(HEADS), [1.0, 4.0])
    population = np.std(np.asarray(HEADS), axis=0)
    np.testing.assert_allclose(standard_deviation(HEADS), population, atol=2e-6)
    np.testing.assert_allclose(pessimistic(problem(0.5))(HEADS), np.asarray([4.0, 4.0]) - 0.5 * population, atol=2e-6)


def test_heads_that_agree_have_a_finite_gradient() -> None:
    slope = jax.grad(lambda heads: pessimistic(problem(0.5))(heads).sum())(jnp.ones((3, 2)))
    np.testing.assert_allclose(slope, 1 / 3, atol=1e-6)


def test_without_pessimism_the_term_is_absent() -> None:
    assert pessimistic(problem(0.0)) is average


def test_gradient_is_per_sample() -> None:
    x = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(gradient(lambda x, scale: scale * jnp.sum(x**2, axis=-1))(x, 3.0), 6.0 * x)


class Near:
    """Two heads that prefer actions near a target; the second prefers the far side and knows it less."""

    def at(self, obs: jax.Array) -> Any:
        target = obs[..., :2]

        def heads(chunk: jax.Array) -> jax.Array:
            wanted = target if chunk.ndim == target.ndim else target[..., None, :]
            distance = jnp.sum(jnp.square(chunk - wanted), axis=-1)
            return jnp.stack([-distance, -3.0 * distance])

        return heads


class Fake:
    problem = problem(0.5)

    class held:
        critic = Near()


def test_choose_takes_the_best_row_by_row() -> None:
    obs = jnp.asarray([[0.0, 0.0, 9.0], [1.0, 1.0, 9.0]])
    candidates = jnp.asarray([[[0.9, 0.9], [0.1, 0.0]], [[0.9, 0.9], [0.1, 0.0]]])
    chosen = choose(Near().at(obs), candidates, average)
    np.testing.assert_allclose(chosen, [[0.1, 0.0], [0.9, 0.9]])


def test_best_of_n_draws_observation_major_and_keeps_the_best() -> None:
    obs = jnp.asarray([[0.5, -0.5, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    draw = Draw(jax.random.PRNGKey(0))
    asked: list[Any] = []

    def act(views: Any, obs: Any, draw: Draw) -> jax.Array:
        asked.append(obs)
        return draw.normal("act_noise", views.problem.shape(obs))

    views: Any = Fake()
    chosen = best_of(5, act)(views, obs, draw)
    assert [each.each for each in asked] == [(5,)]
    assert asked[0].leaves is obs, "nothing is copied"
    candidates = np.asarray(draw.normal("act_noise", (3, 5, 2)))
    distance = np.sum((candidates - np.asarray(obs)[:, None, :2]) ** 2, axis=-1)
    np.testing.assert_allclose(chosen, candidates[np.arange(3), distance.argmin(axis=1)])


def test_best_of_one_is_the_sampler_itself() -> None:
    def act(views: Any, obs: jax.Array, draw: Draw) -> jax.Array:
        return obs

    assert best_of(1, act) is act
