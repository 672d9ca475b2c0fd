"""FAWAC: behaviour cloning of the flow, weighted by how much better than average an action is.

Reference: AWAC, Nair et al. 2020 (arXiv 2006.09359), for flows as in Li & Levine 2026 (arXiv 2601.14234).
Differs from the paper: V is fitted to every head of the averaged critic at the data, not to actions of the policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from methods._contract import Batch, Draw, Losses, Network, NonNegative, Problem, Views
from methods._critic import mean_value
from methods._flow import flow_errors
from methods._nets import value
from methods.flow import Flow

LARGEST_WEIGHT = 100.0


@dataclass(frozen=True)
class FAWAC(Flow):
    """``inverse_temperature``: tau of the weight exp(tau (Q - V))."""

    inverse_temperature: NonNegative

    family: ClassVar = "fine-tuning"

    def networks(self, problem: Problem) -> dict[str, Network]:
        return super().networks(problem) | {"value": value(problem)}

    def base_loss(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        return {}

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        advantage = mean_value(views.held.critic.at(batch.obs))(batch.chunk) - views.held.value.at(batch.obs)()
        weight = jnp.minimum(jnp.exp(self.inverse_temperature * advantage), LARGEST_WEIGHT)
        heads = views.slow.critic.at(batch.obs)(batch.chunk)  # (J, B)
        return {
            "flow_loss": jnp.mean(batch.valid * weight * flow_errors(views.live.flow, batch, draw)),
            "value_loss": jnp.mean(batch.valid * jnp.square(heads - views.live.value.at(batch.obs)())),
        }
