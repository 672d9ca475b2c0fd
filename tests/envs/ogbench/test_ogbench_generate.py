"""Generated data: determined by their identity alone, however they came about."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs._suite import Identity, SuiteError
from envs.ogbench import _generate, identity, load, prepare
from envs.ogbench._episodes import Recorder, _cube_inside
from envs.ogbench._generate import folder_of, generate, generated_files, volumes
from envs.ogbench._tasks import Domain, domains, tasks

PUZZLE = dataclasses.replace(domains()["puzzle-3x3-play-sparse"], rows=40)
IDENTITY: Identity = {**identity(PUZZLE.tasks[0], "generated", {"episodes": 2}), "name": "puzzle-3x3-play-v0"}

MAZE = dataclasses.replace(domains()["antmaze-large-navigate"], rows=40)
SMALL = {
    "puzzle": (PUZZLE, IDENTITY),
    "maze": (MAZE, {**identity(MAZE.tasks[0], "generated", {"episodes": 2}), "name": "antmaze-large-navigate-v0"}),
}


def nothing(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def fake_episode(domain: Domain, number: int) -> dict[str, np.ndarray]:
    columns = {name: np.full((domain.rows, width), number, np.float32) for name, width in domain.columns.items()}
    return {
        "observations": np.full((domain.rows, domain.observation), number, np.float32),
        "actions": np.zeros((domain.rows, domain.action_size), np.float32),
        "terminals": np.arange(domain.rows) == domain.rows - 1,
        **columns,
        "button_states": np.zeros((domain.rows, 9), np.int64),
    }


def faked(domain: Domain, identity: Identity, work: Path, missing: list, jobs: int):
    for piece in missing:
        _generate._save(_generate._part(work, piece), fake_episode(domain, piece[1]).items())
        yield piece


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with finished data whose episodes were not simulated."""

    monkeypatch.setattr(_generate, "_recorded", faked)
    monkeypatch.setattr(_generate, "label", lambda domain, file: None)
    monkeypatch.setattr(_generate, "statistics", lambda domain, data: {})
    generate(PUZZLE, IDENTITY, tmp_path, 1, nothing)
    return tmp_path


def test_the_folder_names_the_identity_and_holds_files_and_manifest(finished: Path):
    home = finished / "generated" / "puzzle-3x3-play-v0-play-v1-seed0-2"
    assert folder_of(IDENTITY, finished) == home
    npz = sorted(path.name for path in home.iterdir() if path.suffix == ".npz")
    assert npz == ["puzzle-3x3-play-v0-val.npz", "puzzle-3x3-play-v0.npz"]
    assert [path.name for path in home.parent.iterdir() if path.is_dir()] == [home.name]
    card = json.loads((home / "manifest.json").read_text())
    assert card["identity"] == IDENTITY
    assert {name: file["rows"] for name, file in card["files"].items()} == {npz[1]: 80, npz[0]: 40}
    assert card["versions"]["mujoco"]
    with np.load(home / npz[1]) as train:
        np.testing.assert_array_equal(train["observations"][:, 0], np.repeat([0, 1], 40))


def test_finished_data_are_not_made_again(finished: Path, monkeypatch: pytest.MonkeyPatch):
    files = sorted(folder_of(IDENTITY, finished).iterdir())
    before = [(path.name, path.stat().st_mtime_ns) for path in files]
    monkeypatch.setattr(_generate, "_recorded", None)  # who records anything now fails
    generate(PUZZLE, IDENTITY, finished, 1, nothing)
    after = sorted(folder_of(IDENTITY, finished).iterdir())
    assert [(path.name, path.stat().st_mtime_ns) for path in after] == before


