"""RLPD against its formulas in NumPy; its sampling and warm-up are settings of the run."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmark.planning.plan import make
from benchmark.planning.request import ask
from methods.rlpd import RLPD
from tests.methods.formulas import DRAW, PROBLEM, B, D, batch, linear_critic, numbers, views

MEAN = numbers(2, D, seed=16)


def policy(obs: Any) -> Any:
    return obs @ MEAN, jnp.full((*obs.shape[:-1], D), -0.3)


def log_density(y: np.ndarray, obs: np.ndarray) -> np.ndarray:
    z = (np.arctanh(np.float64(y)) - obs @ MEAN) / np.exp(-0.3)
    return np.sum(-0.5 * z**2 + 0.3 - 0.5 * np.log(2 * np.pi) - np.log1p(-(np.float64(y) ** 2)), axis=-1)


def test_losses() -> None:
    given, beta = batch(), 0.7
    held = {"critic": linear_critic, "temperature": lambda: jnp.asarray(1.5)}
    copies = views(live={"actor": policy, "temperature": lambda: jnp.asarray(2.0)}, held=held)
    found = RLPD(beta).losses(copies, given, DRAW)
    obs = np.asarray(given.obs)
    y = np.tanh(obs @ MEAN + np.exp(-0.3) * np.asarray(DRAW.normal("actor_noise", (B, D))))
    heads = np.asarray(linear_critic(obs, y))
    log_pi = log_density(y, obs)
    q = heads.mean(0) - PROBLEM.pessimism * heads.std(0)
    np.testing.assert_allclose(found["actor_loss"], 1.5 * log_pi.mean() - q.mean(), rtol=1e-3)
    np.testing.assert_allclose(found["temperature_loss"], 2.0 * (-log_pi.mean() + 0.5 * D), rtol=1e-3)
    likelihood = log_density(np.asarray(given.chunk), obs) * np.asarray(given.valid)
    np.testing.assert_allclose(found["behaviour_loss"], -beta * likelihood.sum() / B, rtol=1e-3)


def test_it_runs_online_only_on_balanced_batches_after_a_random_warm_up() -> None:
    for suite, preset in (("ogbench", "paper"), ("ogbench", "quick"), ("toy", "quick")):
        for cell in make(ask(suite, preset, methods="rlpd", seeds="0")).cells:
            settings = cell.configuration["settings"]
            assert (settings["offline_steps"], settings["sampling"], settings["warm_up"]) == (0, "balanced", "uniform")
            assert "methods/rlpd.toml [run]" in cell.provenance["settings.offline_steps"]
