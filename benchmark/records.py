"""The run directory: the truth about one run. Scheduler and tracker hold copies that can be made again from it.

<root>/runs/<key[:2]>/<key>/
    config.json       the configuration that the key is the hash of
    provenance.json   where each value came from
    metrics.jsonl     a line for each log call: {"t": ms since epoch, "step": n, "m": {name: value}}
    checkpoint/       the last good state, replaced atomically, and the one before
    saved.json        how much of metrics.jsonl no interruption takes back: that much may be sent to a tracker
    attempts.jsonl    a line for each start (code, machine, where it goes on from), and one for how it ended
    lease.json        who writes the run at present
    failed.json       error, message and attempt; removed by a retry
    done.json         final numbers; written last, by rename: nothing else means "done"
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.lease import Lease
from benchmark.plan import Cell
from envs._suite import SuiteError

LEASE, SAVED = "lease.json", "saved.json"
MOST_LOST = 3
"""Attempts in a row that may be lost (killed, or their node failed) without the run getting any further."""


class RunDamaged(Exception):
    """A run's files do not belong together."""


class NoProgress(Exception):
    """A run is killed again and again before it gets any further."""


class Cost(NamedTuple):
    """What a run took: hours of the clock, and hours of a device, shared with those that ran beside it."""

    wall_hours: float
    device_hours: float


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


def attempts_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's attempts that are whole."""
    try:
        text = (folder / "attempts.jsonl").read_bytes()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]


def cost_of(attempts: Sequence[Mapping[str, Any]]) -> Cost:
    """Sums over the attempts that have ended."""
    starts = {line["attempt"]: line for line in attempts if "start" in line}
    wall = device = 0.0
    for line in attempts:
        if "end" in line and line["attempt"] in starts:
            start = starts[line["attempt"]]
            hours = (line["end"] - start["start"]) / 3_600_000
            wall += hours
            device += hours * start.get("device_share", 1.0)
    return Cost(wall, device)


def _cut_torn_line(path: Path) -> None:
    """Forget a last line that a crash or a full disk left without its end."""
    if path.exists():
        data = path.read_bytes()
        os.truncate(path, data.rfind(b"\n") + 1)


def milliseconds() -> int:
    return time.time_ns() // 1_000_000


class Records:
    """The single writer of one run's directory; holds its lease until closed or until the process ends."""

    def __init__(self, root: Path, cell: Cell) -> None:
        """Raises LeaseHeld if another process writes this run."""
        self.cell = cell
        self.folder = folder_of(root, cell.key)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lease = Lease(self.folder / LEASE)
        if not (self.folder / "config.json").exists():
            write_json(self.folder / "provenance.json", cell.provenance)
            write_json(self.folder / "config.json", cell.configuration)
        # Without a buffer, so that what a full disk refused is not tried again, and fails again, on closing.
        self._metrics = (self.folder / "metrics.jsonl").open("ab", buffering=0)
        _cut_torn_line(self.folder / "attempts.jsonl")
        self.attempt = 0
        self.ended = False

    def begin(self, about: Mapping[str, Any], reached: int = 0) -> None:
        """Note a start that goes on from step ``reached``, and the end of an earlier one that could not say it.

        Raises SuiteError if the data are not those of the earlier attempts, NoProgress after MOST_LOST lost ones.
        """
        earlier = attempts_of(self.folder)
        for line in earlier:
            known = "dataset_sha256" in line and "dataset_sha256" in about
            if known and line["dataset_sha256"] != about["dataset_sha256"]:
                raise SuiteError(f"run {self.cell.key} began with other data; restore them, or delete {self.folder}")
        if earlier and "end" not in earlier[-1]:
            lost = {"attempt": earlier[-1]["attempt"], "end": self._last_sign(earlier[-1]["start"]), "how": "lost"}
            self._append_attempt(lost)
            earlier.append(lost)
        self.attempt = 1 + max((line["attempt"] for line in earlier), default=0)
        (self.folder / "failed.json").unlink(missing_ok=True)
        self._append_attempt({"attempt": self.attempt, "start": milliseconds(), "reached": reached, **about})
        if _lost_at(earlier, reached) >= MOST_LOST:
            raise NoProgress(
                f"run {self.cell.key} was killed {MOST_LOST} times at step {reached} without getting further; see the "
                "log of its job, give it more time or memory, then run the same command again"
            )

    def _last_sign(self, start: int) -> int:
        """When an attempt that did not say how it ended was last seen alive (ms)."""
        beat = round(1000 * (self._lease.left_at or 0))
        return max(start, beat, (self.folder / "metrics.jsonl").stat().st_mtime_ns // 1_000_000)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one line; what is not finite is left out and flagged. Raises LeaseLost."""
        self.check()
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

    def mark_saved(self, offset: int) -> None:
        """All members of the pack have a checkpoint with at least so many bytes of metrics."""
        write_json(self.folder / SAVED, {"offset": offset})

    def cut_back(self, offset: int) -> None:
        """Forget what was logged after a checkpoint. Raises RunDamaged if they were cut short."""
        if self._metrics.seek(0, os.SEEK_END) < offset:
            raise RunDamaged(f"metrics.jsonl is shorter than at its checkpoint; delete {self.folder} to run it again")
        self._metrics.truncate(offset)
        self._metrics.seek(0, os.SEEK_END)

    def check(self) -> None:
        """Raises LeaseLost if another process took this run over; then nothing more may be written."""
        self._lease.check()

    def finish(self, final: Mapping[str, float]) -> None:
        """The run is done."""
        os.fsync(self._metrics.fileno())
        checksum = hashlib.sha256((self.folder / "metrics.jsonl").read_bytes()).hexdigest()
        self._end("done")
        write_json(self.folder / "done.json", {"final": dict(final), "metrics_sha256": checksum})

    def fail(self, error: str, message: str) -> None:
        """The run failed; a later launch tries again from its last checkpoint."""
        self._end("failed", error=error)
        write_json(self.folder / "failed.json", {"error": error, "message": message, "attempt": self.attempt})

    def stop(self, how: str) -> None:
        """The run pauses ('stopped', or 'requeued' by its scheduler) and goes on later from its last checkpoint."""
        self._end(how)

    def close(self) -> None:
        self._metrics.close()
        self._lease.release()

    def _end(self, how: str, **more: str) -> None:
        self.check()
        self.ended = True
        self._append_attempt({"attempt": self.attempt, "end": milliseconds(), "how": how, **more})

    def _append_attempt(self, line: Mapping[str, Any]) -> None:
        with (self.folder / "attempts.jsonl").open("a") as file:
            file.write(json.dumps(line, sort_keys=True) + "\n")


def fail_for_the_dead(root: Path, cell: Cell, error: str, message: str) -> None:
    """Say of a run whose process broke down that it failed. Raises LeaseHeld if another process writes it meanwhile."""
    records = Records(root, cell)
    try:
        records.attempt = max((line["attempt"] for line in attempts_of(records.folder)), default=0)
        records.fail(error, message)
    finally:
        records.close()


def _lost_at(attempts: Sequence[Mapping[str, Any]], reached: int) -> int:
    """How many attempts before this one, in a row, were lost without getting past this step."""
    starts = {line["attempt"]: line for line in attempts if "start" in line}
    ends = [line for line in attempts if "end" in line]
    count = 0
    while count < len(ends) and ends[-1 - count]["how"] == "lost":
        if starts.get(ends[-1 - count]["attempt"], {}).get("reached") != reached:
            break
        count += 1
    return count
