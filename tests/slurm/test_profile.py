"""Profiles: what comes with the project is sound, and a wrong one is told in a sentence."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmark.planning.errors import LaunchError
from slurm.profile import load_profile, names

LEAST = "time_minutes = 20\ncpus = 1\nmemory_gb = 2\n"


def test_the_examples() -> None:
    assert names() == ["cpu", "gpu", "shared"]
    plain, shared, cpu = (load_profile(name) for name in ("gpu", "shared", "cpu"))
    assert (plain.gres, plain.packs_per_job) == ("gpu:1", 1)
    assert (shared.gres, shared.packs_per_job > 1) == ("gpu:1", True)
    assert (cpu.gres, cpu.environment["JAX_PLATFORMS"]) == ("", "cpu")


def test_the_least_that_a_profile_says(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(LEAST.replace("20", "11"))
    profile = load_profile(str(path))
    assert (profile.time_minutes, profile.memory_gb, profile.partition) == (11, 2.0, "")
    assert profile.lines == []


WRONG = {
    "no table at all": ("cpus = \n", "is not valid TOML"),
    "nothing said of time": ("cpus = 1\nmemory_gb = 2\n", "does not say time_minutes"),
    "a word that nobody knows": (LEAST + 'partiton = "a"\n', "did you mean 'partition'"),
    "a number for a word": (LEAST + "partition = 3\n", "must be a text"),
    "a word for lines": (LEAST + 'setup = "module load x"\n', "must be a list"),
    "no table": (LEAST + 'environment = "a"\n', "must be a table"),
    "no processor": (LEAST.replace("cpus = 1", "cpus = 0"), "must be at least 1"),
    "memory without end": (LEAST.replace("memory_gb = 2", "memory_gb = inf"), "must be a finite number"),
    "fewer than no seeds": (LEAST + "seeds_per_pack = -1\n", "must be at least 0"),
    "memory that SLURM takes for all": (LEAST.replace("memory_gb = 2", "memory_gb = 0.0001"), "must be at least 0.1"),
    "memory of nobody": (LEAST.replace("memory_gb = 2", "memory_gb = 1e308"), "must be at most"),
    "a variable that is a command": (LEAST + 'environment = {"A;touch x;B" = "x"}\n', "is no name of a variable"),
    "a variable without a name": (LEAST + 'environment = {"" = "x"}\n', "is no name of a variable"),
    "a partition of two lines": (LEAST + 'partition = "a\\nb"\n', "it must be one line of text"),
    "a warning after the end": (LEAST + "signal_seconds = -5\n", "must be at least 0"),
    "a warning before the start": (LEAST + "signal_seconds = 1200\n", "warn it later"),
    "a partition with an option": (LEAST + 'partition = "a --exclusive"\n', "is no name of a cluster's"),
    "a partition with a remark": (LEAST + 'partition = "a#b"\n', "is no name of a cluster's"),
    "a program of spaces": (LEAST + 'python = "   "\n', "is no command; leave it empty"),
    "a program with half a quote": (LEAST + 'python = "\'apptainer"\n', "is no command (no closing quotation)"),
    "an option with a word of its own": (LEAST + "extra = {time = 5}\n", "say time_minutes"),
    "an option that the program says": (LEAST + 'extra = {requeue = "no"}\n', "what this program says itself"),
    "a short option": (LEAST + "extra = {t = 5}\n", "write its long name"),
    "a name of jobs": (LEAST + 'extra = {"--job-name" = "x"}\n', "what this program says itself"),
    "an option as it is written": (LEAST + "extra = {cpus_per_task = 5}\n", "say cpus"),
    "a yes or no for a number": (LEAST.replace("cpus = 1", "cpus = true"), "must be an integer"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_profile_is_told(tmp_path: Path, name: str) -> None:
    text, word = WRONG[name]
    path = tmp_path / "site.toml"
    path.write_text(text)
    with pytest.raises(LaunchError) as caught:
        load_profile(str(path))
    assert word in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_profile_may_have_any_name_and_a_mark_of_its_encoding(tmp_path: Path) -> None:
    path = tmp_path / "site.txt"
    path.write_bytes(b"\xef\xbb\xbf" + LEAST.encode())
    assert load_profile(str(path)).time_minutes == 20


def test_a_profile_is_shown_without_its_passwords(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    uri = "http://me:hunter2@host:5000"
    path.write_text(LEAST + f'environment = {{MLFLOW_TRACKING_URI = "{uri}", MLFLOW_TRACKING_PASSWORD = "hunter3"}}\n')
    profile = load_profile(str(path))
    assert "hunter" not in str(profile.shown.lines)
    assert 'export MLFLOW_TRACKING_URI="http://me:***@host:5000"' in profile.shown.lines
    assert 'export MLFLOW_TRACKING_PASSWORD="hunter3"' in profile.lines


def test_a_profile_that_is_not_there() -> None:
    with pytest.raises(LaunchError, match=r"cpu, gpu, shared, or a TOML file; did you mean 'shared'"):
        load_profile("share")


def test_the_node_fills_in_its_variables(tmp_path: Path) -> None:
    """And nothing else of a value is taken for shell."""
    path = tmp_path / "site.toml"
    path.write_text(LEAST + 'scratch = "$PLACE/x y"\n[environment]\nWORD = "a \\"quoted\\" `date`"\n')
    script = "\n".join([*load_profile(str(path)).lines, 'echo "$WORD"; echo "$TMPDIR"'])
    environment = {"PLACE": str(tmp_path), "PATH": "/usr/bin:/bin"}
    said = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ['a "quoted" `date`', f"{tmp_path}/x y"]
    assert (tmp_path / "x y").is_dir()
