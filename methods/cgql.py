"""CGQL: classifier guidance, the critic's gradient at the point on the way, turned into a velocity.

Reference: Li & Levine 2026 (arXiv 2601.14234), after Dhariwal & Nichol 2021 (arXiv 2105.05233).
Differs from the paper: as released, the critic has a time input that only ever sees 1; the flow is the averaged
one, the critic the trained one; the guidance is neither rescaled nor pessimistic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from methods._contract import Draw, Method, Network, NonNegative, Problem, Views
from methods._critic import average, gradient
from methods._flow import as_action, euler
from methods._nets import critic


@dataclass(frozen=True)
class CGQL(Method):
    """``inverse_temperature``: tau of the tilt exp(tau Q); ``guidance``: weight of its velocity."""

    inverse_temperature: NonNegative
    guidance: NonNegative

    family: ClassVar = "steering"
    averaged: ClassVar = ("critic", "flow")

    def networks(self, problem: Problem) -> dict[str, Network]:
        return super().networks(problem) | {"critic": critic(problem, timed=True)}

    def score(self, flow: Any, critic: Any) -> Callable[..., jax.Array]:
        """(x, t) -> gradient in x of mean_j Q_j(s, x, 1): the critic knows clean actions only."""
        return gradient(lambda x, t: average(critic(as_action(flow, x))))

    def act(self, views: Views, obs: Any, draw: Draw) -> jax.Array:
        flow = views.slow.flow.at(obs)
        score = self.score(flow, views.held.critic.at(obs))

        def steer(x: jax.Array, t: jax.Array, velocity: jax.Array) -> jax.Array:
            # The velocity that belongs to a score g is ((1 - t) g + x) / t, for g = tau grad Q.
            extra = ((1.0 - t) * self.inverse_temperature * score(x, t) + x) * (self.guidance / t)
            return jnp.where(self.inverse_temperature > 0.0, velocity + flow.real(extra), velocity)

        return euler(flow, flow.start(draw, "act_noise"), views.problem, steer)
