"""Gaussian edits of an action: e ~ pi_e(s, y) in (-1, 1), and the edited action clip(y + c e).

Reference: Li & Levine 2026 (arXiv 2601.14234), Appendix; the idea: EXPO, Dong et al. 2025 (arXiv 2507.07986).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from methods._critic import mean_value
from methods._gaussian import entropy_cost, sample, temperature_loss
from methods._given import Batch, Draw, Losses, Problem, Views
from methods._nets import Network, tanh_normal, temperature

Array = jax.Array


def edit_networks(problem: Problem) -> dict[str, Network]:
    """The edit policy on [s, y], and its temperature."""
    return {"edit": tanh_normal(problem, given=(problem.D,)), "temperature": temperature(problem)}


def edit(policy: Any, base: Array, scale: Any, noise: Array) -> tuple[Array, Array]:
    """The edited action (B, D) and log pi_e of the unscaled edit (B,); ``policy`` is the edit network at s."""
    step, log_probability = sample(policy(base), noise)
    return jnp.clip(base + scale * step, -1.0, 1.0), log_probability


def edited(views: Views, obs: Any, base: Array, scale: Any, draw: Draw) -> Array:
    """The action that is taken in place of ``base`` (B, D)."""
    return edit(views.held.edit.at(obs), base, scale, draw.normal("act_edit_noise", base.shape))[0]


def edit_losses(views: Views, batch: Batch, base: Array, scale: Any, draw: Draw) -> Losses:
    """Climb the critic from a held ``base`` (B, D), stay random, and tune how random."""
    noise = draw.normal("edit_noise", base.shape)
    action, log_probabilities = edit(views.live.edit.at(batch.obs), base, scale, noise)
    q = mean_value(views.held.critic.at(batch.obs))(action)
    return {
        "edit_q_loss": -jnp.mean(q),
        "edit_entropy_loss": entropy_cost(views, log_probabilities),
        "edit_temperature_loss": temperature_loss(views, log_probabilities),
    }
