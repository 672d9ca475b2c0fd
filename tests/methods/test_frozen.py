"""Beside a given flow: what is steered and what is not, and the exact map of its posterior."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.core import Tracer

from benchmark.training import agents, assembly, trainer
from benchmark.training.build import given
from envs import load_suite
from envs.toy import _bases
from methods import _nets
from methods._contract import Backbone, ContractError, Draw, Leaf, Problem, Space
from methods._critic import best_of, repeated
from methods._flow import flow_action
from methods._flow_map import posterior_velocity
from methods._frozen import GivenFlow, GivenMap, Parts
from methods._latent import Latent
from methods._values import SARSA
from methods.bon import BestOfN
from methods.cgql import CGQL
from methods.cgql_l import CgqlL
from methods.cgql_m import CgqlM
from methods.expo import EXPO
from methods.flow import Flow
from methods.qpilots_m import QpilotsM
from methods.qpilots_u import QpilotsU

SUITE = load_suite("toy")
TASK = SUITE.tasks()["pixels-v0"]
BASE = SUITE.base(TASK)
assert BASE is not None
LATENT = Latent(BASE.width, BASE.scale, BASE.shift)
BACKBONE = Backbone("gelu", "raw", (8,), (8,), heads=2, encoder_channels=(3, 4), encoder_strides=(2, 1), encoder_size=5)
PROBLEM = Problem(
    Space(tuple(Leaf(*leaf) for leaf in TASK.observation)), 2, 2, 0.9, 0.5, 4, BACKBONE, decisions=True, latent=LATENT
)
PARTS = given(BASE, PROBLEM)
B = 3
FLOW = Flow()
U, M = QpilotsU(0.7), QpilotsM(0.7, 4, 1.0, 0.5, 0.5, 1.0, 0.01)


def agent_of(method: Any, parts: Parts = PARTS) -> agents.Agent:
    return assembly.build(method, SARSA(), PROBLEM, agents.Optimiser(1e-3, 0.01, 0.0, 8), parts)


def observed() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    frames = {name: rng.integers(0, 256, (B, 8, 8, 1)).astype(np.uint8) for name in ("camera", "wrist")}
    return jax.tree.map(jnp.asarray, frames | {"state": rng.normal(size=(B, 2)).astype(np.float32)})


def acted(method: Any, agent: agents.Agent | None = None) -> np.ndarray:
    agent = agent or agent_of(method)
    state = jax.tree.map(lambda leaf: leaf[0], trainer.init(agent, [0]))
    draw = Draw(jax.random.PRNGKey(2))
    act = jax.jit(lambda agent: agents.act(agent, state.parameters, state.slow, observed(), draw)[0])
    return np.asarray(act(replace(agent, method=method)))


def test_latents_and_actions() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(B, 4, PROBLEM.L)), jnp.float32)
    steps = np.asarray(x).reshape(B, 4, 2, 3)
    wanted = steps[..., :2] * np.asarray(LATENT.scale, np.float32) + np.asarray(LATENT.shift, np.float32)
    np.testing.assert_allclose(LATENT.to_action(x), wanted.reshape(B, 4, PROBLEM.D), rtol=1e-6)
    back = np.asarray(LATENT.from_action(LATENT.to_action(x)))
    np.testing.assert_allclose(back, LATENT.real(x), atol=1e-6)
    assert (back.reshape(B, 4, 2, 3)[..., 2] == 0.0).all()
    assert replace(PROBLEM, latent=None).L == PROBLEM.D


@pytest.mark.parametrize("method", [U, M], ids=["u", "m"])
def test_strength_zero_is_the_base_to_the_bit(method: Any) -> None:
    none = replace(method, alpha=0.0)
    np.testing.assert_array_equal(acted(none), acted(FLOW))
    assert np.abs(acted(method) - acted(FLOW)).max() > 1e-3


STEERING = [U, M, CGQL(10.0, 0.3), CgqlM(10.0, 0.3, 1.0), CgqlL(10.0, 0.3, 1.0)]


@pytest.mark.parametrize("method", STEERING, ids=["u", "m", "cgql", "cgql_m", "cgql_l"])
def test_padding_is_never_steered(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow that mixes padding into what it does, so that a critic has a gradient there, and leaves padding where it
    is: it ends where it began, and the rest does not end where the flow alone would take it."""
    mixing = jnp.asarray(np.random.default_rng(1).normal(size=(PROBLEM.L, PROBLEM.L)), jnp.float32)

    def velocity(arrays: Any, context: Any, x: jax.Array, t: jax.Array) -> jax.Array:
        return PROBLEM.real(jnp.tanh(x @ mixing))

    flow = GivenFlow(PROBLEM, lambda arrays, obs: obs["state"], velocity, ())
    agent = agent_of(method, Parts(flow, GivenMap(flow, 2)))
    state = jax.tree.map(lambda leaf: leaf[0], trainer.init(agent, [0]))
    ends: list[np.ndarray] = []
    to_action = _nets.FlowAt.to_action

    def seen(at: Any, x: jax.Array) -> jax.Array:
        if not isinstance(x, Tracer):  # the last of all, outside of the loop
            ends.append(np.asarray(x).reshape(B, 2, 3))
        return to_action(at, x)

    monkeypatch.setattr(_nets.FlowAt, "to_action", seen)
    for each in (method, FLOW):
        agents.act(replace(agent, method=each), state.parameters, state.slow, observed(), Draw(jax.random.PRNGKey(2)))
    steered, alone = ends[-2:]
    np.testing.assert_array_equal(steered[..., 2], alone[..., 2])
    assert np.abs(steered[..., :2] - alone[..., :2]).max() > 1e-3


