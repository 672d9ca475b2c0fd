"""Flow Q-learning: a one-step actor is distilled from the cloned flow and pushed up the critic.

Reference: Park et al. 2025 (arXiv 2502.02538), in the form of Li & Levine 2026 (arXiv 2601.14234).
Differs from the paper: the Q term is not normalised by its magnitude; alpha is tuned per domain instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from methods._contract import Batch, Draw, Losses, Method, Network, NonNegative, Problem, Views
from methods._nets import one_step
from methods._one_step import distil_and_climb, one_step_action


@dataclass(frozen=True)
class FQL(Method):
    """``alpha``: weight of the distillation."""

    alpha: NonNegative

    family: ClassVar = "backprop"

    def networks(self, problem: Problem) -> dict[str, Network]:
        return super().networks(problem) | {"actor": one_step(problem)}

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        return distil_and_climb(views, batch, views.held.flow.at(batch.obs), self.alpha, draw)

    def act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        return one_step_action(views, obs, draw)
