"""Whether methods fit where they are to run: told while a plan is made, and without a device."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import methods
import methods._flow
from benchmark.planning.errors import SettingsError
from benchmark.planning.plan import make
from benchmark.planning.request import ask
from benchmark.training import assembly
from benchmark.training.fit import fitting
from methods.flow import Flow

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def looked_at_anew() -> None:
    """What was found of an agent is remembered; a method that a test changes is another."""
    assembly.forget()


@pytest.mark.parametrize(
    ("method", "task", "setting", "reason"),
    [
        ("rebrac", "bandit-v0", "run.warm_up=base", "its base is to act .warm_up=base., and it has none"),
        (
            "dsrl",
            "bandit-v0",
            "dsrl.shared_noise=true",
            "it keeps 'noise' .* here a row .* is a step",
        ),
        (
            "flow",
            "bandit-v0",
            'run.learning_rates=[["actor", 1e-3]]',
            "'actor' has a learning rate of its own and is no",
        ),
        ("dsrl", "pixels-v0", "dsrl.best_of_n=4", "best_of_n chooses among actions by a critic of actions"),
        ("bon", "pixels-v0", "run.random_shift=8", "a frame 8 pixels wide can't be moved by 8"),
        ("dsrl", "pixels-v0", "run.warm_up=uniform", "a uniform warm-up has none; set warm_up=base"),
    ],
)
def test_what_does_not_fit_is_told_while_a_plan_is_made(method: str, task: str, setting: str, reason: str) -> None:
    preset = "frozen" if "pixels" in task else "quick"
    plan = make(ask("toy", preset, methods=method, tasks=(task,), seeds="0", settings=(setting,)))
    with pytest.raises(SettingsError, match=reason):
        fitting(plan, every=False)


def test_of_all_methods_those_that_do_not_fit_are_left_out() -> None:
    words = ("run.warm_up=base",)
    plan = make(ask("toy", "quick", methods="flow,rebrac,fql", tasks=("bandit-v0",), seeds="0", settings=words))
    found = fitting(plan, every=True)
    assert {pack.first.method for pack in found.packs} == {"flow", "fql"}
    (line,) = found.unfit.values()
    assert line.startswith("rebrac on bandit-v0: before training starts")


def test_a_chunk_of_one_step_fits_as_well() -> None:
    """One noise for all steps of a chunk is one noise of its size then, and is kept all the same."""
    words = ("run.chunk_length=1",)
    plan = make(ask("toy", "frozen", methods="dsrl", tasks=("pixels-v0",), seeds="0", settings=words))
    assert fitting(plan, every=False) == plan


def test_a_plan_opens_no_device() -> None:
    """JAX would complain of the platform: a launcher lives beside its workers, whose memory it must not take."""
    words = "--suite toy --preset frozen --methods qpilots_m --tasks pixels-v0 --seeds 0 --executor local --dry-run"
    command = [sys.executable, "-m", "benchmark.launch", *words.split()]
    environment = os.environ | {"JAX_PLATFORMS": "nowhere"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    probe = [sys.executable, "-c", "import jax; jax.devices()"]
    assert subprocess.run(probe, env=environment, capture_output=True, check=False).returncode != 0


def test_a_mistake_in_a_method_keeps_nobody_else_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def losses(self: Any, views: Any, batch: Any, draw: Any) -> dict[str, Any]:
        return {"own_loss": batch.kept["start"].sum()}

    monkeypatch.setattr(Flow, "losses", losses)
    plan = make(ask("toy", "frozen", methods="flow,rebrac", tasks=("pixels-v0",), seeds="0"))
    found = fitting(plan, every=True)
    assert [pack.first.method for pack in found.packs] == ["rebrac"]
    assert list(found.unfit.values()) == ["flow on pixels-v0: KeyError: 'start'"]
    monkeypatch.undo()
    assembly.forget()
    monkeypatch.setattr(methods._flow, "euler", lambda flow, start, problem: start @ start)
    with pytest.raises(SettingsError, match=r"flow, rebrac on pixels-v0: TypeError: .* \(methods/_flow.py, line \d+\)"):
        fitting(plan, every=True)


def test_what_is_kept_is_kept_while_the_base_acts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(self: Any, views: Any, obs: Any, draw: Any) -> Any:
        start = views.held.flow.at(obs).start(draw, "act_noise")
        return views.problem.to_action(start), {"start": start}

    monkeypatch.setattr(Flow, "keeps", lambda self, problem: {"start": problem.L})
    monkeypatch.setattr(Flow, "act", act)
    plan = make(ask("toy", "frozen", methods="flow", tasks=("pixels-v0",), seeds="0"))
    with pytest.raises(SettingsError, match=r"base_act answers with \{\} beside its chunk, and it says that it keeps"):
        fitting(plan, every=False)
    monkeypatch.setattr(Flow, "base_act", act)
    assert fitting(plan, every=False) == plan
