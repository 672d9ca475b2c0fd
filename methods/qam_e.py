"""QAM-E: QAM, and a Gaussian policy edits its action.

Reference: Li & Levine 2026 (arXiv 2601.14234), QAM-EDIT.
Differs from the paper: nothing known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax

from methods._contract import Batch, Draw, Losses, Network, NonNegative, Problem, Views
from methods._edit import edit_losses, edit_networks, edited
from methods._flow import flow_action
from methods.qam import QAM


@dataclass(frozen=True)
class QamE(QAM):
    """``edit_scale``: the largest edit of an action's entry; where ``edit`` is false this is QAM."""

    edit: bool
    edit_scale: NonNegative

    def networks(self, problem: Problem) -> dict[str, Network]:
        return super().networks(problem) | (edit_networks(problem) if self.edit else {})

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        matching = super().losses(views, batch, draw)
        if not self.edit:
            return matching
        base = flow_action(views.held.fast.at(batch.obs), views.problem, draw, "actor_noise")
        return matching | edit_losses(views, batch, base, self.edit_scale, draw)

    def act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        base = super().act(views, obs, draw)
        return edited(views, obs, base, self.edit_scale, draw) if self.edit else base