def test_changed_or_missing_data_are_refused(finished: Path):
    home = folder_of(IDENTITY, finished)
    (file,) = generated_files(PUZZLE, IDENTITY, finished)
    file.with_name(f"{file.name}.check.json").unlink()
    other = home / "puzzle-3x3-play-v0-val.npz"
    content = file.read_bytes()
    file.write_bytes(other.read_bytes())
    with pytest.raises(SuiteError, match=r"is not the file that was generated: delete it and generate again"):
        generated_files(PUZZLE, IDENTITY, finished)
    file.unlink()
    with pytest.raises(SuiteError, match="has gone"):
        generated_files(PUZZLE, IDENTITY, finished)
    file.write_bytes(content)
    (home / "stray.npz").write_bytes(b"")
    with pytest.raises(SuiteError, match=r"stray\.npz does not belong to these data"):
        generated_files(PUZZLE, IDENTITY, finished)
    card = json.loads((home / "manifest.json").read_text())
    (home / "manifest.json").write_text(json.dumps(card | {"identity": {**IDENTITY, "seed": 9}}))
    with pytest.raises(SuiteError, match="describes other data"):
        generated_files(PUZZLE, IDENTITY, finished)
    (home / "manifest.json").write_text(json.dumps(card | {"versions": {"mujoco": "2.9.1"}}))
    with pytest.raises(SuiteError, match=r"made with mujoco 2\.9\.1 and this is 3"):
        generated_files(PUZZLE, IDENTITY, finished)
    for broken in (json.dumps({"identity": IDENTITY, "sha256": {}}), json.dumps(card)[:-9], "[]", "{}"):
        (home / "manifest.json").write_text(broken)
        with pytest.raises(SuiteError, match=r"damaged or of an earlier version: delete .* and generate again"):
            generated_files(PUZZLE, IDENTITY, finished)
    (home / "manifest.json").unlink()
    with pytest.raises(SuiteError, match=r"manifest\.json has gone"):
        generated_files(PUZZLE, IDENTITY, finished)


def test_a_file_that_has_gone_is_made_again(finished: Path):
    home = folder_of(IDENTITY, finished)
    for name in ("puzzle-3x3-play-v0.npz", "puzzle-3x3-play-v0-val.npz"):
        content = (home / name).read_bytes()
        (home / name).unlink()
        with pytest.raises(SuiteError, match=r"has gone: generate again"):
            generated_files(PUZZLE, IDENTITY, finished)
        generate(PUZZLE, IDENTITY, finished, 1, nothing)
        assert (home / name).read_bytes() == content
    card = json.loads((home / "manifest.json").read_text())
    (home / "manifest.json").write_text(json.dumps(card | {"versions": {"mujoco": f"{card['versions']['mujoco']}9"}}))
    (home / "puzzle-3x3-play-v0.npz").unlink()
    with pytest.raises(SuiteError, match="and lacks files: install that, or delete"):
        generate(PUZZLE, IDENTITY, finished, 1, nothing)


def test_a_damaged_validation_file_is_refused(finished: Path):
    file = folder_of(IDENTITY, finished) / "puzzle-3x3-play-v0-val.npz"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(SuiteError, match="truncated"):
        generate(PUZZLE, IDENTITY, finished, 1, nothing)


def test_a_damaged_episode_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_generate, "_recorded", faked)
    monkeypatch.setattr(_generate, "label", lambda domain, file: None)
    monkeypatch.setattr(_generate, "statistics", lambda domain, data: {})
    home = folder_of(IDENTITY, tmp_path)
    work = home.with_name(f"{home.name}.making-mujoco-{_generate.importlib.metadata.version('mujoco')}")
    (work / "episodes").mkdir(parents=True)
    parts = [_generate._part(work, ("train", number)) for number in range(2)]
    for number, part in enumerate(parts):
        _generate._save(part, fake_episode(PUZZLE, number).items())
    whole = parts[1].read_bytes()
    parts[0].write_bytes(parts[0].read_bytes()[:500])  # cut off: seen before anything is made
    parts[1].write_bytes(whole[:100] + bytes([whole[100] ^ 255]) + whole[101:])  # flipped: seen when it is read
    with pytest.raises(SuiteError, match=r"train-000001.npz was damaged and has been removed: run again"):
        generate(PUZZLE, IDENTITY, tmp_path, 1, nothing)
    generate(PUZZLE, IDENTITY, tmp_path, 1, nothing)
    assert len(generated_files(PUZZLE, IDENTITY, tmp_path)) == 1


def test_finished_data_on_a_disk_that_may_only_be_read(finished: Path, monkeypatch: pytest.MonkeyPatch):
    """Root may write everywhere: a lock is what would be written, and there is none to take."""
    (finished / "generated" / f"{folder_of(IDENTITY, finished).name}.lock").unlink()
    before = sorted((path, path.stat().st_mtime_ns) for path in finished.rglob("*"))
    generate(PUZZLE, IDENTITY, finished, 1, nothing)
    assert sorted((path, path.stat().st_mtime_ns) for path in finished.rglob("*")) == before


