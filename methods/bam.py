"""BAM: the fine-tuned flow climbs the critic by backpropagation through its memoryless path, at a price.

Reference: Li & Levine 2026 (arXiv 2601.14234), basic adjoint matching.
Differs from the paper: the price has no factor 1/K, and the end of a path is not clipped and is judged by the
trained critic, pessimistically; all as released.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from methods._adjoint import drift_gap, memoryless_path
from methods._contract import Batch, Draw, Losses, Views
from methods._critic import pessimistic_value
from methods._flow import as_action
from methods.qam import QAM


@dataclass(frozen=True)
class BAM(QAM):
    """``inverse_temperature``: tau, weight of the Q term. The price is sum_i 2 |f - b'|^2 / sigma_i^2, i < K - 1."""

    family: ClassVar = "backprop"

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        fast, slow = views.live.fast.at(batch.obs), views.slow.flow.at(batch.obs)
        states, end = memoryless_path(fast, slow, views.problem, draw)
        price = 0.5 * jnp.sum(jnp.square(drift_gap(fast, slow, states[:-1], views.problem)), axis=(0, -1))
        q = pessimistic_value(views.held.critic.at(batch.obs), views.problem)(as_action(slow, end))
        return {"q_loss": -self.inverse_temperature * jnp.mean(q), "price_loss": jnp.mean(price)}
