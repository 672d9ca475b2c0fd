"""Shared by the OGBench tests: small data files and environments that are made once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.ogbench._environments import Environment, clone, make, reset
from envs.ogbench._tasks import Domain, domains, tasks

PUZZLE = "puzzle-3x3-play-singletask-task1-v0"


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, so that no test sees the user's own data."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def puzzle_domain() -> Domain:
    """puzzle-3x3 with official files of two episodes of five rows."""
    return dataclasses.replace(domains()["puzzle-3x3-play-sparse"], episodes=2, rows=5)


def file_columns(domain: Domain, seed: int = 0) -> dict[str, np.ndarray]:
    """Columns of a data file of this domain, with random contents."""
    rng = np.random.default_rng(seed)
    rows = domain.episodes * domain.rows
    columns: dict[str, np.ndarray] = {
        name: rng.normal(size=(rows, width)).astype(np.float32) for name, width in domain.columns.items()
    }
    if "button_states" in columns:
        columns["button_states"] = rng.integers(2, size=columns["button_states"].shape)
    return {
        "observations": rng.normal(size=(rows, domain.observation)).astype(np.float32),
        "actions": rng.uniform(-1, 1, size=(rows, domain.action_size)).astype(np.float32),
        "terminals": np.arange(rows) % domain.rows == domain.rows - 1,
        **columns,
    }


@pytest.fixture
def write_file() -> Callable[..., Path]:
    """Write a data file of a domain; keywords replace columns (None removes one)."""

    def write(file: Path, domain: Domain, seed: int = 0, **changes: Any) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        columns: dict[str, Any] = {
            name: value for name, value in (file_columns(domain, seed) | changes).items() if value is not None
        }
        np.savez_compressed(file, **columns)
        return file

    return write


@pytest.fixture(scope="session")
def environment() -> Iterator[Callable[[str], Environment]]:
    """The environment of a task, made once for all tests; reset it before use."""
    made: dict[str, Environment] = {}

    def get(name: str) -> Environment:
        if name not in made:
            made[name] = make(tasks()[name])
            reset(made[name], 0)
        return made[name]

    yield get
    for env in made.values():
        env.close()


@pytest.fixture
def cloned_puzzles(environment: Callable[[str], Environment], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools of this process copy the session's puzzle instead of making their own, which takes seconds."""
    first = environment(PUZZLE)

    def several(task: Any, count: int) -> list[Environment]:
        copies = [clone(first, own_model=False) for _ in range(count)]
        for env in copies:
            env._max_episode_steps = task.horizon
        return copies

    monkeypatch.setattr("envs.ogbench._pool.make_several", several)
