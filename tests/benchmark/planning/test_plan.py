"""From words to cells: how many there are, what names them, and that planning needs nothing but words."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import methods
from benchmark.planning import data_files, plan, request, settings
from benchmark.planning.errors import SettingsError
from benchmark.planning.plan import (
    PROTOCOL,
    Plan,
    as_settings,
    build_method,
    identities,
    key_of,
    make,
    value_rule,
)
from benchmark.planning.request import Request, ask
from benchmark.planning.run_settings import Settings, before
from envs import load_suite
from envs._documents import DocumentError
from envs._suite import SuiteError
from methods._contract import added
from methods._values import IQL, TD
from methods.fql import FQL
from methods.ifql import IFQL

ROOT = Path(__file__).parents[3]
METHODS = len(data_files.available()[0])
FIXED: dict[str, Any] = {
    "protocol": 1,
    "suite": "toy",
    "task": "bandit-v0",
    "domain": "bandit",
    "method": "fql",
    "preset": "quick",
    "backbone": "reference",
    "value": "own",
    "data": {"source": "generated", "name": "bandit", "procedure": "sides", "version": 1, "seed": 0, "episodes": 500},
    "settings": {"discount": 0.9, "learning_rate": 3e-4, "sparse": False, "actor_widths": [32, 32]},
    "hyperparameters": {"alpha": 1.0, "best_of_n": 1},
    "seed": 3,
}
FIXED_KEY = "9868eab036a7b40c"


def bandit(**changes: Any) -> Plan:
    return make(ask(**{"suite": "toy", "preset": "quick", "methods": "fql", "tasks": ("bandit-*",)} | changes))


def told(**changes: Any) -> str:
    with pytest.raises((DocumentError, SuiteError)) as caught:
        bandit(**changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_key_never_changes() -> None:
    """It names every result there is. If this fails, the runs of all users start again from nothing."""
    assert key_of(FIXED) == FIXED_KEY
    assert key_of(dict(reversed(FIXED.items()))) == FIXED_KEY
    assert key_of(json.loads(json.dumps(FIXED))) == FIXED_KEY
    assert FIXED["protocol"] == PROTOCOL


def paths(tree: Mapping[str, Any], before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    deeper = [
        paths(value, (*before, name)) if isinstance(value, dict) else [(*before, name)] for name, value in tree.items()
    ]
    return [path for each in deeper for path in each]


@pytest.mark.parametrize("path", paths(FIXED), ids=".".join)
def test_a_key_depends_on_every_part_of_the_configuration(path: tuple[str, ...]) -> None:
    changed = json.loads(json.dumps(FIXED))
    inner = changed
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = "another" if inner[path[-1]] != "another" else "one"
    assert key_of(changed) != FIXED_KEY


OTHER = {"sparse": "true", "actor_widths": "[7]", "value_widths": "[7]", "discount": "0.5", "pessimism": "0.25"}
OTHER |= {"learning_rate": "0.5", "target_rate": "0.5", "clip_norm": "0.5", "value_start": "0.5"}
OTHER |= {"sampling": "balanced", "warm_up": "uniform", "online_steps": "77", "learning_rate_end": "0.5"}
OTHER |= {"encoder_channels": "[7,7,7,7]", "encoder_strides": "[7,7,7,7]", "learning_rates": '[["flow",0.5]]'}


@pytest.mark.parametrize("name", [each.name for each in dataclasses.fields(Settings)])
def test_a_key_depends_on_every_setting_of_the_run(name: str) -> None:
    said = {"offline_steps": "0"}  # balanced batches allow no other
    base, changed = (
        bandit(settings=[f"run.{key}={value}" for key, value in each.items()])
        for each in (said, said | {name: OTHER.get(name, "7")})
    )
    assert base.cells[0].key != changed.cells[0].key
    settings = [plan.cells[0].configuration["settings"].keys() for plan in (base, changed)]
    assert settings[1] - settings[0] == ({name} & before(Settings).keys())  # left out where it is as before


@pytest.mark.parametrize(
    "change",
    [
        {"settings": ("fql.alpha=7",)},
        {"settings": ("fql.best_of_n=2",)},
        {"seeds": "1"},
        {"tasks": ("corridor-*",)},
        {"methods": "ifql"},
        {"value": "td"},
        {"backbone": "paper"},
    ],
    ids=str,
)
def test_a_key_depends_on_every_word_that_changes_a_result(change: dict[str, Any]) -> None:
    assert bandit(seeds="0").cells[0].key != bandit(**({"seeds": "0"} | change)).cells[0].key


def test_a_key_depends_on_nothing_else() -> None:
    """Folders, jobs and executors are no part of a request, nor is the order or number of the seeds beside it."""
    assert {each.name for each in dataclasses.fields(Request)} == {
        *("suite", "preset", "methods", "tasks", "seeds", "settings", "sweeps", "value", "backbone", "data"),
        "every",  # which says what to leave out
    }
    assert set(bandit().cells[0].configuration) == set(FIXED)
    keys = {cell.seed: cell.key for cell in bandit().cells}
    assert {cell.seed: cell.key for cell in bandit(seeds="3,2").cells} == {seed: keys[seed] for seed in (2, 3)}
    assert bandit(data="generated").cells[0].key == keys[0]
    everything = make(ask("toy", "quick"))
    assert set(keys.values()) < {cell.key for cell in everything.cells}


@pytest.mark.parametrize(
    ("suite", "preset", "tasks", "seeds"),
    [("ogbench", "paper", 50, 8), ("ogbench", "quick", 1, 3), ("ogbench", "cpu", 2, 3)],
)
def test_the_number_of_cells(suite: str, preset: str, tasks: int, seeds: int) -> None:
    plan = make(ask(suite, preset))
    assert len(plan.packs) == METHODS * tasks
    assert len(plan.cells) == METHODS * tasks * seeds
    assert len({cell.key for cell in plan.cells}) == len(plan.cells)
    assert len({pack.name for pack in plan.packs}) == len(plan.packs)
    assert len(identities(plan.packs)) == {"paper": 10, "quick": 1, "cpu": 1}[preset]


def test_the_toy_suite() -> None:
    plan = make(ask("toy", "quick"))
    assert len(plan.cells) == METHODS * 3 * 4
    assert {cell.task for cell in plan.cells} == {"bandit-v0", "corridor-v0", "between-v0"}


def test_a_pack_differs_in_its_seed_alone() -> None:
    (pack,) = bandit(seeds="5,0-2").packs
    assert [cell.seed for cell in pack.cells] == [5, 0, 1, 2]
    seedless = [{name: value for name, value in cell.configuration.items() if name != "seed"} for cell in pack.cells]
    assert seedless == seedless[:1] * 4
    assert pack.name not in {cell.key for cell in pack.cells}


def test_a_plan_is_the_same_plan_every_time() -> None:
    assert make(ask("toy", "quick")).name == make(ask("toy", "quick")).name
    assert bandit().name != bandit(seeds="0").name


def test_a_configuration_survives_json_and_builds_its_method() -> None:
    for cell in make(ask("ogbench", "paper", tasks=("puzzle-3x3*task1-v0",), seeds="0")).cells:
        stored = json.loads(json.dumps(cell.configuration))
        assert key_of(stored) == cell.key
        settings = as_settings(stored["settings"])
        assert settings.actor_widths == (512,) * 4
        method = build_method(methods.load(cell.method), stored)
        assert dataclasses.asdict(method) == before(methods.load(cell.method)) | stored["hyperparameters"]


def test_globs_and_domains() -> None:
    def chosen(preset: str = "paper", **changes: Any) -> list[str]:
        return [cell.task for cell in make(ask("ogbench", preset, methods="fql", seeds="0", **changes)).cells]

    known = list(load_suite("ogbench").tasks())
    assert chosen() == chosen(tasks=("*",)) == known
    assert chosen(preset="quick") == ["puzzle-3x3-play-singletask-task1-v0"]
    assert chosen(tasks=("puzzle-*", "cube-double-*task2-v0")) == [
        name for name in known if name.startswith("puzzle-") or name == "cube-double-play-singletask-task2-v0"
    ]
    assert chosen(domains=("cube-double-play",)) == [name for name in known if name.startswith("cube-double")]
    assert chosen(domains=("cube-double",)) == chosen(domains=("cube-double-play",))
    assert chosen(domains=("cube-double-play",), tasks=("*task1*",)) == ["cube-double-play-singletask-task1-v0"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"suite": "tyo"}, ["unknown suite 'tyo'", "did you mean 'toy'"]),
        ({"preset": "quik"}, ["no preset 'quik'", "did you mean 'quick'"]),
        ({"methods": "fqll"}, ["unknown method 'fqll'", "did you mean 'fql'"]),
        ({"methods": ","}, ["it names nothing"]),
        ({"tasks": ("bandot-v0",)}, ["no task of suite 'toy' matches 'bandot-v0'", "did you mean 'bandit-v0'"]),
        ({"tasks": ("bandit-v0", "nothing-*")}, ["matches 'nothing-*'"]),
        ({"domains": ("bandits",)}, ["unknown domain 'bandits'", "did you mean 'bandit'", "bandit, corridor, between"]),
        ({"suite": "ogbench", "domains": ("cube-dubble",)}, ["did you mean 'cube-double'", "scene-play-sparse"]),
        ({"suite": "ogbench", "tasks": ("cube-dubble*",)}, ["cube-double-play-singletask-task[1-5]-v0"]),
        ({"tasks": ("bandit-*",), "domains": ("corridor",)}, ["in both --tasks and --domains"]),
        ({"backbone": "papr"}, ["unknown backbone 'papr'", "did you mean 'paper'"]),
        ({"value": "iqll"}, ["unknown value rule 'iqll'", "did you mean 'iql'"]),
        ({"data": "offical"}, ["unknown data 'offical'", "did you mean 'official'"]),
        ({"data": "official"}, ["the toy suite has no official data"]),
        ({"settings": ("ifql.samples=2",)}, ["'ifql' is no method of this plan", "did you mean 'fql'"]),
        ({"settings": ("fql.aplha=2",)}, ["'aplha'", "did you mean 'alpha'"]),
        ({"settings": ("run.alpah=2",)}, ["'alpah'", "did you mean 'alpha'"]),
        ({"settings": ("value.expectile=0.5",)}, ["needs --value"]),
        ({"value": "iql", "settings": ("value.expectil=0.5",)}, ["no setting 'expectil'", "did you mean 'expectile'"]),
        ({"value": "iql", "settings": ("value.expectile=high",)}, ["must be a number"]),
    ],
    ids=str,
)
def test_a_wrong_word_is_told(change: dict[str, Any], words: list[str]) -> None:
    text = told(**change)
    for word in words:
        assert word in text


def rule_of(**changes: Any) -> Any:
    configuration = bandit(**changes).cells[0].configuration
    return value_rule(configuration, build_method(methods.load(configuration["method"]), configuration))


def test_one_value_rule_for_all_methods() -> None:
    assert rule_of() == TD()
    assert rule_of(methods="ifql", settings=("ifql.expectile=0.6",)) == IQL(0.6)
    assert rule_of(value="iql") == IQL(0.9)
    assert rule_of(value="iql", settings=("value.expectile=0.7",)) == IQL(0.7)
    assert rule_of(methods="ifql", value="td") == TD()
    mixed = make(ask("toy", "quick", value="iql", settings=("value.expectile=0.7",)))
    assert {cell.configuration["settings"]["value.expectile"] for cell in mixed.cells} == {0.7}


def test_overrides_reach_whom_they_name() -> None:
    plan = make(ask("toy", "quick", methods="fql,ifql", settings=("run.batch_size=7", "ifql.samples=2", "fql.heads=5")))
    found = {cell.method: cell.configuration for cell in plan.cells}
    assert [found[name]["settings"]["batch_size"] for name in ("fql", "ifql")] == [7, 7]
    assert [found[name]["settings"]["heads"] for name in ("fql", "ifql")] == [5, 3]
    assert isinstance(build_method(FQL, found["fql"]), FQL)
    rebuilt = build_method(IFQL, found["ifql"])
    assert isinstance(rebuilt, IFQL)
    assert rebuilt.samples == 2


def test_what_makes_a_method_yields_to_its_own_name_alone() -> None:
    for words, wanted in ((("run.offline_steps=9",), 0), (("rlpd.sampling=joint", "rlpd.offline_steps=9"), 9)):
        plan = make(ask("toy", "quick", methods="rlpd,fql", settings=(*words, "run.online_steps=80")))
        found = {cell.method: cell.configuration["settings"] for cell in plan.cells}
        assert found["rlpd"]["offline_steps"] == wanted
        assert found["rlpd"]["online_steps"] == 80
        assert found["fql"]["offline_steps"] == (9 if "run.offline_steps=9" in words else 800)


def test_an_error_of_the_settings_names_the_method() -> None:
    with pytest.raises(SettingsError, match=r"^rlpd: sampling is balanced"):
        make(ask("toy", "quick", methods="fql,rlpd", settings=("run.start_training=1",)))


@pytest.mark.parametrize(
    ("preset", "data", "source"),
    [
        ("paper", "preset", "official"),
        ("quick", "preset", "generated"),
        ("quick", "official", "official"),
        ("quick", "generated", "generated"),
        ("paper", "generated", "generated"),
    ],
)
def test_which_data(preset: str, data: str, source: str) -> None:
    plan = make(ask("ogbench", preset, methods="fql", tasks=("puzzle-3x3*task1*",), seeds="0", data=data))
    (identity,) = identities(plan.packs)
    assert identity["source"] == source
    assert plan.cells[0].configuration["data"] == identity


def test_official_data_are_taken_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    tasks = ("antmaze-large*task1*", "humanoidmaze-large*task1*", "scene*task1*")
    request = ask("ogbench", "paper", methods="fql", tasks=tasks, seeds="0", data="auto")
    (tmp_path / "scene-play-v0.npz").touch()
    found = [identity["source"] for identity in identities(make(request, tmp_path).packs)]
    assert found == ["generated", "official", "official"]  # nobody generates humanoid mazes


def test_data_are_sized_by_the_command_line() -> None:
    words = ("data.procedure=noisy", "data.episodes=8")
    plan = make(ask("ogbench", "quick", methods="fql", tasks=("puzzle-3x3*task1*",), seeds="0", settings=words))
    (cell,) = plan.cells
    assert {name: cell.configuration["data"][name] for name in ("procedure", "episodes", "seed")} == {
        "procedure": "noisy",
        "episodes": 8,
        "seed": 0,
    }
    assert [cell.provenance[f"data.{name}"] for name in ("procedure", "episodes")] == ["command line"] * 2
    assert cell.provenance["data.seed"] == "preset quick [ogbench]"
    assert cell.provenance["data.version"] == "suite ogbench"
    usual = make(ask("ogbench", "quick", methods="fql", tasks=("puzzle-3x3*task1*",), seeds="0"))
    assert usual.cells[0].key != cell.key


def test_words_about_data_reach_those_they_are_about() -> None:
    tasks = ("puzzle-4x4*task1*", "scene*task1*")
    plan = make(ask("ogbench", "paper", methods="fql", tasks=tasks, seeds="0", settings=("data.shards=10",)))
    assert {data["name"]: data.get("shards") for data in identities(plan.packs)} == {
        "puzzle-4x4-play-100m-v0": 10,
        "scene-play-v0": None,
    }


@pytest.mark.parametrize(
    ("word", "suite", "data", "sentence"),
    [
        ("data.source=official", "ogbench", "preset", "is said with --data"),
        ("data.episodes=8", "ogbench", "official", r"is about other data than puzzle-3x3-play-v0 \(official\)"),
        ("data.episode=8", "ogbench", "preset", "did you mean episodes"),
        ("data.episodes=0", "toy", "preset", "episodes of the data is 0: give an integer from 1 to 1,000,000"),
        ("data.procedure=noisy", "toy", "preset", "unknown setting 'procedure' of data"),
    ],
)
def test_settings_of_data_that_there_are_not(word: str, suite: str, data: str, sentence: str) -> None:
    tasks = ("puzzle-3x3*task1*",) if suite == "ogbench" else ()
    with pytest.raises((DocumentError, SuiteError), match=sentence):
        make(ask(suite, "quick", methods="fql", tasks=tasks, seeds="0", settings=(word,), data=data))


PURE = """
import sys
from benchmark.planning.plan import make
from benchmark.planning.request import ask
from benchmark.runs.estimate import estimate
for suite, preset in (("ogbench", "paper"), ("toy", "quick")):
    make(ask(suite, preset))
