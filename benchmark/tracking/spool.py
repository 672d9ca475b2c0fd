"""A run folder as the tracker sees it: what is to be sent, and the note of what was sent before."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.planning.data_files import preset_table
from benchmark.planning.plan import Cell, Configuration, key_of
from benchmark.runs.attempts import METHOD_CODE, SHARED_CODE, attempts_of, codes_of, cost_of, starts_of
from benchmark.runs.lease import holder
from benchmark.runs.records import LEASE, SAVED, Done, Saved
from benchmark.runs.superseded import is_superseded, key_of_folder
from benchmark.tracking.address import OWN as OWN_STORE
from benchmark.tracking.address import name_of
from envs import load_suite
from envs._addresses import shown
from envs._documents import DocumentError, Schema, parsed, read
from envs._suite import SUCCESS, SuiteError

TAG_LENGTH = 8000  # MLflow's limit
CONFIG_TAGS = ("suite", "task", "domain", "method", "seed", "preset", "backbone", "value", "protocol")
ATTEMPT_TAGS = ("pack", "git_commit", "git_dirty", "dataset_sha256", "host", "gpu", "slurm_job", "lock_hash")

OPEN = ("RUNNING", "SCHEDULED")
"""MLflow's words for a run that goes on by itself."""


class FolderError(Exception):
    """A run folder that cannot be read; the text is one sentence that says how to mend it."""


class Point(NamedTuple):
    """One value of one metric, in the order of MLflow's own arguments; ``time`` in ms since the epoch."""

    name: str
    value: float
    time: int
    step: int


@dataclass(frozen=True)
class Pushed:
    """What one store has of a run: ``sha256`` is of the first ``offset`` bytes of its metrics, ``tags`` of its tags."""

    run: str
    offset: int = 0
    sha256: str = ""
    status: str = ""
    attempt: int = 0
    tags: str = ""
    artifacts: bool = False


class Line(Schema):
    """A line of metrics.jsonl."""

    t: int
    step: int
    m: dict[str, float]


