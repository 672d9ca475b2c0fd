"""What is said of a data file, against counts by hand; which file a word means; the commands' errors."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs._suite import SuiteError
from envs.ogbench import _generate, _relabel, _statistics, download, generate, identity, inspect
from envs.ogbench._commands import count_of, domain_named
from envs.ogbench._environments import Environment
from envs.ogbench._tasks import Domain, domains

Get = Callable[[str], Environment]
Writer = Callable[..., Path]
MAZE = dataclasses.replace(domains()["antmaze-large-navigate"], episodes=2, rows=5)


@pytest.fixture
def maze_made_once(environment: Get, monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    """The session's, which labelling sets to one task after the other, and which is given back as it was."""
    env = environment(MAZE.tasks[0].name)
    monkeypatch.setattr(_relabel._environments, "make", lambda task: env)
    monkeypatch.setattr(env, "close", lambda: None)
    yield env
    env.unwrapped._reward_task_id = 1


def test_statistics_by_hand(tmp_path: Path, write_file: Writer, maze_made_once: Environment):
    """Two trajectories of four transitions: at task 1's goal in rows 1, 2 of the first and 0, 2 of the second."""
    maze = maze_made_once.unwrapped
    goal = np.array(maze.task_infos[0]["goal_xy"])
    qpos = np.zeros((10, 15), np.float32)
    qpos[:, :2] = np.array([[100.0, 0]] * 10) + np.arange(10)[:, None]
    qpos[[1, 2, 5, 7], :2] = goal
    actions = np.zeros((10, 8), np.float32)
    actions[:4, 0] = [1, -1, 0.5, 0.5]
    file = write_file(tmp_path / "antmaze-large-navigate-v0.npz", MAZE, qpos=qpos, actions=actions)
    found = _statistics.statistics(MAZE, _relabel.label(MAZE, file))
    assert (found["transitions"], found["trajectories"]) == (8, 2)
    assert found["success_rows"][0] == 4
    assert found["entries"][0] == 3
    assert found["reward"][0] == -0.5
    assert found["success_rows"][1:] == [0, 0, 0, 0]
    assert found["action_at_limit"] == [0.25] + [0.0] * 7
    assert found["action_mean_abs"] == pytest.approx(3 / 64, abs=1e-4)
    assert maze._reward_task_id == 5
    text = inspect.report(MAZE, "navigate", found)
    assert "50.00 [1.66]" in text  # beside what was measured
    maze._reward_task_id = 1


def test_ways_by_hand():
    """Two trajectories of 25 rows: one stands, one walks 0.3 in a step; of each, five rows have 20 behind them."""
    place = np.zeros((50, 15), np.float32)
    place[25:, 0] = 0.3 * np.arange(25)
    terminals = (np.arange(50) % 25 == 24).astype(np.float32)
    found = _statistics._walking({"qpos": place, "terminals": terminals})
    assert found == {"step_length": 0.15, "still": 0.5, "cells_visited": 3}


def test_which_file_a_word_means(tmp_path: Path, write_file: Writer):
    with pytest.raises(SuiteError, match="holds no data of antmaze-large: name a file, or generate or download"):
        inspect.file_of("antmaze-large", tmp_path)
    data = identity(MAZE.tasks[0], "generated", {"episodes": 2})
    homes = [_generate.folder_of({**data, "seed": seed}, tmp_path) for seed in range(2)]
    for home in homes:
        home.mkdir(parents=True)
        card = {"identity": data, "files": {}, "versions": {"mujoco": _generate.importlib.metadata.version("mujoco")}}
        _generate.remember(home / _generate.CARD, card)
    with pytest.raises(SuiteError, match="holds several datasets of antmaze-large: inspect one of the folders"):
        inspect.file_of("antmaze-large", tmp_path)
    (homes[1] / _generate.CARD).unlink()
    file = homes[0] / "antmaze-large-navigate-v0.npz"
    assert inspect.file_of("antmaze-large", tmp_path) == (domains()["antmaze-large-navigate"], "navigate", file)
    assert inspect.file_of(str(homes[0]), tmp_path)[2] == file
    with pytest.raises(SuiteError, match="holds no generated data"):
        inspect.file_of(str(homes[1]), tmp_path)
    with pytest.raises(SuiteError, match=r"antmaze-large-navigate-v0.npz has gone: generate again"):
        inspect.run(inspect.Arguments(str(homes[0])))
    official = write_file(tmp_path / "antmaze-large-navigate-v0.npz", MAZE)
    assert inspect.file_of("antmaze-large-navigate", tmp_path)[2] == official
    reach = write_file(tmp_path / "antmaze-giant-reach-v0-003.npz", MAZE)
    assert inspect.file_of(str(reach), tmp_path)[:2] == (domains()["antmaze-giant-navigate"], "reach")
    for word, sentence in {
        "x.npz": "there is no file",
        "cube-doble": "did you mean cube-double",
        "zzz": "is one of",
    }.items():
        with pytest.raises(SuiteError, match=sentence):
            inspect.file_of(word, tmp_path)
    with pytest.raises(SuiteError, match="named after no domain"):
        inspect.file_of(str(write_file(tmp_path / "mine.npz", MAZE)), tmp_path)


