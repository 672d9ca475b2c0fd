"""QAM-E without its edit and QAM-F without its distillation are QAM, to the last parameter."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import methods
from benchmark.training import agents, assembly, trainer
from tests.methods.formulas import DRAW, PROBLEM, batch

EXTRA: dict[str, dict[str, Any]] = {
    "qam": {},
    "qam_e": {"edit": False, "edit_scale": 0.4},
    "qam_f": {"distil": False, "alpha": 30.0},
}


def after_three_updates(name: str, **changes: Any) -> tuple[agents.State, np.ndarray]:
    settings: dict[str, Any] = {"inverse_temperature": 2.0} | EXTRA[name] | changes
    method = methods.load(name)(**settings)
    agent = assembly.build(method, method.value, PROBLEM, agents.Optimiser(1e-2, 0.1, method.clip_norm, 3))
    state = jax.tree.map(lambda leaf: leaf[0], trainer.init(agent, [0]))
    update = jax.jit(lambda state, key: agents.update(agent, state, batch(), type(DRAW)(key))[0])
    for key in jax.random.split(jax.random.PRNGKey(0), 3):
        state = update(state, key)
    return state, np.asarray(agents.act(agent, state.parameters, state.slow, batch().obs, DRAW)[0])


@pytest.mark.parametrize("name", ["qam_e", "qam_f"])
def test_switched_off_it_is_qam(name: str) -> None:
    (state, action), (wanted, wanted_action) = after_three_updates(name), after_three_updates("qam")
    assert jax.tree.structure(state) == jax.tree.structure(wanted)
    for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(action, wanted_action)


@pytest.mark.parametrize(("name", "switch"), [("qam_e", "edit"), ("qam_f", "distil")])
def test_switched_on_it_is_not(name: str, switch: str) -> None:
    (state, action), (plain, plain_action) = after_three_updates(name, **{switch: True}), after_three_updates("qam")
    assert set(state.parameters) > set(plain.parameters)
    assert np.abs(action - plain_action).max() > 1e-2
