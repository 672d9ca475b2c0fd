"""The values that methods are given: traced floats, named draws, the three copies, and what finds the files."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import methods
from benchmark.planning import data_files
from benchmark.training import agents, assembly, trainer
from methods._contract import Backbone, Draw, Method, Problem, Space
from methods._traced import traced_names
from methods._values import IQL, TD

PROBLEM = Problem(Space.array(3), 2, 2, 0.99, 0.5, 4, Backbone("gelu", "raw", (8,), (8,), heads=2))
OPTIMISER = agents.Optimiser(1e-3, 0.01, 0.0, 4)


def test_floats_are_traced_and_the_rest_is_static() -> None:
    ifql = methods.load("ifql")(expectile=0.9, samples=4)  # type: ignore[call-arg]
    assert traced_names(type(ifql)) == ("expectile",)
    leaves, structure = jax.tree.flatten(ifql)
    assert [type(leaf) for leaf in leaves] == [np.float32]
    again = jax.tree.unflatten(structure, leaves)
    assert again == ifql
    other = dataclasses.replace(ifql, samples=5)  # type: ignore[call-arg]
    assert jax.tree.structure(other) != structure


def test_draws_are_told_apart_by_name_and_shared_by_name() -> None:
    one, two = Draw(jax.random.PRNGKey(0)), Draw(jax.random.PRNGKey(0))
    np.testing.assert_array_equal(one.normal("a", (4,)), two.normal("a", (4,)))
    assert not np.allclose(one.normal("a", (4,)), one.normal("b", (4,)))
    assert not np.allclose(one.normal("a", (4,)), one.scope("next_").normal("a", (4,)))
    np.testing.assert_array_equal(one.scope("next_").normal("a", (4,)), one.normal("next_a", (4,)))
    steps = np.asarray(one.normal("a", (4,), steps=3))
    assert steps.shape == (3, 4)
    assert len(np.unique(steps)) == 12
    assert 0.0 <= float(one.uniform("c", (100,)).min()) < float(one.uniform("c", (100,)).max()) < 1.0


def test_a_missing_copy_says_what_to_do() -> None:
    flow = methods.load("flow")()
    agent = assembly.build(flow, flow.value, PROBLEM, OPTIMISER)
    state = jax.tree.map(lambda leaf: leaf[0], trainer.init(agent, [0]))
    views = agents.make_views(agent, None, state.parameters, state.slow)
    with pytest.raises(AttributeError, match="'flow' has no slow copy; name it in `averaged`"):
        _ = views.slow.flow
    with pytest.raises(AttributeError, match="'flow' is read live while acting"):
        _ = views.live.flow
    with pytest.raises(AttributeError, match="no 'flwo' among critic, flow"):
        _ = views.held.flwo


@dataclasses.dataclass(frozen=True)
class OwnValue(Method):
    """A method with a value network of its own."""

    def networks(self, problem: Problem) -> dict[str, Any]:
        return super().networks(problem) | IQL(0.9).networks(problem)

    def act(self, views: Any, obs: Any, draw: Draw) -> Any:
        return obs


@dataclasses.dataclass(frozen=True)
class OwnTerm(Method):
    """A method with a loss term called as the value rule's."""

    def losses(self, views: Any, batch: Any, draw: Draw) -> Any:
        return {"critic_loss": batch.reward.sum()}

    def act(self, views: Any, obs: Any, draw: Draw) -> Any:
        return draw.normal("act_noise", views.problem.shape(obs))


def test_two_owners_of_a_name_are_refused_when_the_method_is_built() -> None:
    with pytest.raises(agents.ContractError, match="the network 'value' has two owners"):
        assembly.build(OwnValue(), IQL(0.9), PROBLEM, OPTIMISER)
    with pytest.raises(agents.ContractError, match="the loss term 'critic_loss' has two owners"):
        assembly.build(OwnTerm(), TD(), PROBLEM, OPTIMISER)


def test_adding_a_network_moves_no_other() -> None:
    plain, more = methods.load("flow")(), methods.load("fql")(alpha=1.0)  # type: ignore[call-arg]
    states = [trainer.init(assembly.build(m, m.value, PROBLEM, OPTIMISER), [0]).parameters for m in (plain, more)]
    for name in ("flow", "critic"):
        same = jax.tree.map(np.array_equal, states[0][name], states[1][name])
        assert all(jax.tree.leaves(same))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A second folder of method files."""
    monkeypatch.setattr(methods, "FOLDER", tmp_path)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    yield tmp_path
    for name in ("dropped_in", "broken"):
        sys.modules.pop(f"methods.{name}", None)


def test_files_are_found_and_broken_ones_listed_with_the_reason(folder: Path) -> None:
    (folder / "dropped_in.py").write_text(
        "from dataclasses import dataclass\n"
        "from methods.flow import Flow\n\n\n"
        "@dataclass(frozen=True)\n"
        "class DroppedIn(Flow):\n    pass\n"
    )
    (folder / "broken.py").write_text("import no_such_package\n")
    (folder / "_shared.py").write_text("")
    usable, reasons = data_files.available()
    assert usable == {}
    assert "has no methods/dropped_in.toml beside it" in reasons["dropped_in"]
    assert "No module named 'no_such_package'" in reasons["broken"]
    (folder / "dropped_in.toml").write_text("[default]\n")
    usable, reasons = data_files.available()
    assert list(usable) == ["dropped_in"]
    assert list(reasons) == ["broken"]
