"""Implicit flow Q-learning: the critic learns by expectile regression, and picks among many actions of the cloned flow.

Reference: Park et al. 2025 (arXiv 2502.02538), in the form of Li & Levine 2026 (arXiv 2601.14234).
Differs from the paper: candidates are compared by the minimum over heads, as released.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from methods._contract import Count, Draw, Fraction, Views
from methods._critic import best_of, minimum
from methods._values import IQL
from methods.flow import Flow


@dataclass(frozen=True)
class IFQL(Flow):
    """``expectile``: kappa; ``samples``: candidates."""

    expectile: Fraction
    samples: Count

    family: ClassVar = "steering"

    @property
    def value(self) -> IQL:
        return IQL(self.expectile)

    def act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        return best_of(self.samples, super().act, minimum)(views, obs, draw)
