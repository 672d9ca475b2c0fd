"""What commands do where their output, or the folder they write to, is not what they think: a sentence, an exit status,
and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.analysis.stores import run, write
from tests.benchmark.test_launch import ROOT, TOY, environment

pytestmark = pytest.mark.slow
STORE = "STORE"
"""In place of a folder with a store that has a run."""
COMMANDS = {
    "help": ("benchmark.launch", "--help"),
    "version": ("benchmark.launch", "--version"),
    "list": ("benchmark.launch", *TOY, "--list"),
    "plan": ("benchmark.launch", *TOY, "--executor", "local", "--dry-run"),
    "methods": ("benchmark.methods", "--suite", "toy", "--preset", "quick", "--methods", "flow"),
    "commands": ("benchmark",),
    "leaderboard": ("analysis.leaderboard", "--store", STORE, "--out", STORE),
    "leaderboard help": ("analysis.leaderboard", "--help"),
    "data": ("envs.ogbench.generate", "--help"),
    "cluster": ("slurm.local", "--help"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    write([run(0.5)], folder / "mlflow.db")
    return folder


def started(words: tuple[str, ...], store: Path, **more: object) -> subprocess.Popen[str]:
    told = [str(store) if word == STORE else word for word in words]
    command = [sys.executable, "-W", "ignore", "-m", *told]
    return subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True, **more)  # type: ignore[call-overload]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_reader_that_has_left_is_no_fault(store: Path, name: str) -> None:
    """As of ``| head -0``."""
    reader, writer = os.pipe()
    os.close(reader)
    with started(COMMANDS[name], store, stdout=writer) as process:
        os.close(writer)
        _, said = process.communicate()
    assert said == ""
    assert process.returncode == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_behind_the_output_is_told(store: Path, name: str) -> None:
    with Path("/dev/full").open("w") as full, started(COMMANDS[name], store, stdout=full) as process:
        _, said = process.communicate()
    assert said.startswith("error: what was printed")
    assert "No space left on device" in said
    assert len(said.splitlines()) == 1
    assert process.returncode == 2


@pytest.mark.parametrize("name", ["help", "plan", "leaderboard"])
def test_an_output_that_was_closed_is_no_fault(store: Path, name: str) -> None:
    """As by ``>&-``."""
    words = [str(store) if word == STORE else word for word in COMMANDS[name]]
    command = ["bash", "-c", 'exec "$@" >&-', "closed", sys.executable, "-W", "ignore", "-m", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def outcome(*words: str, **more: object) -> tuple[int, str, str]:
    with started(words, Path(), stdout=subprocess.PIPE, **more) as process:
        out, said = process.communicate()
    return process.returncode, out, said


@pytest.mark.parametrize(
    "command",
    [
        ("benchmark.launch", *TOY, "--executor", "local", "--methods", "flow"),
        ("benchmark.status",),
        ("benchmark.track",),
    ],
    ids=lambda words: words[0],
)
def test_a_folder_that_is_none_is_told(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A loop of links, a file, a file on the way, a name without end."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_text("")
    for place in ("loop", "file", "file/inside", "a" * 300, "~nobody-of-this-name/x"):
        status, out, said = outcome(*command, "--out", f"{tmp_path}/{place}" if "~" not in place else place)
        assert (status, out) == (2, ""), place
        assert said.startswith("error: "), place
        assert len(said.splitlines()) == 1, place


def test_the_leaderboard_of_a_folder_that_may_only_be_read(store: Path, tmp_path: Path) -> None:
    """It is printed, and says where it could not be written; /proc is writable for nobody."""
    status, out, said = outcome("analysis.leaderboard", "--store", str(store), "--out", "/proc/leaderboards")
    assert status == 1
    assert "door" in out
    assert said.startswith("leaderboard.md and leaderboard.csv could not be written to /proc/leaderboards")
    assert "--out" in said
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert outcome("analysis.leaderboard", "--store", str(store), "--out", str(tmp_path / "loop"))[0] == 1
