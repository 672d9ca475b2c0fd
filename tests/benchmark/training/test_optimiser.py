"""The learning rate over time, and of single networks."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from benchmark.training.optimiser import Optimiser


def rates(optimiser: Optimiser, updates: int) -> list[float]:
    """The length of each of Adam's steps under a constant gradient, which is the learning rate."""
    transformation, parameters = optimiser.transformation(), jnp.zeros(1)
    moments, found = transformation.init(parameters), []
    for _ in range(updates):
        step, moments = transformation.update(jnp.ones(1), moments, parameters)
        found.append(-float(step[0]))  # type: ignore[index]
    return found


def test_it_rises_then_falls_as_a_cosine_and_stays() -> None:
    found = rates(Optimiser(0.1, 0.01, 0.0, 8, warm_up=4, decay=10, end=0.1), 20)
    share = np.clip((np.arange(20) - 4) / 10, 0.0, 1.0)
    wanted = np.minimum(1.0, (np.arange(20) + 1) / 4) * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * share)))
    np.testing.assert_allclose(found, 0.1 * wanted, rtol=1e-4)
    assert found[-1] == pytest.approx(0.01, rel=1e-4)


def test_without_a_schedule_it_is_constant() -> None:
    np.testing.assert_allclose(rates(Optimiser(0.1, 0.01, 0.0, 8), 6), 0.1, rtol=1e-4)


def test_a_network_may_have_a_rate_of_its_own() -> None:
    optimiser = Optimiser(0.1, 0.01, 0.0, 8, rates=(("actor", 0.02),))
    found = optimiser.scaled({"actor": {"w": jnp.ones(2)}, "critic": {"w": jnp.ones(2)}})
    np.testing.assert_allclose(found["actor"]["w"], 0.2, rtol=1e-6)
    np.testing.assert_array_equal(found["critic"]["w"], 1.0)
