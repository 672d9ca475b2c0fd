"""SARSA and Monte Carlo against their formulas in NumPy, and which rule a method learns by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from benchmark.planning.errors import SettingsError
from benchmark.planning.plan import make
from benchmark.planning.request import ask
from benchmark.training.build import build_agent
from benchmark.training.fit import fitting
from envs import load_suite
from methods._contract import Batch
from methods._values import IQL, MC, SARSA
from tests.methods.formulas import DRAW, PROBLEM, B, D, batch, linear_critic, numbers, views

COPIES = views(live={"critic": linear_critic}, slow={"critic": lambda obs, chunk: linear_critic(obs, chunk, 0.5)})


def never(*_: Any) -> Any:
    raise AssertionError("nobody is asked for an action")


def by_hand(given: Batch, target: np.ndarray, valid: np.ndarray) -> float:
    heads = np.asarray(linear_critic(np.asarray(given.obs), np.asarray(given.chunk)))
    return float(np.mean(valid * np.square(heads - target)))


def test_sarsa_backs_up_the_chunk_that_was_executed() -> None:
    next_chunk, next_valid = numbers(B, D, seed=9), np.asarray([1.0, 0.0, 1.0], np.float32)
    given = batch()._replace(next_chunk=jnp.asarray(next_chunk), next_chunk_valid=jnp.asarray(next_valid))
    heads = np.asarray(linear_critic(np.asarray(given.next_obs), next_chunk, 0.5))
    value = heads.mean(0) - PROBLEM.pessimism * heads.std(0)
    target = np.asarray(given.reward) + PROBLEM.discount**PROBLEM.chunk_length * np.asarray(given.mask) * value
    valid = np.asarray([1.0, 1.0, 0.0])  # the second has no next chunk, and needs none: its mask is 0
    found = SARSA().losses(COPIES, given, never, DRAW)["critic_loss"]
    np.testing.assert_allclose(found, by_hand(given, target, valid), rtol=1e-4)


def test_monte_carlo_needs_an_end() -> None:
    returns = np.asarray([-3.0, np.nan, -1.0], np.float32)
    given = batch()._replace(return_to_go=jnp.asarray(returns))
    found = MC().losses(COPIES, given, never, DRAW)["critic_loss"]
    wanted = by_hand(given, np.nan_to_num(returns), np.asarray([1.0, 0.0, 0.0]))  # the third row is not valid anyway
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def used(method: str, task: str, **words: Any) -> str:
    preset = "frozen" if "pixels" in task else "quick"
    plan = make(ask("toy", preset, methods=method, tasks=(task,), seeds="0", **words))
    return fitting(plan, every=False).cells[0].configuration["settings"]["value_used"]


def test_what_is_asked_for_comes_before_the_methods_own_and_that_before_the_suites() -> None:
    assert used("flow", "bandit-v0") == "td"
    assert used("flow", "pixels-v0") == "sarsa"
    assert used("ifql", "pixels-v0") == "iql"
    assert used("ifql", "pixels-v0", value="mc") == "mc"
    assert used("flow", "pixels-v0", value="td") == "td"
    assert used("dsrl", "pixels-v0") == "noisetd"


@pytest.mark.parametrize(
    ("method", "task", "value", "reason"),
    [
        ("dsrl", "pixels-v0", "td", "it learns by a rule of its own, so leave --value out"),
        ("flow", "pixels-prompted-v0", "td", "it can be asked while acting, and never at a row"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(method: str, task: str, value: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        used(method, task, value=value)


def test_a_suites_rule_has_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    task = replace(load_suite("toy").tasks()["pixels-v0"], value="iql")
    monkeypatch.setattr(load_suite("toy"), "tasks", lambda: {"pixels-v0": task})
    (pack,) = make(ask("toy", "frozen", methods="flow", tasks=("pixels-v0",), seeds="0")).packs
    assert pack.first.configuration["settings"]["value.expectile"] == 0.9
    assert build_agent(pack.first)[2].rule == IQL(0.9)
