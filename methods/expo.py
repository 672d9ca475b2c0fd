"""EXPO: several actions of the cloned flow, each also edited; the one that the critic likes best is taken.

Reference: Dong et al. 2025 (arXiv 2507.07986); baseline of QPILOTS (arXiv 2606.14801).
Differs from the paper: OGBench has no published row. The number of candidates is an assumption, the edit's losses
and scale are those of FEdit, and candidates are compared by the mean over heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from methods._contract import Count, Draw, Views
from methods._critic import average, choose, repeated
from methods._edit import edited
from methods._flow import flow_action
from methods.fedit import FEdit


@dataclass(frozen=True)
class EXPO(FEdit):
    """``candidates``: actions of the flow; with their edits, twice as many are compared, for the TD target too."""

    candidates: Count

    def act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        each = repeated(obs, self.candidates)
        base = flow_action(views.held.flow.at(each), views.problem, draw)  # (B, N, D)
        both = jnp.concatenate([base, edited(views, each, base, self.edit_scale, draw)], axis=-2)
        return choose(views.held.critic.at(obs), both, average)
