"""DSRL: a Gaussian policy chooses the noise that the cloned flow starts from.

Reference: Wagenmaker et al. 2025 (arXiv 2506.15799), in the form of Li & Levine 2026 (arXiv 2601.14234).
Differs from the paper: the critic over noise is distilled on Gaussian noise, while the policy lives in a box, as
released. The flow that turns noise into actions is the averaged one. With ``shared_noise`` it is as its own release for
vision-language-action models: one noise for all steps of a chunk, and the critic over it alone, without distillation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from methods._contract import Batch, Draw, Losses, Method, Network, Positive, Problem, ValueRule, Views, added
from methods._critic import mean_value
from methods._flow import euler
from methods._gaussian import entropy_cost, sample, temperature_loss
from methods._nets import critic, tanh_normal, temperature
from methods._noise import NoiseTD, act_from


@dataclass(frozen=True)
class DSRL(Method):
    """``noise_scale``: b, half the width of the box that noise is chosen from; ``shared_noise``: one for all steps."""

    noise_scale: Positive
    shared_noise: bool = added(before=False, default=False)

    family: ClassVar = "steering"
    averaged: ClassVar = ("flow",)

    @property
    def value(self) -> ValueRule | None:
        return NoiseTD(self.noise_scale) if self.shared_noise else None

    def networks(self, problem: Problem) -> dict[str, Network]:
        size = self.size(problem)
        own = {"actor": tanh_normal(problem, size=size), "noise_critic": critic(problem, given=size)}
        asked = super().networks(problem) | own | {"temperature": temperature(problem)}
        return {name: asked[name] for name in asked if name != "critic" or not self.shared_noise}

    def keeps(self, problem: Problem) -> dict[str, int]:
        return {"noise": problem.W} if self.shared_noise else {}

    def size(self, problem: Problem) -> int:
        """Entries of the noise that is chosen."""
        return problem.W if self.shared_noise else problem.L

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        size = self.size(views.problem)
        choice, log_probabilities = sample(
            views.live.actor.at(batch.obs)(), draw.normal("actor_noise", (len(batch.chunk), size))
        )
        q = mean_value(views.held.noise_critic.at(batch.obs))(self.noise_scale * choice)
        return ({} if self.shared_noise else self.distillation(views, batch, draw)) | {
            "actor_loss": entropy_cost(views, log_probabilities) - jnp.mean(q),
            "temperature_loss": temperature_loss(views, log_probabilities, size),
        }

    def distillation(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        """The critic over noise learns what the critic says of the actions that noise becomes."""
        flow = views.slow.flow.at(batch.obs)
        noise = flow.start(draw, "distill_noise")
        action = euler(flow, noise, views.problem)
        gap = views.live.noise_critic.at(batch.obs)(noise) - views.held.critic.at(batch.obs)(action)  # (J, B)
        return {"distill_loss": jnp.mean(jnp.square(gap))}

    def act(self, views: Views, obs: Any, draw: Draw) -> Any:
        choice, _ = sample(views.held.actor.at(obs)(), self._noise(views, obs, draw))
        return act_from(self.noise_scale * choice, self.shared_noise, views, obs)

    def base_act(self, views: Views, obs: Any, draw: Draw) -> Any:
        return act_from(self._noise(views, obs, draw), self.shared_noise, views, obs)

    def _noise(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        return draw.normal("act_noise", (*views.problem.rows(obs), self.size(views.problem)))
