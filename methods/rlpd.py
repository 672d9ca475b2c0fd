"""RLPD: soft actor-critic from scratch, half of every batch from the dataset.

Reference: Ball et al. 2023 (arXiv 2302.02948), in the form of Li & Levine 2026 (arXiv 2601.14234).
Differs from the paper: one update for each environment step, pessimism by the spread of the heads in target and
actor loss in place of a random subset's minimum, no entropy in the target, and a behaviour term that the original does
not have. Whether the published rows were made with that term is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from methods._contract import Batch, Draw, Losses, Method, Network, NonNegative, Problem, Views
from methods._critic import pessimistic_value
from methods._gaussian import entropy_cost, log_probability, sample, temperature_loss
from methods._nets import critic, tanh_normal, temperature


@dataclass(frozen=True)
class RLPD(Method):
    """``behaviour``: beta, the weight of the data's log-likelihood."""

    behaviour: NonNegative

    family: ClassVar = "Gaussian"

    def networks(self, problem: Problem) -> dict[str, Network]:
        return {"critic": critic(problem), "actor": tanh_normal(problem), "temperature": temperature(problem)}

    def base_loss(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        return {}

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        policy = views.live.actor.at(batch.obs)()
        action, log_probabilities = sample(policy, draw.normal("actor_noise", batch.chunk.shape))
        q = pessimistic_value(views.held.critic.at(batch.obs), views.problem)(action)
        likelihood = batch.valid * log_probability(policy, batch.chunk)
        return {
            "actor_loss": entropy_cost(views, log_probabilities) - jnp.mean(q),
            "temperature_loss": temperature_loss(views, log_probabilities),
            "behaviour_loss": -self.behaviour * jnp.mean(likelihood),
        }

    def act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        return sample(views.held.actor.at(obs)(), draw.normal("act_noise", views.problem.shape(obs)))[0]
