"""The diffusion base and its two methods against tables, slow loops and formulas written out in NumPy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from methods import _diffusion
from methods._diffusion import ALPHA_BAR, BETA, T, diffuse, noised
from methods.dac import DAC
from methods.qsm import QSM
from tests.methods.formulas import DRAW, WEIGHTS, B, D, batch, numbers, views

BETAS = [0.057764, 0.146577, 0.227018, 0.299878, 0.365869, 0.425641, 0.479778, 0.528813, 0.573226, 0.613452]
MIX = 0.4 * numbers(D, D, seed=12)


def denoiser(obs: Any, x: Any, t: Any) -> Any:
    return x @ MIX + 0.1 * t + obs.sum(-1, keepdims=True)


def critic(obs: Any, x: Any) -> Any:
    """(J, B): a square for each head, so that the gradient depends on where it is taken."""
    return jnp.stack([(w * x**2).sum(-1) for w in WEIGHTS])


def test_the_schedule() -> None:
    np.testing.assert_allclose(BETA, BETAS, atol=1e-6)
    np.testing.assert_allclose(ALPHA_BAR[-1], 0.006409, atol=1e-6)
    np.testing.assert_allclose(ALPHA_BAR, [np.prod(1 - BETA[: i + 1]) for i in range(T)], rtol=1e-12)


def numpy_noised(chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    u, xi = np.asarray(DRAW.uniform("denoise_time", (B, 1))), np.asarray(DRAW.normal("denoise_noise", (B, D)))
    t = 1 + np.floor(10 * u).astype(int)
    keep = np.asarray([np.prod([1 - b for b in BETA[:n]]) for n in t[:, 0]])[:, None]
    return np.sqrt(keep) * chunk + np.sqrt(1 - keep) * xi, xi, t, np.sqrt(1 - keep)


def test_noised_data() -> None:
    given = batch()
    for ours, wanted in zip(noised(given, DRAW), numpy_noised(np.asarray(given.chunk)), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5)


class Extreme:
    """Uniforms at the ends of [0, 1)."""

    def __init__(self, value: float) -> None:
        self.value = value

    def uniform(self, name: str, shape: tuple[int, ...]) -> jax.Array:
        return jnp.full(shape, self.value, jnp.float32)

    def normal(self, name: str, shape: tuple[int, ...]) -> jax.Array:
        return jnp.zeros(shape)


@pytest.mark.parametrize(("u", "t"), [(0.0, 1), (np.nextafter(np.float32(1), np.float32(0)), 10)])
def test_times_are_one_to_ten(u: float, t: int) -> None:
    draw: Any = Extreme(u)
    np.testing.assert_array_equal(noised(batch(), draw).t, float(t))


@pytest.mark.parametrize("jump", [False, True])
def test_the_sampler_is_the_slow_loops(jump: bool) -> None:
    obs = numbers(B, 2)
    step = _diffusion.jump if jump else _diffusion.posterior_step
    found = diffuse(views(held={"denoiser": denoiser}), obs, DRAW, step)
    x = np.float64(DRAW.normal("act_noise", (B, D)))
    noise = np.asarray(DRAW.normal("act_steps", (B, D), steps=T - 1))
    for i, t in enumerate(range(T, 0, -1)):
        beta, keep = BETA[t - 1], ALPHA_BAR[t - 1]
        before = ALPHA_BAR[t - 2] if t > 1 else 1.0
        clean = (x - np.sqrt(1 - keep) * denoiser(obs, x, t)) / np.sqrt(keep)
        if jump:
            x = clean
        else:
            clean = np.clip(clean, -1, 1)
            x = (np.sqrt(before) * beta * clean + np.sqrt(1 - beta) * (1 - before) * x) / (1 - keep)
        if t > 1:
            x = x + np.sqrt(beta) * noise[i]
        if jump:
            x = np.clip(x, -1, 1)
    np.testing.assert_allclose(found, x, rtol=1e-4, atol=1e-5)
    assert (np.abs(found) < 1.0).any()


def given_views() -> Any:
    return views(live={"denoiser": denoiser}, slow={"critic": critic})


@pytest.mark.parametrize("name", ["qsm", "dac"])
def test_losses(name: str) -> None:
    given = batch()
    x, xi, t, spread = numpy_noised(np.asarray(given.chunk))
    predicted = denoiser(np.asarray(given.obs), x, t)
    uphill = 2 * WEIGHTS.mean(0) * x
    valid = np.asarray(given.valid)
    if name == "qsm":
        method, wanted = QSM(alpha=3.0, inverse_temperature=2.0), np.mean((-2.0 * uphill - predicted) ** 2, axis=-1)
    else:
        method, wanted = DAC(alpha=3.0), np.mean(spread * uphill * predicted, axis=-1)
    found = method.losses(given_views(), given, DRAW)["guidance_loss"]
    np.testing.assert_allclose(found, np.sum(valid * wanted) / B, rtol=1e-4)
    cloning = method.base_loss(given_views(), given, DRAW)["denoising_loss"]
    np.testing.assert_allclose(cloning, 3.0 * np.sum(valid * np.mean((xi - predicted) ** 2, axis=-1)) / B, rtol=1e-4)
