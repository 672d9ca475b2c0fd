"""QPILOTS beside its golden vectors: what must hold exactly whatever the networks are."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import methods
from benchmark.training import agents, assembly, trainer
from methods._contract import Backbone, Draw, Method, Problem, Space, Views
from methods._flow import denoise

STEERING = [name for name in methods.names() if hasattr(methods.load(name), "guidance")]
"""Methods that bend the flow by a strength ``alpha``."""
BACKBONE = Backbone("silu", "fourier", (16, 16), (16, 16), heads=3)
PROBLEM = Problem(Space.array(3), 2, 2, 0.99, 0.5, 4, BACKBONE)
OBS = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)


def build(name: str, **changes: Any) -> tuple[Any, agents.Agent, agents.State]:
    settings: dict[str, Any] = {"alpha": 0.7}
    if name == "qpilots_m":
        settings |= {"samples": 3, "diagonal": 1.0, "consistency": 0.5, "diagonal_power": 0.5}
        settings |= {"consistency_power": 1.0, "softening": 0.01}
    method = methods.load(name)(**settings | changes)
    agent = assembly.build(method, method.value, PROBLEM, agents.Optimiser(1e-3, 0.01, 1.0, 8))
    state = jax.tree.map(lambda leaf: leaf[0], trainer.init(agent, [0]))
    # Averages that differ from the trained networks, so that using the wrong copy shows.
    slow = jax.tree.map(lambda leaf: 1.1 * leaf + 0.01, state.slow)
    return method, agent, state._replace(slow=slow)


def views_of(agent: agents.Agent, state: agents.State) -> Views:
    return agents.make_views(agent, state.parameters, state.parameters, state.slow)


def acted(agent: agents.Agent, state: agents.State) -> np.ndarray:
    draw = Draw(jax.random.PRNGKey(4))
    return np.asarray(
        jax.jit(lambda agent, state: agents.act(agent, state.parameters, state.slow, OBS, draw)[0])(agent, state)
    )


@pytest.mark.parametrize("name", STEERING)
def test_zero_strength_is_the_base_flow_bit_for_bit(name: str) -> None:
    _, steered, state = build(name, alpha=0.0)
    flow: Method = methods.load("flow")()
    base = assembly.build(flow, None, PROBLEM, steered.optimiser)
    np.testing.assert_array_equal(acted(steered, state), acted(base, state))


@pytest.mark.parametrize("name", STEERING)
def test_strength_steers(name: str) -> None:
    (_, weak, state), (_, strong, _) = build(name, alpha=0.0), build(name, alpha=0.5)
    assert np.abs(acted(weak, state) - acted(strong, state)).max() > 1e-2


def rescaled_critic(state: agents.State, scale: float, shift: float) -> agents.State:
    """The same state with every head of the averaged critic replaced by scale Q + shift."""
    last = max(state.slow["critic"]["mlp"], key=lambda layer: (layer.startswith("Dense"), layer))
    changed = jax.tree.map(jnp.copy, state.slow)
    layer = changed["critic"]["mlp"][last]
    changed["critic"]["mlp"][last] = {"kernel": scale * layer["kernel"], "bias": scale * layer["bias"] + shift}
    return state._replace(slow=changed)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 40.0), (25.0, 0.0), (0.1, -3.0)])
def test_u_does_not_feel_the_scale_or_level_of_the_critic(scale: float, shift: float) -> None:
    _, agent, state = build("qpilots_u")
    expected = acted(agent, state)
    np.testing.assert_allclose(acted(agent, rescaled_critic(state, scale, shift)), expected, atol=1e-4)


def test_m_feels_the_scale_but_not_the_level() -> None:
    _, agent, state = build("qpilots_m")
    expected = acted(agent, state)
    np.testing.assert_allclose(acted(agent, rescaled_critic(state, 1.0, 40.0)), expected, atol=1e-3)
    assert np.abs(acted(agent, rescaled_critic(state, 100.0, 0.0)) - expected).max() > 1e-3


def finite_difference(function: Any, x: np.ndarray, epsilon: float = 1e-2) -> np.ndarray:
    """Central differences of a per-sample function (B, D) -> (B,)."""
    columns = []
    for d in range(x.shape[1]):
        step = np.zeros_like(x)
        step[:, d] = epsilon
        columns.append((np.asarray(function(x + step)) - np.asarray(function(x - step))) / (2 * epsilon))
    return np.stack(columns, axis=1)


def test_guidance_of_u_contains_the_jacobian_of_the_flow() -> None:
    method, agent, state = build("qpilots_u")
    views = views_of(agent, state)
    x = 0.1 * np.random.default_rng(1).normal(size=(5, PROBLEM.D)).astype(np.float32)
    predict, critic = denoise(views.slow.flow.at(OBS)), views.slow.critic.at(OBS)

    def value(x: np.ndarray) -> np.ndarray:
        return np.asarray(value_at(critic, predict(jnp.asarray(x), 0.5)))

    clean = predict(jnp.asarray(x), 0.5)
    assert np.abs(clean).max() < 1.0, "inside the box, where the straight-through clip is the identity"
    ours = np.asarray(method.guidance(views, views.held, OBS)(x, 0.5))
    expected = finite_difference(value, x)
    np.testing.assert_allclose(ours, expected, rtol=2e-2, atol=2e-3 * np.abs(expected).max())
    detached = np.asarray(jax.grad(lambda a: value_at(critic, a).sum())(clean))
    assert np.abs(detached - ours).max() > 0.05 * np.abs(ours).max(), "the flow's Jacobian would not be missed here"


def value_at(critic: Any, action: jax.Array) -> jax.Array:
    heads = critic(action)
    return heads.mean(0) - 0.5 * jnp.sqrt(heads.var(0) + 1e-12)


def test_guidance_of_m_is_the_gradient_of_its_log_mean() -> None:
    method, agent, state = build("qpilots_m")
    views = views_of(agent, state)
    rng = np.random.default_rng(2)
    x = rng.normal(size=(5, PROBLEM.D)).astype(np.float32)
    noise = rng.normal(size=(5, 3, PROBLEM.D)).astype(np.float32)
    posterior, critic = views.held.map.at(OBS), views.slow.critic.at(OBS)

    def log_mean(x: np.ndarray) -> np.ndarray:
        values = np.asarray(value_at(critic, noise + posterior(noise, x, 0.5, 0.0, 1.0)), np.float64)
        return np.log(np.mean(np.exp(values), axis=1))

    ours = np.asarray(method.guidance(views, views.held, OBS)(x, 0.5, noise))
    expected = finite_difference(log_mean, x)
    np.testing.assert_allclose(ours, expected, rtol=2e-2, atol=2e-3 * np.abs(expected).max())


def test_m_with_one_sample_is_the_gradient_at_that_sample() -> None:
    method, agent, state = build("qpilots_m", samples=1)
    views = views_of(agent, state)
    rng = np.random.default_rng(3)
    x, noise = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((5, PROBLEM.D), (5, 1, PROBLEM.D)))
    posterior, critic = views.held.map.at(OBS), views.slow.critic.at(OBS)

    def value(x: jax.Array) -> jax.Array:
        return value_at(critic, noise[:, 0] + posterior(noise[:, 0], x, 0.5, 0.0, 1.0)).sum()

    ours = method.guidance(views, views.held, OBS)(x, 0.5, noise)
    np.testing.assert_allclose(ours, jax.grad(value)(x), rtol=1e-3, atol=1e-6)


def test_the_map_starts_and_ends_where_it_should() -> None:
    """X_{u,u} is the identity, and the draws of the two losses are ordered u <= m <= e."""
    from methods._flow_map import adaptive, jump

    x_bar = jnp.asarray([[0.2, -0.1]])
    np.testing.assert_array_equal(jump(lambda *_: 7.0, x_bar, x_bar, 0.3, 0.6, 0.6), x_bar)
    np.testing.assert_allclose(jump(lambda *_: 2.0, x_bar, x_bar, 0.3, 0.25, 0.75), x_bar + 1.0)
    squared, valid = jnp.asarray([0.24, 3.0]), jnp.asarray([1.0, 0.0])
    np.testing.assert_allclose(adaptive(squared, valid, 0.5, 0.01), 0.24 / 0.5 / 2, rtol=1e-6)
    slope = jax.grad(lambda s: adaptive(s, valid, 0.5, 0.01))(squared)
    np.testing.assert_allclose(slope, [1.0, 0.0], rtol=1e-6)
