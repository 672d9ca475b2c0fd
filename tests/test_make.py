"""What `make` says before anything is installed, and what the project says of itself."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def make(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "-f", str(ROOT / "Makefile"), *words]
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "CI", "MAKEFLAGS")}
    return subprocess.run(
        command,
        cwd=folder,
        env=clean | more,
        capture_output=True,
        text=True,
    )


def pretended(folder: Path, name: str, version: str) -> Path:
    """An interpreter that only says which it is, for whoever asks by its exit status."""
    fits = (3, 11) <= tuple(map(int, version.split("."))) <= (3, 13)
    path = folder / name
    path.write_text(f"#!/bin/sh\nexit {int(not fits)}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.14"])
def test_an_interpreter_that_does_not_fit_is_told_before_anything_is_made(tmp_path: Path, version: str) -> None:
    python = pretended(tmp_path, "some-python", version)
    found = make(tmp_path, "fits", f"PYTHON={python}")
    assert found.returncode == 2
    first = found.stderr.splitlines()[0]
    assert first.startswith(f"error: {python} is not Python 3.11, 3.12 or 3.13: install one of them")
    assert "make PYTHON=" in first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some-python"]


def test_the_first_that_fits_is_taken(tmp_path: Path) -> None:
    pretended(tmp_path, "python3", "3.14")
    pretended(tmp_path, "python3.12", "3.10")  # somebody's odd link
    pretended(tmp_path, "python3.13", "3.13")
    found = make(tmp_path, "fits", PATH=f"{tmp_path}:/usr/bin:/bin")
    assert (found.returncode, found.stderr) == (0, "")
    assert make(tmp_path, "fits", PATH=f"{tmp_path}:/usr/bin:/bin", PYTHON="python3").returncode == 2


def test_the_empty_package_is_of_the_version_that_is_asked_for() -> None:
    """Else pip would look for the real one, which has no wheel for Python 3.13."""
    stub = tomllib.loads((ROOT / "envs" / "ogbench" / "labmaze" / "pyproject.toml").read_text())["project"]
    assert f"{stub['name']}=={stub['version']}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_what_is_constrained_is_allowed() -> None:
    """Every dependency is pinned, at a version that is not below its declared bound."""
    lines = (line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pinned = {name.lower().replace("_", "-"): version.split()[0] for name, version in lines}

    def numbers(version: str) -> list[int]:
        return [int(part) for part in re.findall(r"[0-9]+", version)]

    for each in PROJECT["dependencies"]:
        name, _, bound = each.partition(">=")
        least = bound.partition(",")[0]
        assert numbers(pinned[name.lower().replace("_", "-")]) >= numbers(least), each
