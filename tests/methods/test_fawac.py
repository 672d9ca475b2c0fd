"""FAWAC against its formula in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from methods.fawac import FAWAC
from tests.methods.formulas import DRAW, B, D, batch, linear_critic, numbers, views

PULL = 0.3 * numbers(D, D, seed=15)


def flow(obs: Any, x: Any, t: Any) -> Any:
    return x @ PULL + t


def value(obs: Any) -> Any:
    return 0.5 * obs.sum(-1) - 2.0


COPIES = views(
    live={"flow": flow, "value": value},
    held={"critic": linear_critic, "value": value},
    slow={"critic": linear_critic},
)


def test_cloning_is_weighted_by_a_bounded_exponential_advantage() -> None:
    given, tau = batch(), 3.0
    found = FAWAC(tau).losses(COPIES, given, DRAW)["flow_loss"]
    obs, chunk = np.asarray(given.obs), np.asarray(given.chunk)
    noise, t = np.asarray(DRAW.normal("flow_noise", (B, D))), np.asarray(DRAW.uniform("flow_time", (B, 1)))
    errors = np.mean((flow(obs, (1 - t) * noise + t * chunk, t) - (chunk - noise)) ** 2, axis=-1)
    weight = np.minimum(np.exp(tau * (np.asarray(linear_critic(obs, chunk)).mean(0) - value(obs))), 100.0)
    assert (weight == 100.0).any()
    assert (weight < 100.0).any()
    np.testing.assert_allclose(found, np.sum(np.asarray(given.valid) * weight * errors) / B, rtol=1e-4)


def test_the_value_is_fitted_to_every_head() -> None:
    given = batch()
    found = FAWAC(1.0).losses(COPIES, given, DRAW)["value_loss"]
    gaps = np.asarray(linear_critic(np.asarray(given.obs), np.asarray(given.chunk))) - value(np.asarray(given.obs))
    np.testing.assert_allclose(found, np.mean(np.asarray(given.valid) * gaps**2), rtol=1e-5)
