"""EXPO against a slow loop: every base action and its edit, compared by the mean over heads."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from methods.expo import EXPO
from methods.fedit import FEdit
from tests.methods.formulas import DRAW, PROBLEM, WEIGHTS, B, D, batch, linear_critic, numbers, views

N, SCALE = 4, 0.3
EDIT = numbers(D, D, seed=14)


def flow(obs: Any, x: Any, t: Any) -> Any:
    return -0.5 * x + 0.2 * obs.sum(-1, keepdims=True)


def policy(obs: Any, base: Any) -> Any:
    return base @ EDIT, -0.5 * jnp.ones_like(base)


def critic(obs: Any, chunk: Any) -> Any:
    """Heads that disagree more for some actions, so that a minimum or a pessimistic mean would choose otherwise."""
    extra = tuple(range(obs.ndim - 1, chunk.ndim - 1))
    obs = np.expand_dims(obs, extra) if extra else obs
    spread = jnp.stack([scale * jnp.square(chunk).sum(-1) for scale in (-4.0, 0.0, 4.0)])
    return linear_critic(obs, chunk) + spread


COPIES = {"flow": flow, "edit": policy, "critic": critic}


def candidates(obs: np.ndarray) -> np.ndarray:
    """(B, 2N, D): bases, then edits."""
    x = np.asarray(DRAW.normal("act_noise", (B, N, D)))
    for _ in range(PROBLEM.flow_steps):
        x = x + flow(obs[:, None], x, 0.0) / PROBLEM.flow_steps
    base = np.clip(x, -1, 1)
    noise = np.asarray(DRAW.normal("act_edit_noise", (B, N, D)))
    edited = np.clip(base + SCALE * np.tanh(base @ EDIT + np.exp(-0.5) * noise), -1, 1)
    return np.concatenate([base, edited], axis=1)


def test_the_best_of_all_candidates_is_taken() -> None:
    obs = numbers(B, 2)
    every = candidates(obs)
    heads = np.stack([np.asarray(critic(obs, every[:, n])) for n in range(2 * N)])  # (2N, J, B)
    best = heads.mean(1).argmax(0)
    assert (best != heads.min(1).argmax(0)).any()
    assert (best != (heads.mean(1) - PROBLEM.pessimism * heads.std(1)).argmax(0)).any()
    found = EXPO(SCALE, candidates=N).act(views(held=COPIES), obs, DRAW)
    np.testing.assert_allclose(found, every[np.arange(B), best], rtol=1e-5, atol=1e-6)


def test_unedited_actions_are_candidates_too() -> None:
    """A critic that dislikes every edit leaves the choice among the bases."""
    obs = numbers(B, 2)
    every = candidates(obs)

    def near_a_base(obs: Any, chunk: Any) -> Any:
        distance = jnp.abs(chunk[..., None, :] - every[:, None, :N]).sum(-1).min(-1)
        return -jnp.stack([distance] * 3)

    found = EXPO(SCALE, candidates=N).act(views(held=COPIES | {"critic": near_a_base}), obs, DRAW)
    assert np.abs(np.asarray(found)[:, None] - every[:, :N]).sum(-1).min(1).max() < 1e-5


def test_it_is_trained_as_fedit() -> None:
    given = batch()
    copies = views(
        live={"edit": policy, "temperature": lambda: jnp.asarray(1.5)},
        held={"flow": flow, "critic": linear_critic, "temperature": lambda: jnp.asarray(1.5)},
    )
    mine, theirs = EXPO(SCALE, candidates=N).losses(copies, given, DRAW), FEdit(SCALE).losses(copies, given, DRAW)
    assert jax.tree.map(float, mine) == jax.tree.map(float, theirs)
    assert set(mine) == {"edit_q_loss", "edit_entropy_loss", "edit_temperature_loss"}


def test_edits_climb_a_linear_critic_from_a_held_base() -> None:
    """-E mean_j Q at clip(y + c e), y of noise of its own."""
    given = batch()
    copies = views(
        live={"edit": policy, "temperature": lambda: jnp.asarray(1.0)},
        held={"flow": flow, "critic": linear_critic, "temperature": lambda: jnp.asarray(1.0)},
    )
    obs = np.asarray(given.obs)
    x = np.asarray(DRAW.normal("actor_noise", (B, D)))
    for _ in range(PROBLEM.flow_steps):
        x = x + flow(obs, x, 0.0) / PROBLEM.flow_steps
    base = np.clip(x, -1, 1)
    step = np.tanh(base @ EDIT + np.exp(-0.5) * np.asarray(DRAW.normal("edit_noise", (B, D))))
    q = np.clip(base + SCALE * step, -1, 1) @ WEIGHTS.mean(0) + obs.sum(-1)
    found = FEdit(SCALE).losses(copies, given, DRAW)["edit_q_loss"]
    np.testing.assert_allclose(found, -q.mean(), rtol=1e-4)
