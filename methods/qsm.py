"""QSM: a diffusion policy whose noise prediction is fitted to the critic's gradient.

Reference: Psenka et al. 2023 (arXiv 2312.11752), in the form of Li & Levine 2026 (arXiv 2601.14234).
Differs from the paper: the sampler jumps to the clean estimate at every step where DDPM moves to the posterior mean:
probably a mistake of the release, kept. The gradient is that of the averaged critic at the noisy action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from methods._contract import Draw, NonNegative, Views
from methods._diffusion import Noised, diffuse, jump
from methods.dac import DAC


@dataclass(frozen=True)
class QSM(DAC):
    """``inverse_temperature``: tau, the length of the gradient that is matched."""

    inverse_temperature: NonNegative

    def mismatch(self, at: Noised, uphill: jax.Array, predicted: jax.Array) -> jax.Array:
        return jnp.square(self.inverse_temperature * uphill + predicted)

    def act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        return diffuse(views, obs, draw, jump)
