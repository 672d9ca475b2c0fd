"""CGQL-M: classifier guidance with a critic of noisy actions, fitted by squared error.

Reference: Li & Levine 2026 (arXiv 2601.14234), CGQL-MSE.
Differs from the paper: nothing known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from methods._contract import Batch, Draw, Losses, NonNegative, Views
from methods._critic import average, gradient
from methods._flow import as_action, interpolate
from methods.cgql import CGQL


@dataclass(frozen=True)
class CgqlM(CGQL):
    """``noisy``: weight of the loss at noisy actions."""

    noisy: NonNegative

    critic_terms: ClassVar = ("noisy_critic_loss",)

    def score(self, flow: Any, critic: Any) -> Callable[..., jax.Array]:
        """(x, t) -> gradient in x of mean_j Q_j(s, x, t)."""
        return gradient(lambda x, t: average(critic(as_action(flow, x), t)))

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        data, t = views.problem.from_action(batch.chunk), draw.uniform("noisy_time", (*batch.chunk.shape[:-1], 1))
        x = views.problem.to_action(interpolate(draw.normal("noisy_noise", data.shape), data, t))
        clean = views.slow.critic.at(batch.obs)(batch.chunk)  # (J, B)
        errors = self.discrepancy(clean, views.live.critic.at(batch.obs)(x, t))
        return {"noisy_critic_loss": self.noisy * jnp.mean(batch.valid * errors)}

    def discrepancy(self, clean: jax.Array, noisy: jax.Array) -> jax.Array:
        """Elementwise: what the noisy critic pays for its distance from the clean one."""
        return jnp.square(noisy - clean)