def test_a_base_of_the_same_functions_is_another_by_its_arrays() -> None:
    other = replace(PARTS, arrays=jax.tree.map(lambda leaf: 3.0 * leaf, PARTS.arrays))
    built = [agent_of(FLOW, each) for each in (PARTS, other)]
    for agent, parts in zip(built, (PARTS, other), strict=True):
        assert agent.arrays is parts.arrays
    assert np.abs(acted(FLOW, built[0]) - acted(FLOW, built[1])).max() > 1e-3


def test_candidates_of_one_context_are_as_many_calls() -> None:
    flow = PARTS.flow.bind(PARTS.arrays)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(B, 5, PROBLEM.L)), "float32")
    together = flow.at(repeated(observed(), 5))(x, 0.4)
    for n in range(5):
        np.testing.assert_allclose(together[:, n], flow.at(observed())(x[:, n], 0.4), rtol=1e-6, atol=1e-6)


def test_what_is_given_is_no_network() -> None:
    agent = agent_of(M)
    state = trainer.init(agent, [0])
    assert set(state.parameters) == {"critic"}
    assert set(state.slow) == {"critic"}
    views = agents.make_views(agent, {}, {}, {})
    assert views.given == {"flow", "map"}
    with pytest.raises(ContractError, match="a method that trains its base"):
        _ = agents.make_views(agent, {}, {}, {}, training=True).live.flow
    assert agents.make_views(agent, {}, {}, {}).live.flow.arrays is PARTS.arrays


def test_a_map_that_nobody_gives_is_told() -> None:
    without = replace(PARTS, map=None)
    with pytest.raises(ContractError, match="its map is learned together with its base"):
        assembly.build(M, SARSA(), PROBLEM, agents.Optimiser(1e-3, 0.01, 0.0, 8), without)


def test_the_posteriors_flow_ends_in_the_posterior() -> None:
    """Against the closed form: a mixture again, with other odds, means and variances (QPILOTS, Section 10.1)."""
    obs = jax.tree.map(lambda leaf: leaf[:1], observed())
    means = np.asarray(_bases.encode(PARTS.arrays, obs))[0]  # (2, L)
    t, samples = 0.5, 4000
    x = jnp.asarray(t * means.mean(0) + 0.1 * (means[1] - means[0]), jnp.float32)[None]
    residual, variance = np.asarray(x) - t * means, (1 - t) ** 2 + (_bases.SPREAD * t) ** 2
    odds = np.exp(-0.5 * np.square(residual).sum(1) / variance)
    odds /= odds.sum()
    centres = means + t * _bases.SPREAD**2 / variance * residual
    exact = odds @ centres
    noise = jax.random.normal(jax.random.PRNGKey(0), (1, samples, PROBLEM.L))
    part = GivenMap(PARTS.flow, 32).bind(PARTS.arrays).at(obs)
    ends = np.asarray(jax.jit(lambda noise: noise + part(noise, x, jnp.asarray(t), 0.0, 1.0))(noise))[0]
    np.testing.assert_allclose(ends.mean(0), exact, atol=0.05)
    right = np.square(ends[:, None] - centres).sum(-1).argmin(1)
    assert right.mean() == pytest.approx(odds[1], abs=0.03)


