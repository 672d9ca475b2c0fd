"""The door: which commands there are, what each says of its options, and what code this is."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchmark import __main__ as door
from benchmark import launch, methods, speed, status, track
from benchmark.execution.executors import EXECUTORS
from benchmark.planning.data_files import preset_names
from benchmark.planning.portion import ORDERS
from benchmark.planning.settings import BACKBONES_ASKED
from benchmark.runs.fingerprint import Sources
from envs import suites

ROOT = Path(__file__).parents[2]


def said_by(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, run: object) -> str:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit, match="0"):
        run(["--help"])  # pyright: ignore[reportCallIssue]
    return capsys.readouterr().out


def test_every_command_is_at_the_door() -> None:
    files = {path.stem for path in (ROOT / "benchmark").glob("*.py")} - {"__init__", "__main__", "arguments"}
    assert files == set(re.findall(r"python -m benchmark\.(\w+)", door.COMMANDS))


def test_the_door_says_which_commands_there_are() -> None:
    command = [sys.executable, "-m", "benchmark"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == door.COMMANDS


@pytest.mark.parametrize("run", [launch.run, methods.run, speed.run, status.run, track.run])
def test_help_has_no_word_of_the_program(
    run: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = said_by(capsys, monkeypatch, run)
    for word in ("''", "STR", "{None}", "None", "--no-", "(default: )", "default: False"):
        assert word not in said


CHOICES = {
    "suite": suites(),
    "preset": preset_names(),
    "executor": EXECUTORS,
    "backbone": BACKBONES_ASKED,
    "value": ("own", "td", "iql", "sarsa", "mc"),
    "data": ("official", "generated", "auto", "preset"),
    "order": ORDERS,
    "keep": ("all", "parameters", "nothing"),
    "stale": ("rerun", "keep", "refuse"),
}


@pytest.mark.parametrize("option", CHOICES)
def test_options_list_their_choices(
    option: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"--{option} {'|'.join(CHOICES[option])}" in said_by(capsys, monkeypatch, launch.run)


def test_the_version_is_what_is_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.run(["--version"]) == 0
    said = capsys.readouterr().out
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert said.startswith(f"policy-extraction-benchmark {version}\n")
    for suite in suites():
        assert f"shared code of {suite} {Sources.read().shared(suite)}\n" in said
    assert f"python {sys.version.split()[0]}\n" in said


def test_a_list_needs_no_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert launch.run(["--suite", "toy", "--list", "--methods", "fql", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "fql (--set fql.KEY=VALUE):" in said
    assert not (tmp_path / "out").exists()


def test_licence_and_citation_are_there() -> None:
    assert "MIT License" in (ROOT / "LICENSE").read_text()
    assert "the authors of this project" in (ROOT / "LICENSE").read_text()
    citation = (ROOT / "CITATION.cff").read_text()
    for word in ("cff-version: 1.2.0", "license: MIT", "2606.14801", "2601.14234"):
        assert word in citation
