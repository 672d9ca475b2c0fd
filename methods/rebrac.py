"""ReBRAC: a deterministic actor climbs the critic while it is held near the data.

Reference: Tarasov et al. 2023 (arXiv 2305.09836), in the form of Li & Levine 2026 (arXiv 2601.14234).
Differs from the paper: no behaviour penalty in the critic's target; the actor is trained in every update and only the
averages move in every second one; the exploration noise is there in evaluation too; all three as released.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from methods._contract import Batch, Draw, Losses, Method, Network, NonNegative, Problem, Views
from methods._critic import pessimistic_value
from methods._nets import critic, deterministic
from methods._traced import constant


@dataclass(frozen=True)
class ReBRAC(Method):
    """``alpha``: weight of the behaviour term; ``actor_noise``: sigma of the noise; ``noise_clip``: its bound."""

    alpha: NonNegative
    actor_noise: NonNegative
    noise_clip: NonNegative

    family: ClassVar = "Gaussian"
    averaged: ClassVar = ("critic", "actor")
    average_every: ClassVar = 2

    def networks(self, problem: Problem) -> dict[str, Network]:
        return {"critic": critic(problem), "actor": deterministic(problem)}

    def base_loss(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        return {}

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        action = views.live.actor.at(batch.obs)()
        q = pessimistic_value(views.held.critic.at(batch.obs), views.problem)(action)
        scale = constant(1.0 / jnp.mean(jnp.abs(q)))
        behaviour = jnp.sum(jnp.square(action - batch.chunk), axis=-1)
        return {"actor_loss": -jnp.mean(scale * q), "bc_loss": self.alpha * jnp.mean(batch.valid * behaviour)}

    def act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        return self._perturbed(views.held.actor.at(obs)(), draw)

    def next_act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        return self._perturbed(views.slow.actor.at(obs)(), draw)

    def _perturbed(self, action: jax.Array, draw: Draw) -> jax.Array:
        noise = self.actor_noise * draw.normal("act_noise", action.shape)
        return jnp.clip(action + jnp.clip(noise, -self.noise_clip, self.noise_clip), -1.0, 1.0)
