"""One noise for all steps of a chunk, chosen by a policy, and a critic over that noise alone.

Reference: DSRL, Wagenmaker et al. 2025 (arXiv 2506.15799), its release for vision-language-action models: the actions
that a noise becomes are the flow's business, so that the flow need not be asked where only critics learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from methods._critic import backed_up, mean_value, squared_gap
from methods._flow import euler
from methods._gaussian import sample
from methods._given import Batch, Draw, Losses, Problem, Views
from methods._traced import Traced

Array = jax.Array


@dataclass(frozen=True)
class NoiseTD(Traced):
    """y = R + gamma^H m mean_j Q'_j(s', b eps'): without pessimism or entropy. Of each decision its noise is kept."""

    noise_scale: float

    averaged: ClassVar[tuple[str, ...]] = ("noise_critic",)
    needs: ClassVar[tuple[str, ...]] = ()

    def networks(self, problem: Problem) -> dict[str, Any]:
        return {}

    def losses(self, views: Views, batch: Batch, next_act: Any, draw: Draw) -> Losses:
        noise = draw.normal("next_act_noise", batch.kept["noise"].shape)
        choice, _ = sample(views.held.actor.at(batch.next_obs)(), noise)
        value = mean_value(views.slow.noise_critic.at(batch.next_obs))(self.noise_scale * choice)
        heads = views.live.noise_critic.at(batch.obs)(batch.kept["noise"])  # (J, B)
        return {"critic_loss": squared_gap(heads, backed_up(views.problem, batch, value), batch.valid)}


def act_from(noise: Array, shared: bool, views: Views, obs: Any) -> Any:
    """What the flow makes of a noise (B, L); or of one (B, W) that all steps share, which is kept."""
    flow, problem = views.slow.flow.at(obs), views.problem
    if not shared:
        return euler(flow, noise, problem)
    return euler(flow, jnp.tile(noise, problem.chunk_length), problem), {"noise": noise}