print(sorted({"mlflow", "ogbench", "mujoco", "torch", "gymnasium", "dm_control", "submitit"} & set(sys.modules)))
"""


def test_planning_imports_neither_simulator_nor_tracker(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    said = subprocess.run(
        [sys.executable, "-c", PURE], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout == "[]\n"


with (ROOT / "tests" / "data" / "keys.csv").open() as file:
    KEYS = list(csv.DictReader(file))


@pytest.mark.parametrize("row", KEYS, ids=lambda row: "-".join(list(row.values())[:3]))
def test_keys_stay_as_they_are(row: dict[str, str]) -> None:
    """Whatever is added to the program: a key that changes makes all that was computed be computed again. If it must,
    change this file, and say so in BENCHMARK.md's changes."""
    found = sorted(cell.key for cell in make(ask(row["suite"], row["preset"], row["method"])).cells)
    assert len(found) == int(row["cells"])
    assert hashlib.sha256("".join(found).encode()).hexdigest()[:16] == row["sha256"]


def test_every_method_is_held_to_its_keys() -> None:
    """A method that is new gets its rows: `benchmark.planning.plan.make` says what they are."""
    assert {row["method"] for row in KEYS} == set(methods.names())


@dataclass(frozen=True)
class LaterSettings(Settings):
    """The settings after somebody added two."""

    warmth: float = added(before=0.0, default=0.5)
    colour: str = added(before="grey", default="grey")


@dataclass(frozen=True)
class LaterFQL(FQL):
    softness: float = added(before=0.0)


def test_a_setting_that_is_added_changes_no_key_at_the_value_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    (now,) = bandit(methods="fql", seeds="0").cells
    for module in (data_files, plan, request, settings):
        monkeypatch.setattr(module, "Settings", LaterSettings)
    monkeypatch.setattr(methods, "load", lambda name: LaterFQL)
    as_before = ("run.warmth=0", "fql.softness=0")
    (later,) = bandit(methods="fql", seeds="0", settings=as_before).cells
    assert later.key == now.key
    assert later.configuration == now.configuration
    filled = as_settings(now.configuration["settings"])
    assert isinstance(filled, LaterSettings)
    assert (filled.warmth, filled.colour) == (0.0, "grey")
    assert build_method(LaterFQL, now.configuration).softness == 0.0  # pyright: ignore[reportAttributeAccessIssue]
    for words in (("fql.softness=0",), ("run.warmth=0.1", "fql.softness=0"), ("run.warmth=0", "fql.softness=0.1")):
        (other,) = bandit(methods="fql", seeds="0", settings=words).cells
        assert other.key != now.key
