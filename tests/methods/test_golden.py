"""Every golden file: total loss, each term, each gradient, the parameters after one update, the actions; to 1e-4."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmark.training import agents
from methods._contract import Losses
from methods._critic import backed_up, pessimistic_value
from tests.methods.golden import Golden

TOLERANCE = 1e-4
load = cache(Golden)


def relative(ours: Any, theirs: Any) -> float:
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return float(np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-6))


def check_trees(ours: Any, theirs: Any, weights: Any = None) -> None:
    """Leaf by leaf, by norm; ``weights`` leaves entries out."""
    weights = jax.tree.map(lambda leaf: 1.0, theirs) if weights is None else weights
    errors = jax.tree.map(lambda a, b, w: relative(np.asarray(a) * w, np.asarray(b) * w), ours, theirs, weights)
    worst = max(jax.tree_util.tree_leaves_with_path(errors), key=lambda item: item[1])
    assert worst[1] <= TOLERANCE, f"{jax.tree_util.keystr(worst[0])}: relative error {worst[1]:.2e}"


def test_golden(golden_file: Path) -> None:
    golden = load(golden_file)
    agent, draw = golden.agent, golden.draw()
    live, slow, batch = golden.trees("params"), golden.trees("params", target=True), golden.batch()

    def total(live: agents.Trees) -> tuple[Any, Losses]:
        terms = agents.losses(agent, live, slow, batch, draw)
        return sum(terms.values()), terms

    gradients, terms = jax.jit(jax.grad(total, has_aux=True))(live)
    assert relative(sum(terms.values()), golden.arrays["loss"]) <= TOLERANCE
    for theirs, (ours, weight) in golden.names.terms.items():
        value = terms[ours] / (getattr(agent.method, weight) if weight else 1.0)
        assert relative(value, golden.arrays[f"info/{theirs}"]) <= TOLERANCE, theirs

    check_trees(gradients, golden.trees("grads"))
    check_update(golden, gradients)
    check_actions(golden)
    if "variant" in golden.config:
        check_qpilots(golden, draw)


def check_update(golden: Golden, gradients: agents.Trees) -> None:
    agent, live, slow = golden.agent, golden.trees("params"), golden.trees("params", target=True)
    moments = agent.optimiser.transformation().init(live)
    iteration = jnp.asarray(agent.method.average_every)
    state = agents.State(live, slow, moments, iteration, jnp.zeros(2), jnp.zeros(2))
    one = jax.jit(lambda agent, state, batch: agents.update(agent, state, batch, golden.draw()))
    state, metrics = one(agent, state, golden.batch())
    moved = jax.tree.map(lambda gradient: np.abs(np.asarray(gradient)) >= 1e-6, golden.trees("grads"))
    check_trees(state.parameters, golden.trees("updated"), moved)
    check_trees(state.slow, golden.trees("updated", target=True))
    if "grad_norm" in golden.arrays:
        assert relative(metrics["gradient_norm"], golden.arrays["grad_norm"]) <= TOLERANCE


def acted(golden: Golden, method: Any) -> np.ndarray:
    agent = agents.Agent(method, golden.agent.rule, golden.agent.problem, golden.agent.optimiser)
    live, slow = golden.trees("params"), golden.trees("params", target=True)
    obs, draw = golden.batch().obs, golden.draw()
    rows = [obs[i : i + 1] for i in range(len(obs))] if golden.names.alone else [obs]
    act = jax.jit(lambda obs: agents.act(agent, live, slow, obs, draw)[0])
    return np.concatenate([np.asarray(act(row)) for row in rows])


def check_actions(golden: Golden) -> None:
    actions = acted(golden, golden.agent.method)
    np.testing.assert_allclose(actions, golden.arrays["actions"].reshape(actions.shape), rtol=0, atol=TOLERANCE)


def check_qpilots(golden: Golden, draw: Any) -> None:
    agent, batch, arrays = golden.agent, golden.batch(), golden.arrays
    method: Any = agent.method
    live, slow = golden.trees("params"), golden.trees("params", target=True)
    views = agents.make_views(agent, live, live, slow)

    for name, value in method.diagnostics(views, batch, draw).items():
        assert relative(value, arrays[f"info/{name}"]) <= TOLERANCE, name

    next_actions = method.next_act(views, batch.next_obs, draw.scope("next_"))
    np.testing.assert_allclose(next_actions, arrays["next_actions"], rtol=0, atol=TOLERANCE)
    value = pessimistic_value(views.slow.critic.at(batch.next_obs), agent.problem)(next_actions)
    target = backed_up(agent.problem, batch, value)
    np.testing.assert_allclose(target, arrays["td_target"], rtol=0, atol=TOLERANCE)

    noise = [draw.normal("act_posterior", arrays["draws/act_posterior"].shape)[1]] if "map" in live else []
    guidance = method.guidance(views, views.held, batch.obs)(arrays["draws/act_noise"], 0.6, *noise)
    np.testing.assert_allclose(guidance, arrays["guidance"], rtol=0, atol=TOLERANCE)

    leaves, structure = jax.tree.flatten(method)
    steered = jax.tree.unflatten(structure, [np.float32(0) if leaf is method.alpha else leaf for leaf in leaves])
    np.testing.assert_allclose(acted(golden, steered), arrays["base_actions"], rtol=0, atol=TOLERANCE)

    unused = {name[6:] for name in arrays if name.startswith("draws/")} - draw.asked - {"act_noise"}
    assert not unused, f"numbers that no draw asked for: {unused}"


def test_unknown_method_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "any.npz"
    np.savez(file, config_json=np.frombuffer(b'{"agent_name": "nothing"}', np.uint8))
    with pytest.raises(AssertionError, match="'nothing', which does not exist"):
        Golden(file)
