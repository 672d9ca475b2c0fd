"""The run directory: the truth about one run. Scheduler and tracker hold copies that can be made again from it.

<root>/runs/<key[:2]>/<key>/
    config.json       the configuration that the key is the hash of
    provenance.json   where each value came from
    metrics.jsonl     a line for each log call: {"t": ms since epoch, "step": n, "m": {name: value}}
    checkpoint/       the last good state, replaced atomically
    attempts.jsonl    a line for each start, and one for how it ended
    failed.json       error, message and attempt; removed by a retry
    done.json         final numbers; written last, by rename: nothing else means "done"
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.plan import Cell
from envs._suite import SuiteError


class RunLocked(Exception):
    """Another process is writing this run."""


class RunDamaged(Exception):
    """A run's files do not belong together."""


def folder_of(root: Path, key: str) -> Path:
    return root / "runs" / key[:2] / key


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically, so that a reader sees the old text or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        json.dump(value, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def state_of(folder: Path) -> str:
    """'done', 'failed', 'begun' or 'planned', computed from the files alone."""
    if (folder / "done.json").exists():
        return "done"
    if (folder / "failed.json").exists():
        return "failed"
    return "begun" if (folder / "attempts.jsonl").exists() else "planned"


def _cut_torn_line(path: Path) -> None:
    """Forget a last line that a crash or a full disk left without its end."""
    if path.exists():
        data = path.read_bytes()
        os.truncate(path, data.rfind(b"\n") + 1)


def milliseconds() -> int:
    return time.time_ns() // 1_000_000


class Records:
    """The single writer of one run's directory; holds its lock until closed or until the process ends."""

    def __init__(self, root: Path, cell: Cell) -> None:
        self.cell = cell
        self.folder = folder_of(root, cell.key)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise RunLocked(f"run {cell.key} is being written by another process; wait for it or stop it") from error
        if not (self.folder / "config.json").exists():
            write_json(self.folder / "provenance.json", cell.provenance)
            write_json(self.folder / "config.json", cell.configuration)
        # Without a buffer, so that what a full disk refused is not tried again, and fails again, on closing.
        self._metrics = (self.folder / "metrics.jsonl").open("ab", buffering=0)
        _cut_torn_line(self.folder / "attempts.jsonl")
        self.attempt = 0
        self.ended = False

    def begin(self, about: Mapping[str, Any]) -> None:
        """Note a start. Raises SuiteError if the data are not those of the earlier attempts."""
        earlier = self._attempts()
        for line in earlier:
            known = "dataset_sha256" in line and "dataset_sha256" in about
            if known and line["dataset_sha256"] != about["dataset_sha256"]:
                raise SuiteError(f"run {self.cell.key} began with other data; restore them, or delete {self.folder}")
        self.attempt = 1 + max((line["attempt"] for line in earlier), default=0)
        (self.folder / "failed.json").unlink(missing_ok=True)
        self._append_attempt({"attempt": self.attempt, "start": milliseconds(), **about})

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one line; what is not finite is left out and flagged."""
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        if len(finite) < len(metrics):
            finite["diverged"] = 1.0
        line = json.dumps({"t": milliseconds(), "step": step, "m": finite}).encode() + b"\n"
        if self._metrics.write(line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder / "metrics.jsonl"))

    def safe_offset(self) -> int:
        """Bytes of metrics so far, all on disk; a checkpoint holds it."""
        os.fsync(self._metrics.fileno())
        return self._metrics.tell()

    def cut_back(self, offset: int) -> None:
        """Forget what was logged after a checkpoint. Raises RunDamaged if they were cut short."""
        if self._metrics.seek(0, os.SEEK_END) < offset:
            raise RunDamaged(f"metrics.jsonl is shorter than at its checkpoint; delete {self.folder} to run it again")
        self._metrics.truncate(offset)
        self._metrics.seek(0, os.SEEK_END)

    def finish(self, final: Mapping[str, float]) -> None:
        """The run is done."""
        os.fsync(self._metrics.fileno())
        checksum = hashlib.sha256((self.folder / "metrics.jsonl").read_bytes()).hexdigest()
        self._end("done")
        write_json(self.folder / "done.json", {"final": dict(final), "metrics_sha256": checksum})

    def fail(self, error: str, message: str) -> None:
        """The run failed; a later launch tries again from its last checkpoint."""
        self._end("failed")
        write_json(self.folder / "failed.json", {"error": error, "message": message, "attempt": self.attempt})

    def stop(self) -> None:
        """The run pauses; a later launch goes on from its last checkpoint."""
        self._end("stopped")

    def close(self) -> None:
        self._metrics.close()
        self._lock.close()

    def _end(self, how: str) -> None:
        self.ended = True
        self._append_attempt({"attempt": self.attempt, "end": milliseconds(), "how": how})

    def _attempts(self) -> list[dict[str, Any]]:
        path = self.folder / "attempts.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _append_attempt(self, line: Mapping[str, Any]) -> None:
        with (self.folder / "attempts.jsonl").open("a") as file:
            file.write(json.dumps(line, sort_keys=True) + "\n")
