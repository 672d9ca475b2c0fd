"""Frozen flows that come with the worlds told by pixels: mixtures of two manners of walking, whose velocity is known.

A latent has three entries for each step, of which two become an action, in other units. The two modes walk left or
right all of a chunk, each as often, whatever the frame shows; they differ in the padding, too, so that the flow mixes
padding into what it does. The second entry leans with the position, so that the flow depends on what it sees. The
velocity of a mixture of Gaussians: QPILOTS (arXiv 2606.14801), whose posterior is a mixture again.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs._suite import Base, SuiteError

VERSION = 1
SIDE, LEAN, PADDING, SPREAD, HURRY = 0.6, 0.4, 0.3, 0.15, 0.25
"""In actions: how far a mode walks, how much the second entry leans; of a latent: the padding's mean, and the standard
deviation of all. How much faster the second manner of walking is."""
WIDTH, SCALE, SHIFT = 3, (0.8, 0.5), (0.1, -0.05)
MAP_STEPS = 4
NO_TORCH = "the base of pixels-torch-v0 is PyTorch's: pip install -e '.[torch]', or leave the task out by --tasks"


def arrays(chunk_length: int) -> dict[str, np.ndarray]:
    """The modes' means (2, H W) at position 0, what a position adds to both, and what the second manner multiplies."""
    scale, shift = np.array(SCALE), np.array(SHIFT)
    steps = [np.append(([side * SIDE, 0.0] - shift) / scale, side * PADDING) for side in (-1.0, 1.0)]
    leaning = np.append(np.array([0.0, LEAN]) / scale, 0.0)
    walking = np.append(np.array([SIDE, 0.0]) / scale, 0.0)
    hurry = [side * HURRY * walking for side in (-1.0, 1.0)]
    found = {"means": steps, "leaning": leaning[None], "hurry": hurry}
    return {name: np.tile(np.asarray(rows, np.float32), chunk_length) for name, rows in found.items()}


def encode(mixture: Any, obs: Any) -> jax.Array:
    """The means (B, 2, H W) of the modes for what is seen."""
    means = mixture["means"] + obs["state"][:, :1, None] * mixture["leaning"]
    return means + obs["prompt"][:, 1:, None] * mixture["hurry"] if "prompt" in obs else means


def velocity(mixture: Any, means: jax.Array, x: jax.Array, t: jax.Array) -> jax.Array:
    """E[x_1 - x_0 | x_t = x] for x (B, M, H W), t (B, M, 1)."""
    variance = (1.0 - t) ** 2 + (SPREAD * t) ** 2  # (B, M, 1)
    residual = x[:, :, None] - t[..., None] * means[:, None]  # (B, M, 2, H W)
    odds = jax.nn.softmax(-0.5 * jnp.sum(residual**2, axis=-1) / variance, axis=-1)  # (B, M, 2)
    ahead = means[:, None] + ((SPREAD**2 * t - (1.0 - t)) / variance)[..., None] * residual
    return jnp.sum(odds[..., None] * ahead, axis=2)


def make(kind: str, chunk_length: int) -> Base:
    """``mixture``: of JAX; ``torch``: the same in PyTorch; ``prompted``: sees a leaf that replay does not keep."""
    needs = ("state", "prompt") if kind == "prompted" else ("state",)
    mixture = arrays(chunk_length)
    if kind == "torch":
        try:
            from envs import _torch
            from envs.toy._torch_base import Mixture
        except ImportError as error:
            raise SuiteError(NO_TORCH) from error
        called = _torch.behind_jax(Mixture(mixture, SPREAD), needs)
        return Base(
            needs,
            WIDTH,
            SCALE,
            SHIFT,
            {},
            called.encode,
            called.velocity,
            map_steps=MAP_STEPS,
            called_back=True,
            fault=called.fault,
        )
    return Base(needs, WIDTH, SCALE, SHIFT, mixture, encode, velocity, map_steps=MAP_STEPS)
