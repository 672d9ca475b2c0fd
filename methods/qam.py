"""QAM: adjoint matching fine-tunes a second flow towards the policy that the critic tilts.

Reference: Li & Levine 2026 (arXiv 2601.14234), after Domingo-Enrich et al. 2025 (arXiv 2409.08861).
Differs from the paper: the adjoint looks at the clone at time t + h, the last step of a path is an ODE step of the
clone, and the fine-tuned flow does not start from the clone's parameters; all three as released.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from methods._adjoint import drift_gap, lean_adjoints, memoryless_path, times_and_noise_levels
from methods._contract import Batch, Draw, Losses, Method, Network, NonNegative, Problem, Views
from methods._critic import gradient, mean_value
from methods._flow import as_action, flow_action
from methods._nets import velocity_field


@dataclass(frozen=True)
class QAM(Method):
    """``inverse_temperature``: tau of the tilt exp(tau Q). ``flow`` is the slow flow b (clone), ``fast`` is f."""

    inverse_temperature: NonNegative

    family: ClassVar = "fine-tuning"
    averaged: ClassVar = ("critic", "flow")
    clip_norm: ClassVar = 1.0

    def networks(self, problem: Problem) -> dict[str, Network]:
        return super().networks(problem) | {"fast": velocity_field(problem)}

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        slow, value = views.slow.flow.at(batch.obs), mean_value(views.slow.critic.at(batch.obs))
        states, end = memoryless_path(views.held.fast.at(batch.obs), slow, views.problem, draw)
        uphill = gradient(lambda x: value(jnp.clip(as_action(slow, x), -1.0, 1.0)))(end)
        adjoints = lean_adjoints(slow, states, -self.inverse_temperature * uphill, views.problem)
        levels = times_and_noise_levels(views.problem)[1][:, None, None]
        errors = drift_gap(views.live.fast.at(batch.obs), slow, states, views.problem) + levels * adjoints  # (K, B, D)
        return {"adjoint_loss": jnp.mean(jnp.sum(jnp.square(errors), axis=(0, -1)))}

    def act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        return flow_action(views.held.fast.at(obs), views.problem, draw)
