"""QAM-F: QAM, and a one-step actor is distilled from its flow and pushed up the critic.

Reference: Li & Levine 2026 (arXiv 2601.14234), QAM-FQL.
Differs from the paper: nothing known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax

from methods._contract import Batch, Draw, Losses, Network, NonNegative, Problem, Views
from methods._nets import one_step
from methods._one_step import distil_and_climb, one_step_action
from methods.qam import QAM


@dataclass(frozen=True)
class QamF(QAM):
    """``alpha``: weight of the distillation; where ``distil`` is false this is QAM."""

    distil: bool
    alpha: NonNegative

    def networks(self, problem: Problem) -> dict[str, Network]:
        return super().networks(problem) | ({"actor": one_step(problem)} if self.distil else {})

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        matching = super().losses(views, batch, draw)
        if not self.distil:
            return matching
        return matching | distil_and_climb(views, batch, views.held.fast.at(batch.obs), self.alpha, draw)

    def act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        return one_step_action(views, obs, draw) if self.distil else super().act(views, obs, draw)
