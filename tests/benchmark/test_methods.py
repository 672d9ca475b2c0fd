"""What is told of a method: its published size, its declared cost, and a line for every question."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest

import methods
from benchmark import methods as listing
from benchmark.planning.data_files import method_file, presets
from benchmark.planning.errors import SettingsError
from benchmark.planning.plan import make
from benchmark.planning.request import ask
from benchmark.training.build import build_agent
from envs._command_line import carried_out

ROOT = Path(__file__).parents[2]

TOTALS = {
    **{"rebrac": 9_068_579, "fbrac": 9_081_891, "fql": 9_914_940, "qam": 9_915_452, "qam_e": 10_761_327},
    **{"qam_f": 10_748_501, "dsrl": 18_163_296, "ifql": 9_893_924, "fawac": 9_893_924, "fedit": 9_927_766},
    **{"cgql": 9_087_011, "cgql_m": 9_087_011, "cgql_l": 9_087_011, "bam": 9_915_452, "qsm": 10_164_803},
    **{"dac": 10_164_803, "rlpd": 9_081_405},
}
"""Trained parameters of the released configuration of Li & Levine 2026 (arXiv 2601.14234), d_s = 37, A = 5, H = 5."""


@pytest.mark.parametrize(("name", "total"), TOTALS.items())
def test_parameters_as_published(name: str, total: int) -> None:
    has = methods.load(name).__dataclass_fields__
    switches = tuple(f"{name}.{part}=true" for part in ("edit", "distil") if part in has)
    request = ask("ogbench", "paper", name, ("cube-double*task1-v0",), seeds="0", settings=switches)
    agent = build_agent(make(request).cells[0])[2]
    shapes = [jax.eval_shape(network.init, jax.random.PRNGKey(0)) for network in agent.networks.values()]
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == total


@pytest.mark.parametrize("name", methods.names())
def test_every_method_says_what_it_is(name: str) -> None:
    words = listing.told(name)
    assert all(words.values())
    assert methods.load(name).family in ("Gaussian", "backprop", "fine-tuning", "steering", "cloning")


@pytest.mark.slow
@pytest.mark.parametrize("preset", presets("ogbench"))
@pytest.mark.parametrize("method", methods.names())
def test_declared_costs_are_the_counted_ones(method: str, preset: str) -> None:
    """Multiplications of an update in updates of the base flow, as the estimate of a plan takes them."""
    declared = method_file(method).cost.get(preset, 1.0)
    assert declared == pytest.approx(listing.times_flow("ogbench", preset, method), rel=0.1)


@pytest.mark.parametrize(("name", "part"), [("qam_e", "edit"), ("qam_f", "distil")])
@pytest.mark.parametrize("preset", presets("ogbench"))
def test_a_method_is_counted_where_all_of_it_is_there(name: str, part: str, preset: str) -> None:
    """The first task of `quick` has no distillation: what is counted there would be another method."""
    assert listing.cell_of("ogbench", preset, name).configuration["hyperparameters"][part] is True


def test_what_declares_no_cost_is_counted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product of one forward pass is the sum over its layers, and an update of the flow is known by hand."""
    table = method_file("fql").model_copy(update={"cost": {}})
    monkeypatch.setattr(listing, "method_file", lambda name: table)
    lines = listing.describe(listing.cell_of("toy", "quick", "fql"))
    told = next(line.split()[-1] for line in lines if line.strip().startswith("times flow"))
    assert 1.3 < float(told) < 1.8


def test_the_listing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "--methods", "flow,dsrl", "--suite", "toy", "--preset", "quick")
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= listing.WIDTH + 20
    dsrl = printed.split("\ndsrl: ")[1]
    for label in ("family", "trains", "averages", "tuned", "reference", "differs", "parameters", "update", "action"):
        assert f"\n  {label:<14}" in dsrl
    assert "noise_scale 0.4 to 1.4" in dsrl
    assert "coefficients" in dsrl
    assert "fixes" not in dsrl
    assert listing.defaults("bon") == "best_of_n 8"
    assert listing.tuned("cgql").startswith("inverse_temperature 10, guidance 0.01 to 0.1")
    assert listing.fixed("rlpd") == "offline_steps=0, sampling=balanced, warm_up=uniform"


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["methods", *words])
    return carried_out(listing.run, SettingsError)


@pytest.mark.parametrize("preset", ["quick", "cpu", "paper"])
def test_the_listing_needs_no_data(
    preset: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--methods", "flow", "--preset", preset)
    printed = capsys.readouterr().out
    assert f"Sizes of preset {preset} of suite ogbench" in printed
    assert "\nflow: Behaviour cloning" in printed


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("--methods", "dslr"), "did you mean 'dsrl'?"),
        (("--suite", "nope"), "unknown suite 'nope'"),
        (("--preset", "quik"), "did you mean 'quick'?"),
        (("--metods", "fql"), "--methods"),
    ],
)
def test_a_wrong_word_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], wanted: str
) -> None:
    assert run(monkeypatch, *words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert wanted in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.slow
def test_each_method_is_printed_as_soon_as_it_is_counted_and_a_reader_may_leave() -> None:
    """Like `head`: the second method is still being counted when the first has been read."""
    command = [sys.executable, "-m", "benchmark.methods", "--methods", "bon,qam", "--suite", "toy", "--preset", "quick"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while not process.stdout.readline().startswith("bon: "):
            assert process.poll() is None
        process.stdout.close()
        assert process.stderr.read() == ""


def test_a_suite_without_the_usual_preset_is_told_by_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert listing.run(["--suite", "toy", "--methods", "flow", "bon"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Sizes of preset quick of suite toy.")
    assert "\nflow: " in said
    assert "\nbon: " in said
