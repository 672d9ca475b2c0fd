"""QPILOTS-U: the flow is steered by the critic's gradient at the action it is heading for.

Reference: QPILOTS (arXiv 2606.14801), (P-14, P-15, P-17) and Algorithm 2.
Differs from the paper: the target has gamma^H and the terminal mask, which its update box omits. Exact only for a
Gaussian base AND a linear critic (the paper omits the second); the rescaled field does not sample the tilted policy.
Copies: acting follows the trained flow, everything else, and the whole TD sampler, is averaged (Appendix C.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from methods._contract import Copy, Draw, Method, NonNegative, Views
from methods._critic import gradient, pessimistic_value
from methods._flow import denoise, steered, straight_through_clip


@dataclass(frozen=True)
class QpilotsU(Method):
    """``alpha``: length of the steering in units of the velocity's."""

    alpha: NonNegative

    family: ClassVar = "steering"
    averaged: ClassVar = ("critic", "flow")
    clip_norm: ClassVar = 1.0
    published_backbone: ClassVar = "paper"

    def guidance(self, views: Views, drift: Copy, obs: Any) -> Callable[..., jax.Array]:
        """(x, t) -> gradient in x of Qbar'(s, clip(x + (1 - t) v'(x, t))), through the flow."""
        value = pessimistic_value(views.slow.critic.at(obs), views.problem)
        predict = denoise(views.slow.flow.at(obs))
        return gradient(lambda x, t: value(straight_through_clip(predict(x, t))))

    def act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        return self._sample(views, views.held, obs, draw)

    def next_act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        return self._sample(views, views.slow, obs, draw)

    def _sample(self, views: Views, drift: Copy, obs: Any, draw: Draw) -> jax.Array:
        return steered(drift.flow.at(obs), self.guidance(views, drift, obs), self.alpha, views.problem, draw)
