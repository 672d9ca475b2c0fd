"""QPILOTS-M: the flow is steered by the critic over samples of where it may end, drawn from a learned meta flow map.

Reference: QPILOTS (arXiv 2606.14801), (P-16, P-17) and Appendix C; Meta Flow Maps (arXiv 2601.14430).
Differs from the paper: as QPILOTS-U. Open there, settled here: the adaptive weight is (|d|^2 + c)^-p, held; t = r^2 in
both losses; samples are not clipped; critic values are neither normalised nor clipped. With p = 1/2 the diagonal's
noisy target is fitted by a median, which pulls the map towards the dominant mode: kept, as published.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from methods._contract import Batch, Copy, Count, Draw, Losses, Network, NonNegative, Positive, Problem, Views
from methods._critic import gradient, pessimistic_value
from methods._flow import steered
from methods._flow_map import adaptive, jump, squared_residuals
from methods._nets import flow_map
from methods.qpilots_u import QpilotsU


@dataclass(frozen=True)
class QpilotsM(QpilotsU):
    """``samples``: N; ``diagonal``, ``consistency``: weights of the map's losses; ``*_power``: p; ``softening``: c."""

    samples: Count
    diagonal: NonNegative
    consistency: NonNegative
    diagonal_power: NonNegative
    consistency_power: NonNegative
    softening: Positive

    averaged: ClassVar = ("critic", "flow", "map")

    def networks(self, problem: Problem) -> dict[str, Network]:
        return super().networks(problem) | {"map": flow_map(problem)}

    def base_loss(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        diagonal, consistency = squared_residuals(views, batch, draw)
        diagonal_loss = adaptive(diagonal, batch.valid, self.diagonal_power, self.softening)
        consistency_loss = adaptive(consistency, batch.valid, self.consistency_power, self.softening)
        return super().base_loss(views, batch, draw) | {
            "diagonal_loss": self.diagonal * diagonal_loss,
            "consistency_loss": self.consistency * consistency_loss,
        }

    def diagnostics(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        if "map" in views.given:
            return {}
        diagonal, consistency = squared_residuals(views, batch, draw)
        return {"diagonal_error": jnp.mean(diagonal), "consistency_error": jnp.mean(consistency)}

    def guidance(self, views: Views, drift: Copy, obs: Any) -> Callable[..., jax.Array]:
        """(x, t, noise (B, N, L)) -> gradient in x of log mean_n exp Qbar'(s, X_{0,1}(noise_n; t, x))."""
        value, posterior = pessimistic_value(views.slow.critic.at(obs), views.problem), drift.map.at(obs)

        def log_tilt(x: jax.Array, t: jax.Array, noise: jax.Array) -> jax.Array:
            values = value(views.problem.to_action(jump(posterior, noise, x, t, 0.0, 1.0)))  # (B, N)
            return jax.nn.logsumexp(values, axis=-1) - jnp.log(self.samples)

        return gradient(log_tilt)

    def _sample(self, views: Views, drift: Copy, obs: Any, draw: Draw) -> jax.Array:
        flow = drift.flow.at(obs)
        noise = flow.start(draw, "act_posterior", (self.samples,), steps=views.problem.flow_steps)
        return steered(flow, self.guidance(views, drift, obs), self.alpha, views.problem, draw, noise)
