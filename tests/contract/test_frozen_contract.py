"""What every method must do on pixels, and beside a base that is given: one test for each (method, world)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import methods
from benchmark.planning.data_files import available
from benchmark.planning.plan import build_method, make
from benchmark.planning.request import ask
from benchmark.planning.settings import BACKBONES
from benchmark.training import agents, assembly, trainer
from benchmark.training.build import given
from envs import load_suite
from envs._suite import Task
from methods._contract import Backbone, Batch, ContractError, Draw, Leaf, Problem, Space
from methods._latent import Latent
from methods._values import SARSA
from tests.contract.subject import ROWS, RowDraw

WORLDS = ("trained", "given")
TORCH = "qpilots_u"
"""The method whose given base is PyTorch's."""
REFUSED = {
    "fbrac": "a method that trains its base",
    "fawac": "a method that trains its base",
    "dac": "it brings a base of its own",
    "qsm": "it brings a base of its own",
}
ASKS = ("bam", "expo", "fedit", "fql", "qam", "qam_e", "qam_f")
"""Methods whose losses ask the base at what replay keeps."""
FRAMES = 2
"""Pixels by which frames may be moved."""


def task_of(world: str, method: str) -> Task:
    name = {"prompted": "pixels-prompted-v0"}.get(world, "pixels-torch-v0" if method == TORCH else "pixels-v0")
    return load_suite("toy").tasks()[name]


def problem_of(world: str, task: Task) -> Problem:
    backbone = Backbone(
        **BACKBONES["reference"],
        actor_widths=(8,),
        value_widths=(8,),
        heads=2,
        encoder_channels=(3, 4),
        encoder_strides=(2, 1),
        encoder_size=5,
    )
    observation = Space(tuple(Leaf(*leaf) for leaf in task.observation))
    plain = Problem(observation, task.action_size, task.chunk_length, 0.9, 0.5, 2, backbone)
    if world == "trained":
        return plain
    base = load_suite("toy").base(task)
    assert base is not None
    return replace(plain, decisions=True, latent=Latent(base.width, base.scale, base.shift))


@cache
def agent_of(world: str, name: str) -> agents.Agent:
    """The method as it would be run there; raises ContractError."""
    suite, task = load_suite("toy"), task_of(world, name)
    preset = "quick" if world == "trained" else "frozen"
    where = "bandit-v0" if world == "trained" else task.name
    values = ("rlpd.sampling=joint",) if name == "rlpd" else ()
    configuration = (
        make(ask("toy", preset, methods=name, tasks=(where,), seeds="0", settings=values)).cells[0].configuration
    )
    method = build_method(methods.load(name), configuration)
    problem, base = problem_of(world, task), suite.base(task)
    optimiser = agents.Optimiser(3e-3, 0.02, type(method).clip_norm, 8, shift=FRAMES)
    if world == "trained" or base is None:
        return assembly.build(method, method.value, problem, optimiser)
    return assembly.build(method, method.value or SARSA(), problem, optimiser, given(base, problem))


def observations(space: Any, rows: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)

    def leaf(each: Any) -> Any:
        shape = (rows, *each.shape)
        return rng.integers(0, 256, shape).astype(np.uint8) if each.type == "uint8" else rng.normal(size=shape)

    return {each.name: jnp.asarray(leaf(each), each.type) for each in space}


def batch_of(agent: agents.Agent) -> Batch:
    rng, blank = np.random.default_rng(3), agents.blank(agent, ROWS)

    def numbers(shape: tuple[int, ...]) -> jax.Array:
        return jnp.asarray(np.clip(rng.normal(size=shape), -1, 1), jnp.float32)

    optional = {name: numbers(getattr(blank, name).shape) for name in agent.rule.needs}
    return blank._replace(
        obs=observations(agent.problem.observation.leaves, ROWS, 0),
        next_obs=observations(agent.problem.observation.leaves, ROWS, 1),
        chunk=numbers(blank.chunk.shape),
        reward=numbers((ROWS,)),
        mask=jnp.asarray([1.0, 1.0, 0.0, 1.0]),
        valid=jnp.ones(ROWS),
        kept={name: numbers(each.shape) for name, each in blank.kept.items()},
        **optional,
    )


def admitted(world: str, name: str) -> agents.Agent | None:
    """The method's agent; where the contract does not admit it, nothing, once it has said why."""
    reason = REFUSED.get(name, "") if world != "trained" else ""
    if world == "prompted" and name in ASKS:
        reason = "it can be asked while acting, and never at a row"
    if not reason:
        return agent_of(world, name)
    with pytest.raises(ContractError, match=reason):
        agent_of(world, name)
    return None


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("method", sorted(available()[0]))
def test_a_method_learns_and_acts(method: str, world: str) -> None:
    agent = admitted(world, method)
    if agent is None:
        return
    state = jax.tree.map(lambda leaf: leaf[0], trainer.init(agent, [3]))
    assert not state.parameters.keys() & {name for name, each in agent.everything.items() if each.frozen}
    key, batch = jax.random.PRNGKey(1), batch_of(agent)
    after, terms = jax.jit(lambda agent, state: agents.update(agent, state, batch, Draw(key)))(agent, state)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after.parameters, terms)))
    for name, network in agent.networks.items():
        before = state.parameters[name]
        parts = {"encoder": before["encoder"]} if isinstance(before, dict) and "encoder" in before else {}
        assert bool(parts) == (name != "temperature"), "every network that sees has an encoder of its own"
        moved = jax.tree.map(lambda one, other: bool(np.any(one != other)), before, after.parameters[name])
        assert any(jax.tree.leaves(moved)), f"no term trains {name}"
        if parts and not network.frozen:
            assert any(jax.tree.leaves(moved["encoder"])), f"no term trains the encoder of {name}"
    acts(agent, after, key, task_of(world, method))


@pytest.mark.parametrize("method", sorted(available()[0]))
def test_a_base_that_sees_more_is_asked_only_while_acting(method: str) -> None:
    if agent := admitted("prompted", method):
        state = jax.tree.map(lambda leaf: leaf[0], trainer.init(agent, [3]))
        task = task_of("prompted", method)
        obs = observations((*task.observation, *task.seen), ROWS, 2)
        with pytest.raises(ContractError, match="'prompt'"):
            agent.everything["flow"].bind(agent.arrays).at(batch_of(agent).obs)
        jax.eval_shape(
            lambda obs: agents.act(agent, state.parameters, state.slow, obs, Draw(jnp.zeros(2, "uint32"))), obs
        )


def acts(agent: agents.Agent, state: agents.State, key: jax.Array, task: Task) -> None:
    """In range, each row as it would be alone, and as its frames say where a network sees them."""
    seen = task.observation + (task.seen if agent.parts else ())
    obs = observations(seen, ROWS, 2)

    @jax.jit
    def act(agent: agents.Agent, obs: Any) -> Any:
        return agents.act(agent, state.parameters, state.slow, obs, Draw(key))

    chunk, kept = act(agent, obs)
    assert chunk.shape == (ROWS, agent.problem.D)
    assert np.abs(chunk).max() <= 1.0
    assert {name: each.shape for name, each in kept.items()} == {
        name: (ROWS, size) for name, size in agent.method.keeps(agent.problem).items()
    }
    alone = jax.jit(lambda agent, obs: agents.act(agent, state.parameters, state.slow, obs, RowDraw(key, 1))[0])
    one = alone(agent, jax.tree.map(lambda leaf: leaf[1:2], obs))
    np.testing.assert_allclose(one[0], chunk[1], rtol=0, atol=2e-5)
