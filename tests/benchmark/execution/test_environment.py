"""What a worker inherits: nothing of JAX's that could change a number, and all that can't."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark.execution import environment, machine
from benchmark.runs.attempts import attempts_of
from benchmark.runs.records import folder_of
from tests.benchmark import tiny
from tests.benchmark.test_launch import TOY, said

CHANGES = {
    "JAX_ENABLE_X64": "1",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_RANDOM_SEED_OFFSET": "7",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_DISABLE_JIT": "1",
    "JAX_WHATEVER_COMES_NEXT": "1",
}
CHANGES_NOTHING = {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": "/cache",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "1",
    "JAX_DEBUG_NANS": "1",
    "JAX_LOG_COMPILES": "1",
    "XLA_FLAGS": "--xla_dump_to=/x",
    "OTHER": "x",
}
FIXED = {"JAX_ENABLE_X64": "0", "JAX_DEFAULT_PRNG_IMPL": "threefry2x32", "JAX_THREEFRY_PARTITIONABLE": "1"}


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Without any variable of JAX's own."""
    for name in [each for each in os.environ if each.startswith("JAX_")]:
        monkeypatch.delenv(name)
    return monkeypatch


def test_what_could_change_numbers_is_fixed_or_left_out(shell: pytest.MonkeyPatch) -> None:
    for name, value in (CHANGES | CHANGES_NOTHING).items():
        shell.setenv(name, value)
    found = environment.of_worker({"device_share": 1.0})
    assert {name: found[name] for name in CHANGES_NOTHING} == CHANGES_NOTHING
    mine = {name: value for name, value in found.items() if name.startswith("JAX_") and name not in CHANGES_NOTHING}
    assert mine == FIXED | {"JAX_TRACEBACK_FILTERING": "off"}
    (line,) = environment.told()
    assert all(name in line for name in CHANGES)
    assert not any(name in line for name in CHANGES_NOTHING)


def test_nothing_is_told_where_there_is_nothing_to_tell(shell: pytest.MonkeyPatch) -> None:
    for name, value in (FIXED | CHANGES_NOTHING).items():
        shell.setenv(name, value)
    assert environment.told() == []


def test_what_is_fixed_is_what_jax_does_by_itself() -> None:
    """So that the fixed values changed no result of before."""
    code = "import jax; c = jax.config; print(c.jax_enable_x64, c.jax_default_prng_impl, c.jax_threefry_partitionable)"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    run = [sys.executable, "-c", code]
    alone, fixed = (
        subprocess.run(run, env=clean | more, capture_output=True, text=True, check=True).stdout for more in ({}, FIXED)
    )
    assert alone == fixed == "False threefry2x32 True\n"


def test_a_device_is_left_room_where_pytorch_wants_some(shell: pytest.MonkeyPatch) -> None:
    name = "XLA_PYTHON_CLIENT_PREALLOCATE"
    shell.delenv(name, raising=False)
    assert name not in environment.of_worker({"device_share": 1.0, "beside_torch": False})
    assert environment.of_worker({"device_share": 1.0, "beside_torch": True})[name] == "false"


@pytest.mark.slow
def test_the_same_key_is_the_same_numbers_whatever_the_shell_says(tmp_path: Path, shell: pytest.MonkeyPatch) -> None:
    """To the last bit; what was left out is told, and the flags that a worker had are noted."""
    words = ("--methods", "flow", "--tasks", "bandit-v0", "--seeds", "0", "--executor", "local", "--jobs", "1")
    sizes = [word for word in tiny.words() if not word.startswith("run.horizon")]
    command = (*TOY, "--preset", "quick", *words, "--set", *sizes)
    (plain,) = said(tmp_path / "plain", [(*command, "--out", str(tmp_path / "plain"))])
    for name, value in CHANGES.items():
        if name != "JAX_DISABLE_JIT":  # which would end the launcher's own imports in an error
            shell.setenv(name, value)
    (changed,) = said(tmp_path / "changed", [(*command, "--out", str(tmp_path / "changed"))])
    assert (plain.status, changed.status) == (0, 0), plain.err + changed.err
    assert "not passed on to workers" in changed.out
    assert "not passed on to workers" not in plain.out
    assert numbers(tmp_path / "plain") == numbers(tmp_path / "changed")
    (key,) = [path.parent.name for path in (tmp_path / "changed").glob("runs/*/*/done.json")]
    starts = [
        line for line in attempts_of(folder_of(tmp_path / "changed", key)) if "reached" in line or "start" in line
    ]
    assert any("xla_backend_optimization_level" in line.get("xla_flags", "") for line in starts) or machine.gpus()


def numbers(root: Path) -> list[Any]:
    (path,) = root.glob("runs/*/*/metrics.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [
        (line["step"], {name: value for name, value in line["m"].items() if not name.endswith("steps_per_second")})
        for line in lines
    ]
    assert kept
    return kept


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (None, ["0", "1"]),
        ("", []),
        ("-1", []),
        ("1", ["1"]),
        ("0,1", ["0", "1"]),
        ("1,-1,0", ["1"]),
        ("MIG-1, 0", ["MIG-1", "0"]),
    ],
)
def test_the_processors_that_cuda_would_see(
    monkeypatch: pytest.MonkeyPatch, shown: str | None, wanted: list[str]
) -> None:
    monkeypatch.setattr(machine.Path, "glob", lambda self, pattern: iter([Path("/dev/nvidia0"), Path("/dev/nvidia1")]))
    if shown is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert machine.gpus() == wanted


def test_where_there_is_none_a_name_makes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.Path, "glob", lambda self, pattern: iter([]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert machine.gpus() == []
