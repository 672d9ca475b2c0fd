"""Flow Q-learning: a one-step actor is distilled from the cloned flow and pushed up the critic.

Reference: Park et al. 2025 (arXiv 2502.02538), in the form of Li & Levine 2026 (arXiv 2601.14234).
Differs from the paper: the Q term is not normalised by its magnitude; alpha is tuned per domain instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from methods._contract import Batch, Draw, Losses, Method, Network, Problem, Views
from methods._critic import mean_value
from methods._flow import euler
from methods._nets import one_step


@dataclass(frozen=True)
class FQL(Method):
    """``alpha``: weight of the distillation."""

    alpha: float

    def networks(self, problem: Problem) -> dict[str, Network]:
        return super().networks(problem) | {"actor": one_step(problem)}

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        noise = draw.normal("actor_noise", batch.chunk.shape)
        action = views.live.actor.at(batch.obs)(noise)
        teacher = euler(views.held.flow.at(batch.obs), noise, views.problem)
        q = mean_value(views.held.critic.at(batch.obs))(jnp.clip(action, -1.0, 1.0))
        return {"distill_loss": self.alpha * jnp.mean(jnp.square(action - teacher)), "q_loss": -jnp.mean(q)}

    def act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        noise = draw.normal("act_noise", views.problem.shape(obs))
        return jnp.clip(views.held.actor.at(obs)(noise), -1.0, 1.0)
