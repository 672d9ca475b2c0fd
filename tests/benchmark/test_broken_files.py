"""Data files and methods that are broken: each is unavailable, with the reason in a sentence, and keeps nobody else
from anything."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import methods
from tests.benchmark.commands import Said
from tests.benchmark.pretend import TABLE
from tests.benchmark.test_launch import ROOT, TOY, assert_told, said

pytestmark = pytest.mark.slow

GOOD = '''"""The flow, looked at twice."""

from dataclasses import dataclass

from methods.flow import Flow
from methods._contract import Array, Fraction, Method


@dataclass(frozen=True)
class Twice(Flow):
    beta: Fraction
'''
DATA = b"[default]\nbeta = 0.5\n"
REFUSES = """
    def __post_init__(self):
        if self.beta == 0.5:
            raise ValueError("not half")
"""
WORDLESS = """
    def __post_init__(self):
        raise Wordless


class Wordless(Exception):
    def __str__(self):
        raise RuntimeError
"""
FIXED = "beta: float = __import__('dataclasses').field(init=False, default=0.5)"
METHODS: dict[str, tuple[str, bytes, str]] = {
    "default_a_number": (GOOD, b"default = 3\n", "default in methods/default_a_number.toml is 3; it must be a table"),
    "default_a_list": (GOOD, b"default = [1]\n", "it must be a table"),
    "cost_a_word": (GOOD, DATA + b'[cost]\nquick = "much"\n', "quick in methods/cost_a_word.toml [cost] is 'much'"),
    "cost_negative": (GOOD, DATA + b"[cost]\nquick = -1\n", "it must be more than 0"),
    "cost_of_nothing": (GOOD, DATA + b"[cost]\nquik = 1\n", "did you mean 'quick'"),
    "domain_a_number": (GOOD, DATA + b"[domain]\nbandit = 3\n", "bandit in methods/domain_a_number.toml [domain] is 3"),
    "domain_of_nobody": (GOOD, DATA + b"[domain.bandid]\nbeta = 0.1\n", "did you mean 'bandit'"),
    "elsewhere_too_large": (GOOD, DATA + b"[domain.cube-double-play]\nbeta = 2.0\n", "beta in methods/"),
    "elsewhere_a_word": (GOOD, DATA + b'[preset.paper.ogbench]\nbeta = "a"\n', "[preset.paper.ogbench] is 'a'"),
    "run_of_nothing": (GOOD, DATA + b"[run]\nbatchsize = 3\n", "did you mean 'batch_size'"),
    "run_negative": (GOOD, DATA + b"[run]\nlearning_rate = -1\n", "it must be more than 0"),
    "source_a_number": (GOOD, DATA + b"source = 3\n", "it must be a text"),
    "not_utf8": (GOOD, DATA + b"# \xff\n", "is not UTF-8 text"),
    "not_toml": (GOOD, b"[default\n", "is not valid TOML"),
    "twice_said": (GOOD, DATA + b"beta = 0.6\n", "is not valid TOML"),
    "a_date": (GOOD, b"[default]\nbeta = 2020-01-01\n", "put it in quotes"),
    "no_data": (GOOD, b"", "no value"),
    "leaves": ("raise SystemExit(0)\n", DATA, "cannot be imported: SystemExit"),
    "leaves_by_exit": ("import sys\nsys.exit('so long')\n", DATA, "cannot be imported: SystemExit: so long"),
    "no_syntax": ("class Twice(:\n", DATA, "cannot be imported: SyntaxError"),
    "no_method": ("X = 1\n", DATA, "defines 0 methods"),
    "no_act": (GOOD.replace("(Flow)", "(Method)"), DATA, "Twice does not define act"),
    "no_dataclass": (GOOD.replace("@dataclass(frozen=True)\n", ""), DATA, "write @dataclass(frozen=True) above it"),
    "no_such_type": (GOOD.replace("beta: Fraction", "beta: 'Fractoin'"), DATA, "an annotation that can't be resolved"),
    "no_type_of_a_file": (GOOD.replace("beta: Fraction", "beta: Array"), DATA, "nothing that a file can say"),
    "refuses": (GOOD + REFUSES, DATA, "method refuses can't be made with beta=0.5 (ValueError: not half)"),
    "refuses_elsewhere": (GOOD + REFUSES, DATA.replace(b"0.5", b"0.4") + b"[domain.bandit]\nbeta = 0.5\n", "not half"),
    "refuses_both": (
        GOOD
        + REFUSES.replace("self.beta == 0.5", "self.beta == 0.1 and self.gamma == 0.1")
        + "\n    gamma: Fraction\n",
        b"[default]\nbeta = 0.5\ngamma = 0.5\n[domain.bandit]\nbeta = 0.1\n[preset.quick.toy]\ngamma = 0.1\n",
        "not half",
    ),
    "refuses_by_exit": (GOOD + REFUSES.replace("ValueError", "SystemExit"), DATA, "(SystemExit: not half)"),
    "no_rule": (GOOD + "    value = 3\n", DATA, "no method, or no value rule"),
    "another_thing": (
        GOOD + "    def __new__(cls, *a, **k):\n        return None\n",
        DATA,
        "no method, or no value rule",
    ),
    "beyond_float32": (GOOD.replace("Fraction", "Positive"), b"[default]\nbeta = 1e39\n", "float32 does not hold"),
    "run_beyond_float32": (GOOD, DATA + b"[run]\nlearning_rate = 1e-40\n", "float32 does not hold"),
    "clip_norm_beyond_float32": (GOOD + "    clip_norm = 1e39\n", DATA, "float32 does not hold"),
    "class_word_as_field": (
        GOOD.replace("beta: Fraction", "average_every: int"),
        b"[default]\naverage_every = 0\n",
        "the field 'average_every', which means something else",
    ),
    "refuses_wordless": (GOOD + WORDLESS, DATA, "can't be made with beta=0.5 (Wordless)"),
    "leaves_wordless": (GOOD + WORDLESS + "\nraise Wordless\n", DATA, "cannot be imported: Wordless"),
    "setting_as_field": (GOOD.replace("beta: Fraction", "heads: int"), b"[default]\nheads = 3\n", "call it otherwise"),
    "field_not_given": (GOOD.replace("beta: Fraction", FIXED), DATA, "can't be made with beta=0.5 (TypeError"),
    "clip_norm_nan": (GOOD + "    clip_norm = float('nan')\n", DATA, "clip_norm in methods/clip_norm_nan.py is nan"),
    "clip_norm_word": (GOOD + "    clip_norm = 'a'\n", DATA, "clip_norm in methods/clip_norm_word.py is 'a'"),
    "clip_norm_negative": (GOOD + "    clip_norm = -1.0\n", DATA, "it must be at least 0"),
    "average_never": (GOOD + "    average_every = 0\n", DATA, "average_every in methods/average_never.py is 0"),
    "averaged_a_word": (GOOD + "    averaged = 'critic'\n", DATA, "averaged in methods/averaged_a_word.py is 'critic'"),
    "backbone_of_nobody": (GOOD + "    published_backbone = 'papers'\n", DATA, "did you mean 'paper'"),
    "run": (GOOD, DATA, "methods/run.py has a name that means something else in commands"),
    "all": (GOOD, DATA, "methods/all.py has a name that means something else"),
    "thawed": (GOOD.replace("frozen=True", "frozen=False"), DATA, "cannot be imported: TypeError"),
}
PRESETS: dict[str, tuple[str, str]] = {
    "a_number": ("toy = 3\n", "toy in presets/a_number.toml is 3; it must be a table"),
    "no_suite": ("[tyo]" + TABLE.replace("[toy", "[tyo"), "did you mean 'toy'"),
    "no_data": ("[toy]" + TABLE.replace("[toy.data]\nsource", "[toy.settings]\nwarm_up"), "does not say data"),
    "no_source": ("[toy]" + TABLE.replace("source =", "seed = 0 #"), "does not say source"),
    "wrong_source": ("[toy]" + TABLE.replace("generated", "genrated"), "did you mean 'generated'"),
    "no_cost": ("[toy]" + TABLE.partition("[toy.cost]")[0], "does not say cost"),
    "negative_cost": ("[toy]" + TABLE.replace("seconds_per_update = 1", "seconds_per_update = -1"), "more than 0"),
    "no_seeds": ("[toy]" + TABLE.replace("seeds = 1", ""), "does not say seeds"),
    "negative_seeds": (
        "[toy]" + TABLE.replace("seeds = 1", "seeds = -1"),
        "seeds in presets/negative_seeds.toml [toy]",
    ),
    "worded_seeds": ("[toy]" + TABLE.replace("seeds = 1", 'seeds = "all"'), "it must be an integer"),
    "tasks_a_text": ("[toy]" + TABLE.replace('["b*-v0", "corridor-v0"]', '"*"'), "it must be a list"),
    "no_tasks": ("[toy]" + TABLE.replace('["b*-v0", "corridor-v0"]', "[]"), "it must be of 1 at least"),
    "unknown_setting": ("[toy]" + TABLE + "[toy.settings]\nhedas = 2\n", "did you mean 'heads'"),
    "setting_of_another_kind": ("[toy]" + TABLE + "[toy.settings]\nheads = 2.5\n", "it must be an integer"),
    "score_misspelt": ('[toy]\nscore = "sucess"' + TABLE, "did you mean 'success'"),
    "score_a_number": ("[toy]\nscore = 3" + TABLE, "score in presets/score_a_number.toml [toy] is 3"),
    "score_of_a_control": (
        '[ogbench]\nscore = "control_best"' + TABLE.replace("[toy", "[ogbench"),
        "score in presets/score_of_a_control.toml [ogbench] is 'control_best'; it must be one of 'success' or ",
    ),
    "unknown_table": ("[toy]" + TABLE + "[toy.setings]\nheads = 2\n", "did you mean 'settings'"),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    """What commands say in a copy of the packages with all of these beside those that are well."""
    root = tmp_path_factory.mktemp("broken")
    for package in ("analysis", "benchmark", "envs", "methods"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (code, data, _) in METHODS.items():
        (root / "methods" / f"{name}.py").write_text(code)
        (root / "methods" / f"{name}.toml").write_bytes(data)
    for name, (text, _) in PRESETS.items():
        (root / "benchmark" / "planning" / "presets" / f"{name}.toml").write_text(text)
    commands = {"help": ("--help",), "all": (*TOY, "--preset", "quick", "--executor", "local", "--dry-run")}
    quick = (*TOY, "--preset", "quick", "--dry-run", "--methods")
    commands |= {f"method {name}": (*quick, name) for name in METHODS if name != "all"}
    commands |= {f"preset {name}": (*TOY, "--preset", name, "--methods", "flow", "--dry-run") for name in PRESETS}
    return dict(zip(commands, said(root / "said", list(commands.values()), root), strict=True))


@pytest.mark.parametrize("name", [name for name in METHODS if name != "all"])  # which nobody can ask for
def test_a_broken_method_is_unavailable(broken: dict[str, Said], name: str) -> None:
    assert_told(broken[f"method {name}"], METHODS[name][2])


@pytest.mark.parametrize("name", PRESETS)
def test_a_broken_preset_is_unavailable(broken: dict[str, Said], name: str) -> None:
    assert_told(broken[f"preset {name}"], PRESETS[name][1])


def test_they_stop_nobody_else(broken: dict[str, Said]) -> None:
    found = broken["all"]
    assert found.status == 0, found.err
    assert f"{len(methods.names()) * 3 * 4} cells" in found.out
    assert broken["help"].status == 0


def test_each_is_listed_with_its_reason(broken: dict[str, Said]) -> None:
    unwrapped = " ".join(broken["help"].out.replace("│", " ").split())
    for name, (_, _, reason) in METHODS.items():
        assert name in unwrapped
        assert reason in unwrapped, name
    for name, (_, reason) in PRESETS.items():
        assert f"presets/{name}.toml" in unwrapped
        assert reason in unwrapped, name


def test_a_broken_suite_stops_no_other(tmp_path: Path) -> None:
    for package in ("analysis", "benchmark", "envs", "methods"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "envs" / "toy" / "worlds.toml").write_text("facts = 3\n")
    words = ("--executor", "local", "--dry-run", "--preset", "quick", "--methods", "all", "--suite")
    toy, other = said(tmp_path / "said", [(*words, "toy"), (*words, "ogbench")], tmp_path)
    assert_told(toy, "facts in envs/toy/worlds.toml is 3; it must be a table")
    assert other.status == 0, other.err
    assert f"{len(methods.names())} methods" in other.out


def test_the_files_themselves_are_well(tmp_path: Path) -> None:
    """What the cases are made from is not what is wrong with them."""
    for package in ("analysis", "benchmark", "envs", "methods"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "methods" / "well.py").write_text(GOOD)
    (tmp_path / "methods" / "well.toml").write_bytes(DATA)
    (tmp_path / "benchmark" / "planning" / "presets" / "well.toml").write_text("[toy]" + TABLE)
    (found,) = said(tmp_path / "said", [(*TOY, "--preset", "well", "--methods", "well", "--dry-run")], tmp_path)
    assert found.status == 0, found.err
