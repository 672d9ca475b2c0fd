"""Layers of settings: later wins, each value says where it is from, and a wrong one says how to mend it."""

from __future__ import annotations

import csv
import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import pytest

import methods
from benchmark.planning import data_files
from benchmark.planning.data_files import preset_table, presets
from benchmark.planning.errors import SettingsError, Unfit, nearest
from benchmark.planning.request import select_tasks
from benchmark.planning.run_settings import FACTS, Settings, before
from benchmark.planning.settings import AS_PUBLISHED, BACKBONES, backbone_name, resolve
from envs import load_suite, suites
from envs._documents import DocumentError
from envs._suite import Task
from methods.fql import FQL
from tests.benchmark.pretend import TABLE

BANDIT = load_suite("toy").tasks()["bandit-v0"]
DATA = Path(__file__).parents[2] / "data" / "tuned.csv"
with DATA.open() as file:
    HEADER, *ROWS = csv.reader(file)
DOMAINS = tuple(HEADER[2:])
TUNED = {(row[0], row[1]): tuple(map(float, row[2:])) for row in ROWS}
"""The published values, in the order of DOMAINS: Li & Levine 2026 (arXiv 2601.14234); QPILOTS (arXiv 2606.14801).

Those of EXPO are FEdit's: it has no published row.
"""
UNPUBLISHED = {"flow", "bon"}
FIXED = {
    "ifql": {"samples": 32},
    "expo": {"candidates": 5},
    "rebrac": {"noise_clip": 0.5},
    "qpilots_m": {
        **{"samples": 8, "diagonal": 1.0, "consistency": 0.5, "softening": 0.01},
        **{"diagonal_power": 0.5, "consistency_power": 1.0},
    },
}
"""Published values that no domain changes."""
CLIPPED = ("bam", "dac", "qam", "qam_e", "qam_f", "qpilots_m", "qpilots_u", "qsm")


FIXED_OF_THE_RUN = {"rlpd": {"offline_steps": 0, "sampling": "balanced", "warm_up": "uniform"}}
SWITCHED = {"edit": "edit_scale", "distil": "alpha"}
"""What a static switch stands for: where the published number is 0, the method has no such part."""


def test_every_published_method_is_there() -> None:
    """A method of somebody's own may stand beside them."""
    assert {name for name, _ in TUNED} | UNPUBLISHED <= set(methods.names())


def ogbench_tasks() -> list[Task]:
    return list(load_suite("ogbench").tasks().values())


@pytest.mark.parametrize("name", sorted({name for name, _ in TUNED}))
def test_published_values_reach_every_task(name: str) -> None:
    cls = methods.load(name)
    for task in ogbench_tasks():
        found = resolve(cls, name, task, "ogbench", "paper")
        column = DOMAINS.index(task.domain)
        tuned = {key: values[column] for (owner, key), values in TUNED.items() if owner == name}
        of_form = before(cls)
        switches = {
            key: value for key, value in found.hyperparameters.items() if isinstance(value, bool) and key not in of_form
        }
        found.hyperparameters = {key: each for key, each in found.hyperparameters.items() if key not in of_form}
        assert found.hyperparameters == {"best_of_n": 1} | FIXED.get(name, {}) | tuned | switches
        assert list(switches.values()) == [tuned[SWITCHED[key]] > 0 for key in switches]
        assert found.settings["clip_norm"] == (1.0 if name in CLIPPED else 0.0)
        for key in tuned:
            assert f"[domain.{task.domain}]" in found.provenance[f"hyperparameters.{key}"]
            assert "arXiv" in found.provenance[f"hyperparameters.{key}"]


def test_every_domain_has_its_tasks() -> None:
    assert {task.domain for task in ogbench_tasks()} == set(DOMAINS)


def test_the_published_protocol() -> None:
    """Of the run: whatever the method, and nothing in a preset may have crept in."""
    wanted = {
        **{"offline_steps": 1_000_000, "online_steps": 500_000, "start_training": 5000, "evaluate_every": 50_000},
        **{"evaluation_episodes": 50, "log_every": 5000, "rotate_every": 1000, "batch_size": 256},
        **{"learning_rate": 3e-4, "target_rate": 0.005, "flow_steps": 10, "heads": 10, "value_start": 0.0},
        **{"sampling": "joint", "warm_up": "policy"},
        **{"actor_widths": (512,) * 4, "value_widths": (512,) * 4},
    }
    wanted |= before(Settings)
    for name, cls in data_files.available()[0].items():
        for task in ogbench_tasks():
            found = resolve(cls, name, task, "ogbench", "paper").settings
            facts = {key: getattr(task, key) for key in FACTS}
            own = {"clip_norm": 1.0 if name in CLIPPED else 0.0} | FIXED_OF_THE_RUN.get(name, {})
            assert found == wanted | facts | own


