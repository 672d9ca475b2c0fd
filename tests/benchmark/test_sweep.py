"""Sweeps: every value is a run of its own, of one compiled program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark.planning.plan import Plan, make
from benchmark.planning.request import ask
from benchmark.training import trainer
from envs._documents import DocumentError
from tests.benchmark import tiny


def plan(*sweeps: str, methods: str = "qpilots_u,flow", settings: tuple[str, ...] = ()) -> Plan:
    asked = {"methods": methods, "tasks": ("bandit-v0",), "seeds": "0-1", "settings": settings, "sweeps": sweeps}
    return make(ask("toy", "quick", **asked))  # pyright: ignore[reportArgumentType]


def alphas(found: Plan) -> list[float]:
    return [pack.first.configuration["hyperparameters"]["alpha"] for pack in found.packs if pack.first.method != "flow"]


def test_each_value_is_a_pack_and_the_others_are_as_before() -> None:
    found, plain = plan("qpilots_u.alpha=0.1,0.2,0.3"), plan()
    assert alphas(found) == [0.1, 0.2, 0.3]
    assert len(found.packs) == 4
    assert {cell.key for cell in plain.cells if cell.method == "flow"} < {cell.key for cell in found.cells}
    assert len({cell.key for cell in found.cells}) == 8
    swept = found.packs[0].first
    assert swept.provenance["hyperparameters.alpha"] == "command line, swept"
    said = plan(methods="qpilots_u", settings=("qpilots_u.alpha=0.1",))
    assert said.cells[0].key == swept.key  # a value is a value, however it was said


def test_sweeps_are_combined() -> None:
    found = plan("qpilots_u.alpha=0.1,0.2", "run.learning_rate=1e-3,3e-4")
    assert sorted(alphas(found)) == [0.1, 0.1, 0.2, 0.2]
    rates = [pack.first.configuration["settings"]["learning_rate"] for pack in found.packs]
    assert sorted(rates) == [3e-4] * 3 + [1e-3] * 3


WRONG = {
    "qpilots.alpha=1,2": "did you mean 'qpilots_u'",
    "qpilots_u.alpha=1": "two values at least",
    "qpilots_u.alpha=1,1": "1 and 1 are one value",
    "qpilots_u.alpha": "not of the form",
    "qpilots_u.aplha=1,2": "did you mean 'alpha'",
    "qpilots_u.alpha=1,much": "must be a number",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_sweep_is_told(text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        plan(text)
    assert WRONG[text] in str(caught.value)


@pytest.mark.slow
def test_a_sweep_of_a_coefficient_is_one_program(tmp_path: Path) -> None:
    """The three values differ in their numbers, and not in what is compiled."""
    found = [tiny.cells("6", method="fql", alpha=alpha) for alpha in (1.0, 3.0, 10.0)]
    assert tiny.run(tmp_path, found[0]) == []
    train: Any = trainer.train
    compiled = train._cache_size()
    for cells in found[1:]:
        assert tiny.run(tmp_path, cells) == []
    assert train._cache_size() == compiled
    losses = [tiny.history(tmp_path, cells[0])[0] for cells in found]
    assert len(set(losses)) == 3