class Spool:
    """One run folder, read when it is made; a half-written last line is left for later."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = key_of_folder(folder)
        self.superseded = is_superseded(folder)
        # First, since what is read after it is then no older: a run that is done has ended its attempt.
        self.status = self._status()
        with _legible(folder):
            self.config: dict[str, Any] = {**read(folder / "config.json", Configuration)}
            self.provenance = self._provenance()
            self.attempts = attempts_of(folder)
            self.tags = self._tags()
            parts = ("settings", "hyperparameters", "data")
            self.params = {
                f"{part}.{name}": _text(value) for part in parts for name, value in self.config[part].items()
            }

    @property
    def started(self) -> dict[str, Any]:
        """What is known of the newest attempt."""
        return next(reversed(starts_of(self.attempts).values()), {})

    @property
    def attempt(self) -> int:
        return self.started.get("attempt", 0)

    @property
    def begun(self) -> int | None:
        return next((event["start"] for event in self.attempts if "start" in event), None)

    @property
    def ended(self) -> int | None:
        return next((event["end"] for event in reversed(self.attempts) if "end" in event), None)

    @property
    def swept(self) -> str:
        """What tells the runs of a sweep from each other."""
        return Cell(self.config, self.provenance).swept

    @property
    def name(self) -> str:
        """What people see first of the run in MLflow."""
        words = [self.tags["method"], self.swept, self.tags["task"], self.tags["seed"]]
        return " ".join(word for word in words if word)

    @cached_property
    def tags_sha256(self) -> str:
        return sha256(json.dumps(self.tags, sort_keys=True).encode())

    def _provenance(self) -> dict[str, str]:
        try:
            return read(self.folder / "provenance.json", dict[str, str])
        except FileNotFoundError:
            return {}

    def _status(self) -> str:
        """In MLflow's words."""
        if (self.folder / "done.json").exists():
            return "FINISHED"
        if (self.folder / "failed.json").exists():
            return "FAILED"
        if holder(self.folder / LEASE):
            return "RUNNING"
        # Nobody is at work: it waits to be started again, or somebody has to do that.
        last = next(reversed(attempts_of(self.folder)), {})
        return "SCHEDULED" if last.get("how") == "requeued" else "KILLED"

    @property
    def extent(self) -> int:
        """Bytes of metrics that will not be taken back: all of a finished run's, else what is behind a checkpoint."""
        path = self.folder / "metrics.jsonl"
        size = path.stat().st_size if path.exists() else 0
        if self.status == "FINISHED":
            return size
        with _legible(self.folder):
            try:
                return min(size, read(self.folder / SAVED, Saved).offset)
            except FileNotFoundError:
                return 0

    @cached_property
    def metrics(self) -> bytes:
        """The lines that may be sent."""
        with _legible(self.folder):
            return _whole(self.folder / "metrics.jsonl", self.extent)

    def settled(self, pushed: Pushed) -> bool:
        """Whether the run has ended and all of it was sent."""
        state = (pushed.status, pushed.attempt, pushed.tags, pushed.offset)
        now = (self.status, self.attempt, self.tags_sha256, self.extent)
        return pushed.artifacts and self.status not in OPEN and state == now

    def points(self, offset: int) -> list[Point]:
        """The metrics after this byte; with the final measures, at the last step, if the run is done."""
        with _legible(self.folder):
            lines = _lines(self.metrics[offset:], self.folder / "metrics.jsonl")
            points = [Point(name, v, line.t, line.step) for line in lines for name, v in line.m.items()]
            return points + self._finals() if self.status == "FINISHED" else points

    def _finals(self) -> list[Point]:
        lines = _lines(self.metrics[self.metrics[:-1].rfind(b"\n") + 1 :], self.folder / "metrics.jsonl")
        last = lines[-1] if lines else Line(t=self.begun or 0, step=0, m={})
        done = read(self.folder / "done.json", Done)
        if done.metrics_sha256 and done.metrics_sha256 != sha256(self.metrics):
            raise DocumentError("metrics.jsonl is not what it was when the run ended")
        numbers = {f"final/{name}": value for name, value in done.final.items() if value is not None}
        numbers |= {f"cost/{name}": value for name, value in cost_of(self.attempts)._asdict().items()}
        return [Point(name, v, last.t, last.step) for name, v in numbers.items() if math.isfinite(v)]

    def _tags(self) -> dict[str, str]:
        """What identifies and describes the run; those of the attempt change when it is resumed."""
        suite, score = load_suite(self.config["suite"]), _score(self.config["suite"], self.config["preset"])
        seedless = {name: value for name, value in self.config.items() if name != "seed"}
        tags = {name: self.config[name] for name in CONFIG_TAGS}
        tags |= {name: self.started.get(name, "") for name in ATTEMPT_TAGS}
        tags |= {
            "bench.key": self.key,
            "bench.plan": self.started.get("plan", ""),
            "bench.provenance": path.read_text() if (path := self.folder / "provenance.json").exists() else "",
            "bench.superseded": "true" if self.superseded else "false",
            "swept": self.swept,
            METHOD_CODE: "+".join(codes_of(self.attempts, METHOD_CODE)),
            SHARED_CODE: "+".join(codes_of(self.attempts, SHARED_CODE)),
            "attempt": self.attempt,
            **{f"cost.{name}": f"{value:.4f}" for name, value in cost_of(self.attempts)._asdict().items()},
            "config_hash": key_of(seedless),
            "data_source": suite.provenance(self.config["data"]),
            "mujoco": self.started.get("versions", {}).get("mujoco", ""),
            "score": score,
            "score_meaning": suite.scores()[score],
        }
        return {name: _text(value)[:TAG_LENGTH] for name, value in tags.items()}


def _score(suite: str, preset: str) -> str:
    """What the preset ranks by, today, since no run depends on it."""
    try:
        return preset_table(suite, preset).score
    except DocumentError:  # the preset of an older run may be gone
        return SUCCESS


def note(folder: Path, uri: str, pushed: Pushed) -> None:
    """Write down what this store has now."""
    _write(folder, _notes(folder) | {name_of(uri, _root(folder)): pushed})


def stored(folder: Path, uri: str) -> Pushed | None:
    """What this store has; an unreadable note counts as none, since the run is also found by its key."""
    return _notes(folder).get(name_of(uri, _root(folder)))


def _root(folder: Path) -> Path:
    return folder.parents[2]


def _notes(folder: Path) -> dict[str, Pushed]:
    """By store. Notes under an address with its password, as they were made once, are rewritten without it."""
    try:
        noted = read(folder / "mlflow.json", dict[str, Pushed])
    except (FileNotFoundError, DocumentError):
        return {}
    found = {name if name == OWN_STORE else name_of(name, _root(folder)): pushed for name, pushed in noted.items()}
    if any(shown(name) != name for name in noted):
        _write(folder, found)
    return found


def _write(folder: Path, notes: Mapping[str, Pushed]) -> None:
    partial = folder / "mlflow.json.partial"
    partial.write_text(json.dumps({name: asdict(pushed) for name, pushed in notes.items()}, indent=1))
    os.replace(partial, folder / "mlflow.json")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _whole(path: Path, size: int) -> bytes:
    """The complete lines in the first bytes of a file that is still being written."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        data = file.read(size)
    return data[: data.rfind(b"\n") + 1]


def _lines(data: bytes, path: Path) -> list[Line]:
    return [parsed(line.decode(errors="replace"), Line, str(path)) for line in data.splitlines()]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@contextmanager
def _legible(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, DocumentError, SuiteError) as error:
        raise FolderError(f"{folder} is not a readable run folder ({error}): delete it and run it again.") from error