@pytest.mark.parametrize("suite", suites())
def test_every_combination_of_data_files_resolves(suite: str) -> None:
    """Each value has a provenance, and nothing lacks one."""
    for preset in presets(suite):
        for name, cls in data_files.available()[0].items():
            for task in select_tasks(suite, (), (), preset_table(suite, preset).tasks):
                try:
                    found = resolve(cls, name, task, suite, preset)
                except Unfit:
                    assert not task.offline, "a task without rows, and a method that needs them"
                    continue
                wanted = {f"settings.{field.name}" for field in dataclasses.fields(Settings)}
                wanted |= {f"hyperparameters.{key}" for key in found.hyperparameters}
                assert set(found.provenance) == wanted
                Settings(**found.settings)
                cls(**found.hyperparameters)


LAYERS: list[tuple[str, str, float]] = [
    ("preset mine [toy]", "[toy.settings]", 0.8),
    ("methods/fql.toml [default]", "[default]", 0.7),
    ("methods/fql.toml [domain.bandit]", "[domain.bandit]", 0.6),
    ("methods/fql.toml [preset.mine.toy]", "[preset.mine.toy]", 0.5),
    ("methods/fql.toml [run]", "[run]", 0.4),
]
"""Name of the layer, its table, the discount that it asks for; lowest first, and below them all the suite's 0.9."""


REST = f"[toy]{TABLE}"
"""What a preset says beside its settings."""


def resolve_files(folder: Path, monkeypatch: pytest.MonkeyPatch, method: str, preset: str, **overrides: Any) -> Any:
    """FQL on the bandit with these texts as its data file and as the preset ``mine``."""
    (folder / "fql.toml").write_text(method)
    (folder / "mine.toml").write_text(REST + preset)
    monkeypatch.setattr(data_files, "PRESETS", folder)
    monkeypatch.setattr(methods, "FOLDER", folder)
    return resolve(FQL, "fql", BANDIT, "toy", "mine", [("command line", overrides)])


@pytest.mark.parametrize("count", range(len(LAYERS) + 1))
def test_a_later_layer_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    tables = [f"{table}\ndiscount = {value}\n" for _, table, value in LAYERS[:count]]
    method = "".join(tables[1:]) + "[domain.corridor]\ndiscount = 0.1\n[preset.mine.ogbench]\ndiscount = 0.2\n"
    found = resolve_files(tmp_path, monkeypatch, method, tables[0] if tables else "", alpha=1)
    where, _, value = LAYERS[count - 1] if count else ("suite toy, bandit", "", 0.9)
    assert found.settings["discount"] == value
    assert found.provenance["settings.discount"] == where
    assert found.settings["batch_size"] == 256
    assert found.provenance["settings.batch_size"] == "program"
    assert found.provenance["settings.clip_norm"] == "methods/fql.py"


def test_the_command_line_wins_over_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [f"{table}\ndiscount = {value}\n" for _, table, value in LAYERS]
    found = resolve_files(tmp_path, monkeypatch, "".join(tables[1:]), tables[0], discount=0.3, alpha=2)
    assert found.settings["discount"] == 0.3
    assert found.provenance["settings.discount"] == "command line"
    assert found.hyperparameters == {"best_of_n": 1, "alpha": 2.0}
    assert type(found.hyperparameters["alpha"]) is float


def test_a_source_is_part_of_the_provenance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = resolve_files(tmp_path, monkeypatch, '[default]\nalpha = 3\nsource = "a paper"\n', "")
    assert found.provenance["hyperparameters.alpha"] == "methods/fql.toml [default] (a paper)"


def refused(**overrides: Any) -> str:
    with pytest.raises(DocumentError) as caught:
        resolve(FQL, "fql", BANDIT, "toy", "quick", [("command line", overrides)])
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("aplha", 1.0, "'aplha' in command line is no setting of the run or of fql; did you mean 'alpha'?"),
        ("batchsize", 64, "did you mean 'batch_size'?"),
        ("zzz", 1, "no setting of the run or of fql"),
        ("alpha", "much", "alpha in command line is 'much'; it must be a number"),
        ("alpha", True, "it must be a number"),
        ("alpha", math.nan, "alpha in command line is nan; it must be a finite number"),
        ("batch_size", 64.5, "it must be an integer"),
        ("batch_size", True, "it must be an integer"),
        ("batch_size", 0, "batch_size in command line is 0; it must be at least 1"),
        ("best_of_n", 0, "best_of_n in command line is 0; it must be at least 1"),
        ("sparse", 1, "it must be true or false"),
        ("discount", 1.5, "it must be at most 1"),
        ("offline_steps", -1, "it must be at least 0"),
        ("actor_widths", 64, "actor_widths in command line is 64; it must be a list"),
        ("actor_widths", [], "it must be of 1 at least"),
        ("actor_widths", [64, 0], "actor_widths[1] in command line is 0; it must be at least 1"),
        ("actor_widths", [64.5], "actor_widths[0] in command line is 64.5; it must be an integer"),
    ],
)
def test_a_wrong_value_is_told(key: str, value: Any, told: str) -> None:
    assert told in refused(**{key: value})


