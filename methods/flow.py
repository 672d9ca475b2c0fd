"""Behaviour cloning with a flow, unsteered: the zero of every plot.

Reference: Lipman et al. 2023 (arXiv 2210.02747); as base policy in Li & Levine 2026 (arXiv 2601.14234).
Differs from the paper: a critic is learned beside it, and used only by those who choose among its
actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from methods._contract import Draw, Method, Views
from methods._flow import flow_action


@dataclass(frozen=True)
class Flow(Method):
    family: ClassVar = "cloning"
    known_failures: ClassVar = {"learns_bandit": "it is what the others are compared with: it does not use the critic"}

    def act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        return flow_action(views.held.flow.at(obs), views.problem, draw)
