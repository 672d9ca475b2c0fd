"""Classifier guidance beside its golden vectors: the guided path, zero strength, and where the linex loss bends."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmark.training import agents, assembly, trainer
from methods._contract import Backbone, Draw, Problem, Space
from methods._flow import flow_action
from methods.cgql import CGQL
from methods.cgql_l import CgqlL
from methods.cgql_m import CgqlM
from tests.methods.formulas import DRAW, PROBLEM, WEIGHTS, B, D, batch, numbers, views

K = PROBLEM.flow_steps
PULL = 0.3 * numbers(D, D, seed=13)
VARIANTS = [CGQL(4.0, 0.2), CgqlM(4.0, 0.2, 0.1), CgqlL(4.0, 0.2, 0.1)]


def flow(obs: Any, x: Any, t: Any) -> Any:
    return x @ PULL + obs.sum(-1, keepdims=True) * (1.0 - t)


def critic(obs: Any, x: Any, t: Any = 1.0) -> Any:
    return jnp.stack([(w * x**2).sum(-1, keepdims=True) * t for w in WEIGHTS])[..., 0]


@pytest.mark.parametrize("method", VARIANTS, ids=lambda method: type(method).__name__)
def test_the_guided_path_is_the_slow_loops(method: CGQL) -> None:
    """u = v' + (theta / t) ((1 - t) tau G + x) from the second step on; only CGQL-M and -L ask the critic at t."""
    obs = numbers(B, 2)
    copies = views(held={"critic": critic}, slow={"flow": flow})
    x = np.float64(DRAW.normal("act_noise", (B, D)))
    for i in range(K):
        t, velocity = i / K, flow(obs, x, i / K)
        if i:
            uphill = 2 * WEIGHTS.mean(0) * x * (1.0 if type(method) is CGQL else t)
            velocity = velocity + 0.2 / t * ((1 - t) * 4.0 * uphill + x)
        x = x + velocity / K
    np.testing.assert_allclose(method.act(copies, obs, DRAW), np.clip(x, -1, 1), rtol=1e-4, atol=1e-5)
    assert (np.abs(x) < 1.0).any()


@pytest.mark.parametrize("backbone", ["reference", "paper"])
@pytest.mark.parametrize("zero", ["inverse_temperature", "guidance"])
def test_zero_strength_is_the_averaged_flow_bit_for_bit(zero: str, backbone: str) -> None:
    kind = {"reference": ("gelu", "raw"), "paper": ("silu", "fourier")}[backbone]
    problem = Problem(Space.array(2), 2, 2, 0.9, 0.5, 4, Backbone(*kind, (8,), (8,), heads=3))
    strengths = {"inverse_temperature": 3.0, "guidance": 0.4, zero: 0.0}
    method = CGQL(strengths["inverse_temperature"], strengths["guidance"])
    agent = assembly.build(method, method.value, problem, agents.Optimiser(1e-3, 0.01, 0.0, 4))
    state = jax.tree.map(lambda leaf: leaf[0], trainer.init(agent, [0]))
    # Averages that differ from the trained networks, so that using the wrong copy shows.
    state = state._replace(slow=jax.tree.map(lambda leaf: leaf + 0.1, state.slow))
    obs, draw = jnp.asarray(numbers(B, 2)), Draw(jax.random.PRNGKey(3))

    def steered(agent: agents.Agent) -> jax.Array:
        return agents.act(agent, state.parameters, state.slow, obs, draw)[0]

    def unsteered(agent: agents.Agent) -> jax.Array:
        held = agents.make_views(agent, None, state.parameters, state.slow)
        return flow_action(held.slow.flow.at(obs), problem, draw)

    np.testing.assert_array_equal(jax.jit(steered)(agent), jax.jit(unsteered)(agent))


def noisy_loss(method: CgqlM, gap: float) -> tuple[jax.Array, jax.Array]:
    """The loss where every head is ``gap`` below its clean target, and its slope in the noisy value."""

    def loss(value: jax.Array) -> jax.Array:
        live = {"critic": lambda obs, x, t: jnp.broadcast_to(value, (3, B))}
        slow = {"critic": lambda obs, x: jnp.full((3, B), gap)}
        return method.losses(views(live=live, slow=slow), batch(), DRAW)["noisy_critic_loss"]

    return jax.value_and_grad(loss)(jnp.asarray(0.0))


@pytest.mark.parametrize(
    ("gap", "value", "slope"),
    [
        (0.5, np.exp(1.0), 2 * (1 - np.exp(1.0))),
        (2.4, np.exp(4.8), 2 * (1 - np.exp(4.8))),
        (2.6, 5.2, -2.0),
        (500.0, 1000.0, -2.0),
    ],
)
def test_linex(gap: float, value: float, slope: float) -> None:
    """tau = 2, eta = 0.1, two of three rows valid; beyond tau gap = 5 a straight line, however far."""
    found = noisy_loss(CgqlL(2.0, 0.2, 0.1), gap)
    np.testing.assert_allclose(found, [0.1 * 2 / 3 * value, 0.1 * 2 / 3 * slope], rtol=1e-5)


def test_squared() -> None:
    np.testing.assert_allclose(noisy_loss(CgqlM(2.0, 0.2, 0.1), 3.0), [0.1 * 2 / 3 * 9, -0.1 * 2 / 3 * 6], rtol=1e-5)


def test_the_noisy_critic_sees_points_on_the_way() -> None:
    given, seen = batch(), []

    def spy(obs: Any, x: Any, t: Any) -> Any:
        seen.append((np.asarray(x), np.asarray(t)))
        return jnp.zeros((3, B))

    CgqlM(2.0, 0.2, 0.1).losses(
        views(live={"critic": spy}, slow={"critic": lambda obs, x: jnp.zeros((3, B))}), given, DRAW
    )
    ((x, t),) = seen
    np.testing.assert_array_equal(t, DRAW.uniform("noisy_time", (B, 1)))
    noise = np.asarray(DRAW.normal("noisy_noise", (B, D)))
    np.testing.assert_allclose(x, (1 - t) * noise + t * np.asarray(given.chunk), rtol=1e-5)