def test_another_version_is_not_generated_by_this_one(tmp_path: Path):
    with pytest.raises(SuiteError, match="play data are generated in version 1 here, not 0"):
        generate(PUZZLE, {**IDENTITY, "version": 0}, tmp_path, 1, nothing)


def test_episodes_of_another_physics_are_not_continued(finished: Path):
    home = folder_of(IDENTITY, finished)
    shutil.rmtree(home)
    old = home.with_name(f"{home.name}.making-mujoco-3.3.1")
    (old / "episodes").mkdir(parents=True)
    _generate._save(_generate._part(old, ("train", 0)), fake_episode(PUZZLE, 7).items())
    seen: list[tuple[int, int]] = []
    generate(PUZZLE, IDENTITY, finished, 1, lambda what, done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_shards_hold_the_episodes_in_order(finished: Path):
    """The layout of the official 100M folders, and the episodes of the single file."""
    sharded = {**IDENTITY, "episodes": 4, "shards": 2}
    generate(PUZZLE, sharded, finished, 1, nothing)
    files = generated_files(PUZZLE, sharded, finished)
    assert [file.name for file in files] == [f"puzzle-3x3-play-v0-00{shard}.npz" for shard in range(2)]
    assert (files[0].parent / "puzzle-3x3-play-v0-001-val.npz").exists()
    assert [volume.pieces for volume in volumes(sharded) if volume.split == "train"] == [
        [("train", 0), ("train", 1)],
        [("train", 2), ("train", 3)],
    ]


def test_an_assembled_shard_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sharded = {**IDENTITY, "episodes": 4, "shards": 2}
    monkeypatch.setattr(_generate, "label", lambda domain, file: None)
    monkeypatch.setattr(_generate, "statistics", lambda domain, data: {})
    asked: list[int] = []

    def stopping(domain: Domain, identity: Identity, work: Path, missing: list, jobs: int):
        asked.append(len(missing))
        for number, piece in enumerate(faked(domain, identity, work, missing, jobs)):
            yield piece
            if number == 3 and len(asked) == 1:  # two of the first shard, its validation, one of the second
                raise KeyboardInterrupt

    monkeypatch.setattr(_generate, "_recorded", stopping)
    with pytest.raises(KeyboardInterrupt):
        generate(PUZZLE, sharded, tmp_path, 1, nothing)
    (work,) = (tmp_path / "generated").glob("*.making-*")
    assert sorted(file.name for file in work.glob("*.npz")) == [
        "puzzle-3x3-play-v0-000-val.npz",
        "puzzle-3x3-play-v0-000.npz",
    ]
    generate(PUZZLE, sharded, tmp_path, 1, nothing)
    assert asked == [6, 2]
    assert len(generated_files(PUZZLE, sharded, tmp_path)) == 2


def test_a_full_disk_is_named(tmp_path: Path):
    (tmp_path / "a.npz.part").symlink_to("/dev/full")
    with pytest.raises(SuiteError, match=r"a\.npz could not be written \(No space left on device\)"):
        _generate._save(tmp_path / "a.npz", fake_episode(PUZZLE, 0).items())
    assert list(tmp_path.iterdir()) == []


def test_where_the_cube_may_be():
    def at(y: float, z: float) -> bool:
        qpos = np.zeros((3, 25))
        qpos[1, 15:17] = y, z
        return _cube_inside(qpos)

    assert at(0.28, 0.02)
    assert not at(0.29, 0.02)
    assert at(-0.31, 0.07)
    assert not at(-0.31, 0.02)
    assert at(-0.29, 0.02)


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    return Recorder(PUZZLE, "play", 0)


def test_an_episode_depends_on_its_numbers_alone(recorder: Recorder):
    first = recorder.episode("train", 0)
    others = [recorder.episode("train", 1), recorder.episode("val", 0)]
    again = recorder.episode("train", 0)
    for name, values in first.items():
        np.testing.assert_array_equal(again[name], values)
    for other in others:
        assert not np.array_equal(other["observations"], first["observations"])
    dtypes = {name: values.dtype.name for name, values in first.items()}
    assert dtypes == {
        "observations": "float32",
        "actions": "float32",
        "terminals": "bool",
        "qpos": "float32",
        "qvel": "float32",
        "button_states": "int64",
    }
    assert np.abs(first["actions"]).max() <= 1
    np.testing.assert_array_equal(first["terminals"], np.arange(40) == 39)


def test_states_are_those_before_the_action(recorder: Recorder):
    columns = recorder.episode("train", 2)
    np.testing.assert_allclose(columns["observations"][:, :6], columns["qpos"][:, :6], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("procedure", ["play", "noisy"])
@pytest.mark.parametrize("name", ["scene-play-sparse", "cube-triple-play"])
def test_other_domains_and_procedures_record(name: str, procedure: str):
    domain = dataclasses.replace(domains()[name], rows=120)
    columns = Recorder(domain, procedure, 0).episode("train", 0)
    assert columns["qpos"].shape == (120, domain.columns["qpos"])
    assert columns["actions"].std(axis=0).min() > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("small", SMALL)
def test_any_number_of_processes_and_any_interruption_give_the_same_files(tmp_path: Path, small: str):
    domain, data = SMALL[small]
    generate(domain, data, tmp_path / "two", 2, nothing)
    (file,) = generated_files(domain, data, tmp_path / "two")
    mine = _generate.recorder(domain, data["procedure"], data["seed"])
    with np.load(file) as train:
        for number in range(2):
            for name, values in mine.episode("train", number).items():
                np.testing.assert_array_equal(train[name][40 * number : 40 * (number + 1)], values)
    script = tmp_path / "stopped.py"
    script.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "import test_ogbench_generate as t\n"
        "def wait(what, done, total):\n"  # however fast the machine, there is a moment to kill it at
        "    time.sleep(600 if done else 0)\n"
        "if __name__ == '__main__':\n"
        "    t.generate(*t.SMALL[sys.argv[2]], Path(sys.argv[1]), 1, wait)\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), *(path for path in sys.path if path)])
    command = [sys.executable, str(script), str(tmp_path / "one"), small]
    home = folder_of(data, tmp_path / "one")
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}) as stopped:
        deadline = time.monotonic() + 120
        while not list(home.parent.glob("*.making-*/episodes/train-*.npz")):
            assert time.monotonic() < deadline
            assert stopped.poll() is None
            time.sleep(0.05)
        stopped.send_signal(signal.SIGKILL)
    assert not (home / "manifest.json").exists()
    seen: list[int] = []
    generate(domain, data, tmp_path / "one", 1, lambda what, done, total: seen.append(done))
    assert seen[0] >= 1, "finished episodes are kept"
    (resumed,) = generated_files(domain, data, tmp_path / "one")
    assert resumed.read_bytes() == file.read_bytes()
    cards = [_generate.read_card(folder_of(data, tmp_path / name)) for name in ("one", "two")]
    assert cards[0] == cards[1]


@pytest.mark.slow
def test_a_full_episode_loads_here_and_through_the_package(tmp_path: Path):
    import ogbench

    task = tasks()["cube-double-play-singletask-task2-v0"]
    data = identity(task, "generated", {"episodes": 1})
    prepare(data, tmp_path, None, 1, nothing)
    rows = load(task, data, tmp_path)[0]
    assert rows.observations.shape == (1001, 37)
    assert rows.terminals.sum() == rows.terminals[-1] == 1
    file = folder_of(data, tmp_path) / "cube-double-play-v0.npz"
    with pytest.warns(UserWarning, match="precision lowered"):  # of the package's own action space
        made: Any = ogbench.make_env_and_datasets(task.name, dataset_path=str(file))
    _, theirs, validation = made
    assert len(validation["rewards"]) == 1000
    np.testing.assert_array_equal(rows.observations[:-1], theirs["observations"])
    np.testing.assert_array_equal(rows.observations[1:], theirs["next_observations"])
    for name in ("rewards", "masks", "terminals"):
        np.testing.assert_array_equal(getattr(rows, name), theirs[name])
    np.testing.assert_allclose(rows.actions, theirs["actions"], atol=1.1e-5)
