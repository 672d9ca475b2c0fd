"""A real SLURM cluster on this machine for the whole session, and folders whose runs are sent to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmark.planning.plan import Cell
from benchmark.runs import plan_file
from benchmark.runs.attempts import attempts_of
from benchmark.runs.lease import holder
from benchmark.runs.records import LEASE, folder_of, state_of
from slurm.local.__main__ import Cluster
from slurm.local.configuration import Shape
from tests.benchmark import tiny
from tests.benchmark.test_launch import environment

FOLDER = Path("/var/lib/slurm-benchmark-tests")
PORT = 18817
PATIENCE_SECONDS = 900.0
"""Before a test gives up on something: machines are shared, and this is not about how fast they are."""
SHORT = tiny.words(offline_steps=1000, log_every=500, evaluate_every=50_000)
"""Some thousand steps a second: what is longer is asked for by its method."""


def missing() -> str:
    """Why the cluster can't be had here; empty if it can."""
    if os.geteuid():
        return "a cluster is started by root"
    return "" if shutil.which("apt-get") else "a cluster is made of Debian's packages"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Up before the first test that needs it; one that was up already is left up."""
    if reason := missing():
        pytest.skip(reason)
    cluster = Cluster(Shape(FOLDER, port=PORT))
    before = cluster.answers()
    cluster.up()
    os.environ["SLURM_CONF"] = str(cluster.shape.conf)
    yield cluster
    if not before:
        cluster.down()


def wait_for(what: Callable[[], Any], where: Path) -> Any:
    """What it gives, once it gives something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := what()):
        if time.monotonic() > deadline:
            logs = [f"{path}:\n{path.read_text()[-2000:]}" for path in where.glob("slurm/*/*_log.out")]
            pytest.fail("\n".join(["it did not happen in time", slurm("squeue"), *logs]))
        time.sleep(0.3)
    return found


def slurm(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml(each)}" for name, each in value.items()) + "}"
    return json.dumps(value)


@dataclass
class Place:
    """A folder whose runs are sent to the cluster, and the plan of them."""

    root: Path
    words: tuple[str, ...]
    profile: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def launch(self, *more: str, **profile: Any) -> subprocess.CompletedProcess[str]:
        """The launch command; what a profile says beside the usual can be changed from one time to the next."""
        values = {"time_minutes": 10, "cpus": 1, "memory_gb": 2, "signal_seconds": 50, "partition": "main"}
        path = self.root / "profile.toml"
        values |= {"environment": {"JAX_PLATFORMS": "cpu"}, **self.profile, **profile}
        path.write_text("\n".join(f"{name} = {toml(value)}" for name, value in values.items()))
        return self.command("launch", *self.words, "--executor", "slurm", "--profile", str(path), *more)

    def command(self, module: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "ignore", "-m", f"benchmark.{module}", *words, "--out", str(self.root)]
        variables = environment(SLURM_CONF=os.environ["SLURM_CONF"]) | self.variables
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, cwd=self.root)

    @property
    def cells(self) -> list[Cell]:
        return list(
            {c.key: c for plan in plan_file.load_all(self.root)[0] for p in plan.packs for c in p.cells}.values()
        )

    def of(self, method: str) -> list[Cell]:
        return [cell for cell in self.cells if cell.method == method]

    def folder(self, cell: Cell) -> Path:
        return folder_of(self.root, cell.key)

    def states(self) -> dict[str, set[str]]:
        """By method, from the runs' own files."""
        found: dict[str, set[str]] = {}
        for cell in self.cells:
            found.setdefault(cell.method, set()).add(state_of(self.folder(cell)))
        return found

    def trains(self, cell: Cell) -> bool:
        """Whether it has logged something and somebody is at it."""
        path = self.folder(cell) / "metrics.jsonl"
        return path.exists() and path.stat().st_size > 0 and holder(path.with_name(LEASE)) is not None

    def job(self, cell: Cell) -> str:
        """The job of its newest attempt."""
        return next(line["slurm_job"] for line in reversed(attempts_of(self.folder(cell))) if "start" in line)

    def ends(self, cell: Cell) -> list[str]:
        return [line["how"] for line in attempts_of(self.folder(cell)) if "end" in line]

    def queue(self) -> list[str]:
        """Jobs of this folder that have not ended, with their state."""
        said = slurm("squeue", "--noheader", "--array", "--format=%i|%T|%j").splitlines()
        mine = {path.parent.name for path in self.root.glob("slurm/*/jobs.json")}
        return ["|".join(line.split("|")[:2]) for line in said if line.split("|")[2].removeprefix("bench-") in mine]

    def settle(self) -> None:
        """Wait until no job of this folder is left."""
        wait_for(lambda: not self.queue(), self.root)


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled programs, which all places share."""
    return tmp_path_factory.mktemp("programs")


MakePlace = Callable[..., Place]


@pytest.fixture(scope="module")
def place(cluster: Cluster, programs: Path, tmp_path_factory: pytest.TempPathFactory) -> MakePlace:
    """Makes a folder for runs of these methods on one toy world."""

    def make(methods: str, *changes: str, seeds: str = "0-1", **profile: Any) -> Place:
        root = tmp_path_factory.mktemp("place")
        (root / "cache").symlink_to(programs)
        words = ("--suite", "toy", "--preset", "quick", "--tasks", "bandit-v0", "--methods", methods)
        return Place(root, (*words, "--seeds", seeds, "--keep", "all", "--set", *sizes(methods, changes)), profile)

    return make


def sizes(methods: str, changes: Sequence[str]) -> list[str]:
    """SHORT with these changes; without what would then do nothing."""
    said = {word.partition("=")[0]: word for word in (*SHORT, *changes)}

    def undone(key: str) -> bool:
        return all(f"{name}.{key.removeprefix('run.')}" in said for name in methods.split(","))

    return [word for key, word in said.items() if not (key.startswith("run.") and undone(key))]
