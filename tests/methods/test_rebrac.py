"""ReBRAC's noise, where the golden numbers do not reach: its bound, and that of the action."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from methods._contract import Draw
from methods.rebrac import ReBRAC
from tests.methods.formulas import views

MEANS = jnp.asarray([[0.0, 0.2, -0.9, 0.95]] * 50)


def perturbed(which: str, noise_clip: float, actor_noise: float) -> np.ndarray:
    actor = {"actor": lambda obs: MEANS}
    given = views(slow=actor) if which == "next_act" else views(held=actor)
    method: Any = ReBRAC(alpha=1.0, actor_noise=actor_noise, noise_clip=noise_clip)
    return np.asarray(getattr(method, which)(given, jnp.zeros((50, 3)), Draw(jax.random.PRNGKey(0))))


@pytest.mark.parametrize("which", ["act", "next_act"])
def test_noise_and_action_are_bounded(which: str) -> None:
    """Noise much larger than its bound is the bound itself; what goes beyond the box lies on its edge."""
    found = perturbed(which, noise_clip=0.25, actor_noise=1e6)
    sides = np.sort(np.unique(found.round(5)[:, :2], axis=0).ravel())
    np.testing.assert_allclose(np.unique(sides), [-0.25, -0.05, 0.25, 0.45], atol=1e-6)
    np.testing.assert_allclose(np.unique(found[:, 2].round(5)), [-1.0, -0.65], atol=1e-6)
    np.testing.assert_allclose(np.unique(found[:, 3].round(5)), [0.7, 1.0], atol=1e-6)


@pytest.mark.parametrize("which", ["act", "next_act"])
def test_small_noise_is_added_as_it_is(which: str) -> None:
    found = perturbed(which, noise_clip=0.5, actor_noise=0.01) - np.asarray(MEANS)
    assert 0.007 < found[:, :2].std() < 0.013
    assert np.abs(found).max() < 0.05
