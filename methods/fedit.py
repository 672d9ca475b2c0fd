"""FEdit: a Gaussian policy edits the action of the cloned flow.

Reference: Li & Levine 2026 (arXiv 2601.14234), after EXPO, Dong et al. 2025 (arXiv 2507.07986).
Differs from the paper: one action is drawn and always edited; EXPO also considers unedited ones (see expo).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from methods._contract import Batch, Draw, Losses, Method, Network, NonNegative, Problem, Views
from methods._edit import edit_losses, edit_networks, edited
from methods._flow import flow_action


@dataclass(frozen=True)
class FEdit(Method):
    """``edit_scale``: the largest edit of an action's entry."""

    edit_scale: NonNegative

    family: ClassVar = "steering"

    def networks(self, problem: Problem) -> dict[str, Network]:
        return super().networks(problem) | edit_networks(problem)

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        base = flow_action(views.held.flow.at(batch.obs), views.problem, draw, "actor_noise")
        return edit_losses(views, batch, base, self.edit_scale, draw)

    def act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        base = flow_action(views.held.flow.at(obs), views.problem, draw)
        return edited(views, obs, base, self.edit_scale, draw)
