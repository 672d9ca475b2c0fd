"""Whether methods fit where they are to run: told while a plan is made, and without a device."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.planning.errors import SettingsError
from benchmark.planning.plan import make
from benchmark.planning.request import ask
from benchmark.training.fit import fitting

ROOT = Path(__file__).parents[3]


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
