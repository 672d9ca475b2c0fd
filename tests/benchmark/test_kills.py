"""Fault injection: wherever a process is killed, the run that goes on is the run that never stopped, to the last bit.

As many runs as ``--kills`` says (6, or 50 by `make test-kills`) are killed at moments that a seed decides: half of them
right before one of the events of a run (in both phases, while it writes a checkpoint, while it sends), half at any
time; and every third is killed once more before it gets to its end.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.runs.attempts import attempts_of
from benchmark.runs.records import folder_of
from benchmark.tracking.store import prepare
from tests.benchmark import tiny
from tests.benchmark.test_launch import environment
from tests.benchmark.training.test_pack import assert_same

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),  # MLflow never closes its connections
]
SEED = 20260614
KILLED = -9
POINTS = "select run_uuid, key, step, value from metrics where key not like '%steps_per_second'"


@dataclass
class Runs:
    """Runs tiny packs one after another; compiled programs and an empty store are shared."""

    process: subprocess.Popen[str]
    programs: Path
    store: Path

    def __call__(self, root: Path, **how: Any) -> dict[str, Any]:
        if not root.exists():
            shutil.copytree(self.store, root)
            with closing(sqlite3.connect(root / "mlflow.db")) as connection:
                connection.execute("update experiments set artifact_location = ?", (f"file://{root}/artifacts",))
                connection.commit()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"root": str(root), "programs": str(self.programs), **how}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("kills")
    prepare(f"sqlite:///{folder}/store/mlflow.db", "toy/v1", folder / "unused")
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmark.killing"]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment(), **pipes) as process:
        yield Runs(process, folder / "programs", folder / "store")
        assert process.stdin is not None
        process.stdin.close()


@dataclass
class Whole:
    """The run that never stopped: its folder, the events in it, and how long it takes with its programs compiled."""

    root: Path
    events: int
    seconds: float


@pytest.fixture(scope="module")
def whole(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    root = tmp_path_factory.mktemp("whole")
    assert runs(root / "first")["status"] == 0
    said = runs(root / "second")
    assert said["status"] == 0
    return Whole(root / "first", int(said["said"]), said["seconds"])


def tracked(root: Path) -> list[tuple[Any, ...]]:
    """What the store holds of each seed's run: (seed, name, step, value), as often as it is there."""
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        seeds = dict(connection.execute("select run_uuid, value from tags where key = 'seed'").fetchall())
        statuses = connection.execute("select status from runs").fetchall()
        points = connection.execute(POINTS).fetchall()
    assert statuses == [("FINISHED",)] * len(tiny.cells())
    assert Counter(seeds.values()) == {str(cell.seed): 1 for cell in tiny.cells()}
    return sorted((seeds[run], *rest) for run, *rest in points if not rest[0].startswith("cost/"))


def test_an_uninterrupted_run_is_the_same_twice(whole: Whole) -> None:
    """Else nothing below could be told from chance; and the store holds every point once."""
    assert_same(whole.root.with_name("second"), whole.root)
    assert tracked(whole.root) == tracked(whole.root.with_name("second"))
    points = [point[:3] for point in tracked(whole.root)]
    assert len(points) == len(set(points)) > 100


def test_killed_anywhere_it_is_the_same_run(runs: Runs, whole: Whole, kills: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(SEED)
    wrong, places, events = [], Counter[str](), Counter[str]()
    for number in range(kills):
        root = tmp_path / str(number)
        how: dict[str, Any] = {"status": 0}
        while how["status"] == 0:  # it was done before its moment came: another one
            shutil.rmtree(root, ignore_errors=True)
            if number % 2:
                when: dict[str, Any] = {"after": float(rng.uniform(0.3, 0.9) * whole.seconds)}
            else:
                when = {"at": int(rng.integers(1, whole.events))}
            how = when | runs(root, **when)
        place = reached(root)
        places[place] += 1
        events[how["said"] or "any time"] += 1
        if how["status"] != KILLED:
            wrong.append(f"{how}: it did not end by the kill")
        if number % 3 == 0:
            again = runs(root, at=int(rng.integers(1, whole.events)))
            places["once more"] += again["status"] == KILLED
        said = runs(root)
        try:
            assert said["status"] == 0
            assert_same(root, whole.root)
            assert tracked(root) == tracked(whole.root)
        except AssertionError as error:
            wrong.append(f"{how}, {place}: {str(error).strip().splitlines()[0]}")
        shutil.rmtree(root)
    print(f"killed {places.total()} times, {dict(places)}; right before: {dict(events)}")
    assert wrong == []
    assert places.total() >= kills


def reached(root: Path) -> str:
    """In which phase a run was killed, from its records."""
    folder = folder_of(root, tiny.cells()[0].key)
    if (folder / "done.json").exists():
        return "done, while sending"
    if not attempts_of(folder):
        return "before it began"
    names = {name.partition("/")[0] for _, name, _ in tiny.history(root, tiny.cells()[0])}
    return "online" if "online" in names else "offline" if "offline" in names else "before its first line"
