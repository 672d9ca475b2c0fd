"""DSRL: a Gaussian policy chooses the noise that the cloned flow starts from.

Reference: Wagenmaker et al. 2025 (arXiv 2506.15799), in the form of Li & Levine 2026 (arXiv 2601.14234).
Differs from the paper: the critic over noise is distilled on Gaussian noise, while the policy lives in a box, as
released. The flow that turns noise into actions is the averaged one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from methods._contract import Batch, Draw, Losses, Method, Network, Positive, Problem, Views
from methods._critic import mean_value
from methods._flow import euler
from methods._gaussian import entropy_cost, sample, temperature_loss
from methods._nets import critic, tanh_normal, temperature


@dataclass(frozen=True)
class DSRL(Method):
    """``noise_scale``: b, half the width of the box that noise is chosen from."""

    noise_scale: Positive

    family: ClassVar = "steering"
    averaged: ClassVar = ("critic", "flow")

    def networks(self, problem: Problem) -> dict[str, Network]:
        own = {"actor": tanh_normal(problem), "noise_critic": critic(problem), "temperature": temperature(problem)}
        return super().networks(problem) | own

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        noise = draw.normal("distill_noise", batch.chunk.shape)
        action = euler(views.slow.flow.at(batch.obs), noise, views.problem)
        gap = views.live.noise_critic.at(batch.obs)(noise) - views.held.critic.at(batch.obs)(action)  # (J, B)

        choice, log_probabilities = sample(
            views.live.actor.at(batch.obs)(), draw.normal("actor_noise", batch.chunk.shape)
        )
        q = mean_value(views.held.noise_critic.at(batch.obs))(self.noise_scale * choice)
        return {
            "distill_loss": jnp.mean(jnp.square(gap)),
            "actor_loss": entropy_cost(views, log_probabilities) - jnp.mean(q),
            "temperature_loss": temperature_loss(views, log_probabilities),
        }

    def act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        choice, _ = sample(views.held.actor.at(obs)(), draw.normal("act_noise", views.problem.shape(obs)))
        return euler(views.slow.flow.at(obs), self.noise_scale * choice, views.problem)
