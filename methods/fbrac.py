"""FBRAC: the flow climbs the critic through all of its own steps, while behaviour cloning holds it back.

Reference: Park et al. 2025 (arXiv 2502.02538), as baseline, in the form of Li & Levine 2026 (arXiv 2601.14234).
Differs from the paper: nothing known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from methods._contract import Batch, Draw, Losses, Positive, Views
from methods._critic import mean_value
from methods._flow import flow_action
from methods.flow import Flow


@dataclass(frozen=True)
class FBRAC(Flow):
    """``alpha``: weight of behaviour cloning; it divides the Q term."""

    alpha: Positive

    family: ClassVar = "backprop"

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        action = flow_action(views.live.flow.at(batch.obs), views.problem, draw, "actor_noise")
        q = mean_value(views.held.critic.at(batch.obs))(action)
        return {"q_loss": -jnp.mean(q) / self.alpha}