def test_words_are_checked() -> None:
    assert "did you mean 'balanced'" in refused(sampling="balancd", offline_steps=0)
    assert "did you mean 'uniform'" in refused(warm_up="unifrom")


def test_who_has_no_recorded_rows_trains_on_some_of_its_own() -> None:
    """A row is there once the chunk after it is decided: with chunks of two steps, at the third."""
    pixels = load_suite("toy").tasks()["pixels-v0"]
    for start, fits in ((2, False), (3, True)):
        asked = [("command line", {"start_training": start})]
        if fits:
            assert resolve(FQL, "fql", pixels, "toy", "frozen", asked).settings["start_training"] == start
        else:
            with pytest.raises(SettingsError, match="comes before the first row; raise start_training to 3 or more"):
                resolve(FQL, "fql", pixels, "toy", "frozen", asked)


def test_balanced_batches_need_rows_of_their_own() -> None:
    assert "offline_steps=0" in refused(sampling="balanced")
    assert "start_training" in refused(sampling="balanced", offline_steps=0, start_training=1)


def test_a_run_of_nothing_is_refused() -> None:
    assert "leaves nothing to do" in refused(offline_steps=0, online_steps=0)
    assert "nothing would be trained online; raise online_steps" in refused(offline_steps=0, online_steps=49)


def test_a_count_of_a_method_is_at_least_one() -> None:
    cls = methods.load("expo")
    with pytest.raises(DocumentError, match=r"^candidates in command line is 0; it must be at least 1$"):
        resolve(cls, "expo", BANDIT, "toy", "quick", [("command line", {"candidates": 0})])


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinity_is_no_setting(value: float) -> None:
    assert "learning_rate" in refused(learning_rate=value)


def test_a_source_can_not_be_set() -> None:
    assert "source" in refused(source="me")


def test_a_method_without_a_value_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"'alpha' of fql has no value; give one in methods/fql\.toml \[default\]"):
        resolve_files(tmp_path, monkeypatch, "[default]\n", "")


def test_an_unknown_table_of_a_method_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DocumentError, match=r"'defualt' in methods/fql\.toml.*did you mean 'default'"):
        resolve_files(tmp_path, monkeypatch, "[defualt]\nalpha = 1.0\n", "")


@pytest.mark.parametrize(
    ("table", "where", "hint"),
    [
        ("domain.bandid", "'bandid' in methods/fql.toml [domain]", "'bandit'"),
        ("preset.myne.toy", "'myne' in methods/fql.toml [preset]", "'mine'"),
        ("preset.mine.tyo", "'tyo' in methods/fql.toml [preset.mine]", "'toy'"),
    ],
)
def test_a_table_that_nobody_would_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, where: str, hint: str
) -> None:
    own = f"[default]\nalpha = 1.0\n[{table}]\nalpha = 2.0\n"
    with pytest.raises(SettingsError, match=f"{re.escape(where)}.*did you mean {hint}"):
        resolve_files(tmp_path, monkeypatch, own, "")


def test_an_unknown_table_of_a_preset_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DocumentError, match=r"'setings' in presets/mine\.toml \[toy\].*did you mean 'settings'"):
        resolve_files(tmp_path, monkeypatch, "[default]\nalpha = 1.0\n", "[toy.setings]\nheads = 2\n")


def test_an_unknown_key_of_a_preset_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DocumentError, match=r"'heds' in presets/mine\.toml \[toy\.settings\].*did you mean 'heads'"):
        resolve_files(tmp_path, monkeypatch, "[default]\nalpha = 1.0\n", "[toy.settings]\nheds = 2\n")


def test_a_broken_data_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DocumentError, match=r"fql\.toml is not valid TOML"):
        resolve_files(tmp_path, monkeypatch, "[default\n", "")


def test_presets_are_found_by_suite() -> None:
    assert presets("ogbench") == ["cpu", "paper", "quick"]
    assert presets("toy") == ["frozen", "quick"]
    sentence = r"suite 'toy' has no preset 'quik'; it has frozen, quick; did you mean 'quick'\?"
    with pytest.raises(SettingsError, match=sentence):
        preset_table("toy", "quik")


def test_the_backbone_as_published() -> None:
    wanted = {name: "paper" if name.startswith("qpilots") else "reference" for name in data_files.available()[0]}
    assert {name: backbone_name(AS_PUBLISHED, cls) for name, cls in data_files.available()[0].items()} == wanted
    for asked in BACKBONES:
        assert {backbone_name(asked, cls) for cls in data_files.available()[0].values()} == {asked}


def test_nothing_near_is_nothing_said() -> None:
    assert nearest("xyzzy", ["alpha", "beta"]) == ""