def test_a_file_that_is_not_the_one_on_its_card_is_refused(tmp_path: Path, write_file: Writer):
    file = write_file(tmp_path / "antmaze-large-navigate-v0.npz", MAZE)
    card = {"identity": {}, "files": {file.name: {"sha256": "0"}}}
    card["versions"] = {"mujoco": _generate.importlib.metadata.version("mujoco")}
    (tmp_path / _generate.CARD).write_text(json.dumps(card))
    with pytest.raises(SuiteError, match="is not the file that was generated: delete it and generate again"):
        inspect.run(inspect.Arguments(str(file)))
    with pytest.raises(SuiteError, match="is no kind of picture"):
        inspect.run(inspect.Arguments(str(file), Path("picture.foo")))


def test_a_folder_of_something_else_is_not_to_be_deleted(tmp_path: Path):
    with pytest.raises(SuiteError, match="holds no generated data") as caught:
        inspect.run(inspect.Arguments(str(tmp_path)))
    assert "delete" not in str(caught.value)


def test_counts_in_words():
    assert [count_of(text) for text in ("2000", "100k", "1M", "100M")] == [2000, 100_000, 1_000_000, 100_000_000]
    assert [count_of(text) for text in ("1e6", "1E6", "2e3", "100K", "1m")] == [10**6, 10**6, 2000, 100_000, 10**6]
    for wrong in ("", "k", "1.5M", "-3", "0", "1G"):
        with pytest.raises(SuiteError, match="write 2000, 100k or 1M"):
            count_of(wrong)


@pytest.mark.parametrize(
    ("domain", "transitions", "shards", "wanted"),
    [
        ("antmaze-large", "", 0, 1000),
        ("antmaze-giant", "1M", 0, 500),
        ("antmaze-giant", "2001", 0, 2),
        ("cube-triple", "", 0, 3000),
        ("cube-quadruple", "100M", 100, 100_000),
        ("cube-quadruple", "2500", 2, 4),
        ("puzzle-4x4", "", 100, 100_000),
    ],
)
def test_episodes_that_hold_the_transitions(domain: str, transitions: str, shards: int, wanted: int):
    assert generate.episodes(domain_named(domain), transitions, shards) == wanted


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"domains": ("cube-duoble",)}, "did you mean cube-double"),
        ({"domains": ()}, "no domain was named"),
        ({"domains": ("humanoidmaze-large",)}, "cannot be generated: .*official"),
        ({"domains": ("cube-double",), "kind": "navigate"}, "choose play or noisy"),
        ({"domains": ("antmaze-large",), "kind": "noisy"}, "choose navigate or reach"),
        ({"domains": ("cube-double",), "transitions": "many"}, "no number of transitions"),
        ({"domains": ("cube-double",), "transitions": "99999999999999999M"}, "no number of transitions"),
        ({"domains": ("cube-double",), "transitions": "999999999999"}, "give an integer from 1 to 10,000,000"),
        ({"domains": ("cube-double", "all")}, "say it alone"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_made(
    words: dict, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_generate, "generate", None)
    with pytest.raises(SuiteError, match=sentence):
        generate.run(generate.Arguments(**words, data_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_files_are_named(tmp_path: Path):
    """Nothing listens on the discard port of this machine."""
    words = download.Arguments(("puzzle-4x4",), tmp_path, mirror="http://127.0.0.1:9", shards=3)
    with pytest.raises(
        SuiteError, match=r"Wanted in .*puzzle-4x4-play-100m-v0/puzzle-4x4-play-v0-000.npz, ..., .*-002"
    ):
        download.run(words)


@pytest.mark.parametrize("command", ["generate", "download", "inspect"])
def test_a_command_says_one_sentence_and_leaves_with_2(command: str, tmp_path: Path):
    said = subprocess.run(
        [sys.executable, "-m", f"envs.ogbench.{command}", "cube-doble", "--data-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == "error: there is no domain 'cube-doble': did you mean cube-double?\n"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*precision lowered")  # of the package's own action space
@pytest.mark.parametrize("name", [name for name, domain in domains().items() if domain.generation])
def test_every_domain_is_generated_inspected_and_loaded_by_the_package(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """2000 transitions, by the commands, and through OGBench's own loader."""
    import ogbench

    domain: Domain = domains()[name]
    generate.run(generate.Arguments((domain.environment,), "2k", data_dir=tmp_path, jobs=1))
    picture = tmp_path / "picture.png"
    inspect.run(inspect.Arguments(domain.environment, picture, tmp_path))
    kind = "navigate" if "maze" in name else "play"
    assert f"{domain.environment}-{kind}: 2,000 transitions" in capsys.readouterr().out
    assert picture.stat().st_size > 10_000
    (file,) = tmp_path.glob(f"generated/*/{domain.environment}-*-v0.npz")
    made: Any = ogbench.make_env_and_datasets(domain.tasks[1].name, dataset_path=str(file))
    env, train, validation = made
    env.close()
    assert train["observations"].shape == (2000, domain.observation)
    assert len(validation["rewards"]) == domain.rows - 1
    assert set(np.unique(train["masks"])) <= {0.0, 1.0}
