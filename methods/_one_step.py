"""One-step actors: from noise to chunk without a flow's K steps, distilled from a flow.

Reference: Park et al. 2025 (arXiv 2502.02538), in the form of Li & Levine 2026 (arXiv 2601.14234).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from methods._critic import mean_value
from methods._flow import euler
from methods._given import Batch, Draw, Losses, Views

Array = jax.Array


def one_step_action(views: Views, obs: Any, draw: Draw) -> Array:
    """clip mu(s, z)."""
    noise = draw.normal("act_noise", (*views.problem.rows(obs), views.problem.L))
    return jnp.clip(views.held.actor.at(obs)(noise), -1.0, 1.0)


def distil_and_climb(views: Views, batch: Batch, teacher: Any, weight: Any, draw: Draw) -> Losses:
    """Stay near what ``teacher``, a held flow at s, makes of the same noise, and climb the critic.

    The distillation sees the action before it is clipped, the critic after; neither is weighted by ``valid``.
    """
    noise = teacher.start(draw, "actor_noise")
    action = views.live.actor.at(batch.obs)(noise)
    target = euler(teacher, noise, views.problem)
    q = mean_value(views.held.critic.at(batch.obs))(jnp.clip(action, -1.0, 1.0))
    return {"distill_loss": weight * jnp.mean(jnp.square(action - target)), "q_loss": -jnp.mean(q)}
