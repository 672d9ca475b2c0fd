"""What every method must do, unasked: one test for each (method, check). A new method needs no new test.

A method may declare a known failure, ``known_failures = {check: reason}``; a declared failure that heals is an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest

import methods
from benchmark.planning import data_files
from benchmark.planning.data_files import presets
from benchmark.planning.errors import SettingsError
from benchmark.planning.plan import make
from benchmark.planning.request import ask
from benchmark.runs import checkpoint
from benchmark.training.fit import fitting
from envs import load_suite, suites
from methods._traced import traced_names
from tests.contract.subject import ROWS, SEEDS, Subject, subject, success

Check = Callable[[Subject, Path], None]
CHECKS: dict[str, Check] = {}
COMPILE = "/jax/core/compile/backend_compile_duration"


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


def cases() -> Iterator[Any]:
    usable, _ = data_files.available()
    for name in methods.names():
        for each in CHECKS:
            reason = usable[name].known_failures.get(each) if name in usable else None
            marks = [pytest.mark.xfail(strict=True, reason=reason)] if reason else []
            yield pytest.param(name, each, marks=marks, id=f"{name}-{each}")


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Collects the compilations that happen inside."""
    seen: list[str] = []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == COMPILE:
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def close(a: Any, b: Any, tolerance: float) -> bool:
    equal = jax.tree.map(lambda x, y: bool(np.allclose(x, y, rtol=tolerance, atol=tolerance)), a, b)
    return all(jax.tree.leaves(equal))


@check
def acts_in_range(s: Subject, _: Path) -> None:
    key = jax.random.PRNGKey(1)
    for rows, row in ((ROWS, None), (1, 0)):
        action = np.asarray(s.act(s.method, s.batch.obs[:rows], key, row))
        assert action.shape == (rows, s.problem.D)
        assert np.isfinite(action).all()
        assert np.abs(action).max() <= 1.0


@check
def a_row_equals_its_observation_alone(s: Subject, _: Path) -> None:
    key = jax.random.PRNGKey(1)
    together = s.act(s.method, s.batch.obs, key, None)
    alone = s.act(s.method, s.batch.obs[:1], key, 0)
    np.testing.assert_allclose(alone[0], together[0], rtol=0, atol=1e-5)
    assert not np.allclose(together[0], together[2], atol=1e-5)


@check
def seeds_together_equal_seeds_alone(s: Subject, _: Path) -> None:
    """Looped, each seed is trained alone, in turn; mapped, together. And its neighbour changes not a bit."""
    mapped, _ = s.train(s.fresh, vectorised=True)
    assert close(s.trained.parameters, mapped.parameters, 1e-5)
    turned, _ = s.train(jax.tree.map(lambda leaf: leaf[::-1], s.fresh))
    for ours, theirs in zip(*map(jax.tree.leaves, (s.trained, turned)), strict=True):
        assert np.array_equal(ours, theirs[::-1])
    first, second = (jax.tree.map(lambda leaf, i=i: leaf[i], s.trained.parameters) for i in range(len(SEEDS)))
    assert not close(first, second, 1e-5)


@check
def the_second_update_does_not_compile(s: Subject, _: Path) -> None:
    state = s.trained
    s.train(state)
    with compilations() as seen:
        jax.block_until_ready(s.train(state))
    assert not seen


@check
def floats_sweep_without_compiling(s: Subject, _: Path) -> None:
    s.train(s.trained)
    for name in traced_names(s.cls):
        other = dataclasses.replace(s.method, **{name: float(getattr(s.method, name)) * 0.9 + 0.01})
        agent = dataclasses.replace(s.agent, method=other, rule=other.value or s.rule)
        with compilations() as seen:
            jax.block_until_ready(s.train(s.trained, agent))
        assert not seen, name


@check
def only_named_terms_train_the_critic(s: Subject, _: Path) -> None:
    after, terms, extraction = s.update(s.first, s.batch)
    assert set(s.cls.critic_terms) <= set(terms)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(extraction["critic"]))
    still = [name for name, tree in after.parameters.items() if close(tree, s.first.parameters[name], 0.0)]
    assert not still, "a network that no term trains"


@check
def saving_and_going_on_equals_never_stopping(s: Subject, folder: Path) -> None:
    for i in range(len(SEEDS)):
        checkpoint.save(folder / str(i), jax.tree.map(lambda leaf, i=i: leaf[i], s.trained), {}, {})
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), s.trained)
    restored = [checkpoint.load(folder / str(i) / checkpoint.FILE, like)[0] for i in range(len(SEEDS))]
    went_on, _ = s.train(jax.tree.map(lambda *leaves: jnp.stack(leaves), *restored))
    straight, _ = s.train(s.trained)
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (went_on, straight)), strict=True))


@check
def a_masked_batch_gives_finite_losses(s: Subject, _: Path) -> None:
    nothing = jnp.zeros_like(s.batch.valid)
    after, terms, _ = s.update(s.first, s.batch._replace(valid=nothing, mask=nothing))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after.parameters, terms)))


@check
def averages_lag_by_one_update(s: Subject, _: Path) -> None:
    """After the first update that moves them, averages still equal the initial parameters."""
    fresh = jax.tree.map(lambda leaf: leaf[0], s.fresh)
    for iteration in (1, s.cls.average_every):
        state = fresh._replace(iteration=jnp.asarray(iteration, jnp.int32))
        after = s.update(state, s.batch)[0]
        assert close(after.slow, fresh.slow, 1e-7)
        again = s.update(after, s.batch)[0]
        moved = not close(again.slow["critic"], fresh.slow["critic"], 1e-7)
        assert moved == (iteration % s.cls.average_every == 0)


@check
def learns_bandit(s: Subject, _: Path) -> None:
    assert success(s.name) > success("flow") + 0.15


@check
def resolves_in_every_domain(s: Subject, _: Path) -> None:
    for suite in suites():
        domains = {task.domain for task in load_suite(suite).tasks().values()}
        found: set[str] = set()
        for preset in presets(suite):
            request = ask(suite, preset, methods=s.name, seeds="0")
            found |= {task.domain for task in request.tasks}
            reason = ""
            try:
                assert fitting(make(request), every=False).cells, (suite, preset)
            except SettingsError as error:
                reason = str(error)
            assert not reason or any(word in reason for word in REASONS), (suite, preset, reason)
        assert found == domains


REASONS = (
    "a method that trains its base can't be used with it",
    "it brings a base of its own",
    "which needs offline rows",
    "it can be asked while acting, and never at a row",
)
"""Why a method may be unavailable somewhere."""


def test_known_failures_are_told() -> None:
    """BENCHMARK.md prints them, and no others."""
    text = (Path(methods.FOLDER).parent / "BENCHMARK.md").read_text()
    declared = {
        f"| {name} | {each} | {reason} |"
        for name, cls in data_files.available()[0].items()
        for each, reason in cls.known_failures.items()
    }
    table = text.partition("| method | check | reason |\n| --- | --- | --- |\n")[2].partition("\n\n")[0]
    assert set(table.splitlines()) == declared


@pytest.mark.parametrize(("method", "name"), list(cases()))
def test_contract(method: str, name: str, tmp_path: Path) -> None:
    CHECKS[name](subject(method), tmp_path)