def test_limits_of_the_posteriors_velocity() -> None:
    """Without a context it is the marginal velocity; at u = 0 it points from the noise to the denoised context."""
    flow = PARTS.flow.bind(PARTS.arrays).at(observed())
    rng = np.random.default_rng(3)
    x, x_bar = (jnp.asarray(rng.normal(size=(B, PROBLEM.L)), "float32") for _ in range(2))
    number = jnp.asarray
    found = posterior_velocity(flow, x_bar, x, number(0.0), number(0.7))
    np.testing.assert_allclose(found, flow(x_bar, 0.7), rtol=1e-4, atol=1e-4)
    found = posterior_velocity(flow, x_bar, x, number(0.3), number(0.0))
    np.testing.assert_allclose(found, x + 0.7 * flow(x, 0.3) - x_bar, rtol=1e-4, atol=1e-4)
    found = posterior_velocity(flow, x_bar, x, number(1.0), number(0.4))
    np.testing.assert_allclose(found, (x - x_bar) / 0.6, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("method", "networks"),
    [(BestOfN(best_of_n=5), 1), (EXPO(0.2, candidates=5), 2), (U, 1), (M, 1)],
    ids=["bon", "expo", "u", "m"],
)
def test_an_observation_is_encoded_once(method: Any, networks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By each network that sees it, whatever the number of candidates, samples and steps; once for each row."""
    rows: list[int] = []
    look = _nets.Network.frames

    def counted(self: Any, obs: Any) -> Any:
        frames = look(self, obs)
        rows.append(frames.shape[0])
        return frames

    agent = agent_of(method)
    monkeypatch.setattr(_nets.Network, "frames", counted)
    state = jax.tree.map(lambda leaf: leaf[0], trainer.init(agent, [0]))
    rows.clear()
    draw = Draw(jax.random.PRNGKey(0))
    jax.eval_shape(lambda obs: agents.act(agent, state.parameters, state.slow, obs, draw), observed())
    assert rows == [B] * networks


def test_shifts_move_what_networks_see_and_not_what_the_base_does() -> None:
    agent = replace(agent_of(U), optimiser=agents.Optimiser(1e-3, 0.01, 0.0, 8, shift=2))
    batch = agents.blank(agent, B)._replace(obs=observed(), next_obs=observed())
    found = agents.shifted(agent, batch, Draw(jax.random.PRNGKey(0)))
    assert np.abs(np.asarray(found.obs.shift)).max() <= 2
    assert (np.asarray(found.obs.shift) != np.asarray(found.next_obs.shift)).any()
    flow = PARTS.flow.bind(PARTS.arrays)
    x = jnp.ones((B, PROBLEM.L))
    np.testing.assert_array_equal(flow.at(found.obs)(x, 0.3), flow.at(batch.obs)(x, 0.3))
    critic = agent.networks["critic"]
    frames, plain = (np.asarray(critic.frames(_nets.seen(obs))) for obs in (found.obs, batch.obs))
    for row in range(B):
        down, right = np.asarray(found.obs.shift[row])
        for i in range(8):
            for j in range(8):
                source = np.clip(i - down, 0, 7), np.clip(j - right, 0, 7)
                np.testing.assert_array_equal(frames[row, i, j], plain[row][source])


def test_frames_that_are_too_small_are_told() -> None:
    small = replace(PROBLEM, backbone=replace(BACKBONE, encoder_strides=(2, 1, 1, 1), encoder_channels=(3, 3, 3, 3)))
    with pytest.raises(ContractError, match="a frame 8 pixels wide is too small"):
        _nets.critic(small).init(jax.random.PRNGKey(0))


def test_frames_of_two_sizes_are_told() -> None:
    odd = Space((Leaf("camera", (8, 8, 1), "uint8"), Leaf("wrist", (8, 6, 1), "uint8")))
    with pytest.raises(ContractError, match="frames of 8x6 and 8x8 pixels"):
        _nets.critic(replace(PROBLEM, observation=odd)).init(jax.random.PRNGKey(0))


def test_best_of_n_chooses_what_is_kept_with_the_chunk() -> None:
    agent = agent_of(FLOW)
    state = jax.tree.map(lambda leaf: leaf[0], trainer.init(agent, [0]))
    views = agents.make_views(agent, None, state.parameters, state.slow)

    def act(views: Any, obs: Any, draw: Draw) -> Any:
        chunk = flow_action(views.held.flow.at(obs), views.problem, draw)
        return chunk, {"own": 2.0 * chunk}

    chunk, kept = best_of(4, act)(views, observed(), Draw(jax.random.PRNGKey(0)))
    assert chunk.shape == (B, PROBLEM.D)
    np.testing.assert_array_equal(kept["own"], 2.0 * chunk)
