"""DAC: a diffusion policy whose noise prediction is pushed against the critic's gradient.

Reference: Fang et al. 2024 (arXiv 2405.20555), in the form of Li & Levine 2026 (arXiv 2601.14234).
Differs from the paper: the gradient is that of the averaged critic at the noisy action, without pessimism.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from methods._contract import Batch, Draw, Losses, Method, Network, NonNegative, Problem, Views
from methods._critic import gradient, mean_value
from methods._diffusion import Noised, denoising_loss, diffuse, noised, posterior_step
from methods._nets import critic, denoiser


@dataclass(frozen=True)
class DAC(Method):
    """``alpha``: weight of behaviour cloning."""

    alpha: NonNegative

    family: ClassVar = "fine-tuning"
    clip_norm: ClassVar = 1.0

    def networks(self, problem: Problem) -> dict[str, Network]:
        return {"denoiser": denoiser(problem), "critic": critic(problem)}

    def base_loss(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        return {"denoising_loss": self.alpha * denoising_loss(views, batch, draw)}

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        at = noised(batch, draw)
        uphill = gradient(mean_value(views.slow.critic.at(batch.obs)))(at.x)
        errors = self.mismatch(at, uphill, views.live.denoiser.at(batch.obs)(at.x, at.t))
        return {"guidance_loss": jnp.mean(batch.valid * jnp.mean(errors, axis=-1))}

    def mismatch(self, at: Noised, uphill: jax.Array, predicted: jax.Array) -> jax.Array:
        """Elementwise (B, D): what the predicted noise pays for pointing up the critic."""
        return at.spread * uphill * predicted

    def act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        return diffuse(views, obs, draw, posterior_step)
