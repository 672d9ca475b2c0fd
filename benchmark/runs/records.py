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
    refused.json      a job that was sent for it found other code of its method, and left it as it was
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
from typing import Annotated, Any

from annotated_types import Ge

from benchmark.planning.plan import Cell
from benchmark.runs.attempts import attempts_of, ends_of, lost_in_a_row, starts_of
from benchmark.runs.lease import Lease, LeaseLost
from envs._documents import Schema
from envs._suite import SuiteError

LEASE, SAVED, REFUSED = "lease.json", "saved.json", "refused.json"
MOST_LOST = 3
"""Attempts in a row that may be lost (killed, or their node failed) without the run getting any further."""


class Failure(Schema):
    """What failed.json says."""

    error: str
    message: str
    attempt: int = 0


class Done(Schema):
    """What done.json says; a measure that was no number is none."""

    final: dict[str, float | None]
    metrics_sha256: str = ""


class Saved(Schema):
    """What saved.json says."""

    offset: Annotated[int, Ge(0)]


class Refused(Schema):
    """What refused.json says: fingerprints, and when (ms since the epoch)."""

    sent: str
    found: str
    at: int


class RunDamaged(Exception):
    """A run's files do not belong together."""


class NoProgress(Exception):
    """A run is killed again and again before it gets any further."""


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


def state_of(folder: Path) -> str:
    """'done', 'failed', 'begun' or 'planned', computed from the files alone."""
    place = str(folder)  # asked of thousands of runs at a time, where joining paths would be most of the work
    for name, state in (("done.json", "done"), ("failed.json", "failed"), ("attempts.jsonl", "begun")):
        if os.path.exists(f"{place}/{name}"):
            return state
    return "planned"


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
        self.attempt = 0
        self.ended = False
        self._lease = Lease(self.folder / LEASE)
        try:
            if not (self.folder / "config.json").exists():
                write_json(self.folder / "provenance.json", cell.provenance)
                write_json(self.folder / "config.json", cell.configuration)
            # Without a buffer, so that what a full disk refused is not tried again, and fails again, on closing.
            self._metrics = (self.folder / "metrics.jsonl").open("ab", buffering=0)
            _cut_torn_line(self.folder / "attempts.jsonl")
        except OSError:
            self._lease.release()
            raise

    def begin(self, about: Mapping[str, Any]) -> None:
        """Note a start, and the end of an earlier one that could not say it. Raises NoProgress after MOST_LOST that
        were lost before they could open the data."""
        earlier = attempts_of(self.folder)
        if earlier and (last := earlier[-1]["attempt"]) not in ends_of(earlier):
            start = starts_of(earlier).get(last, {}).get("start", 0)
            lost = {"attempt": last, "end": self._last_sign(start), "how": "lost"}
            self._append_attempt(lost)
            earlier.append(lost)
        self.attempt = 1 + max((line["attempt"] for line in earlier), default=0)
        for name in ("failed.json", REFUSED):
            (self.folder / name).unlink(missing_ok=True)
        self._append_attempt({"attempt": self.attempt, "start": milliseconds(), **about})
        self._check_progress(earlier, None)

    def opened(self, reached: int, **about: Any) -> None:
        """Note that the attempt goes on from step ``reached``, with these data on this device.

        Raises SuiteError if the data are not those of the earlier attempts, NoProgress after MOST_LOST that were lost
        without getting past this step.
        """
        earlier = [line for line in attempts_of(self.folder) if line["attempt"] < self.attempt]
        for line in earlier:
            known = "dataset_sha256" in line and "dataset_sha256" in about
            if known and line["dataset_sha256"] != about["dataset_sha256"]:
                raise SuiteError(f"run {self.cell.key} began with other data; restore them, or delete {self.folder}")
        self._append_attempt({"attempt": self.attempt, "reached": reached, **about})
        self._check_progress(earlier, reached)

    def ready(self) -> None:
        """Note that everything is compiled and the first updates are done."""
        self.check()
        self._append_attempt({"attempt": self.attempt, "ready": milliseconds()})

    def wait(self) -> None:
        """Note that the attempt has its data, and that others of its pack go first."""
        self._append_attempt({"attempt": self.attempt, "waited": True})

    def _check_progress(self, earlier: Sequence[Mapping[str, Any]], reached: int | None) -> None:
        if lost_in_a_row(earlier, reached) >= MOST_LOST:
            where = "before it had its data" if reached is None else f"at step {reached} without getting further"
            raise NoProgress(
                f"run {self.cell.key} was killed {MOST_LOST} times {where}; see the log of its job, give it more time "
                "or memory, then run the same command again"
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

    @property
    def saved(self) -> bool:
        """Whether the pack has ever saved together."""
        return (self.folder / SAVED).exists()

    def cut_back(self, offset: int) -> None:
        """Forget what was logged after a checkpoint. Raises RunDamaged if they were cut short."""
        if self._metrics.seek(0, os.SEEK_END) < offset:
            raise RunDamaged(f"metrics.jsonl is shorter than at its checkpoint; delete {self.folder} to run it again")
        self._metrics.truncate(offset)
        self._metrics.seek(0, os.SEEK_END)

    def check(self) -> None:
        """Raises LeaseLost if another process took this run over; then nothing more may be written."""
        self._lease.check()

    @property
    def lost(self) -> bool:
        """Whether another process took this run over."""
        try:
            self.check()
        except LeaseLost:
            return True
        return False

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

    def bury(self, error: str, message: str) -> None:
        """The run failed, and the process that ran it died before it could say so."""
        earlier = attempts_of(self.folder)
        self.attempt = max((line["attempt"] for line in earlier), default=0)
        if self.attempt not in ends_of(earlier):
            last = self._last_sign(starts_of(earlier).get(self.attempt, {}).get("start", 0))
            self._append_attempt({"attempt": self.attempt, "end": last, "how": "failed", "error": error})
        write_json(self.folder / "failed.json", {"error": error, "message": message, "attempt": self.attempt})

    def _append_attempt(self, line: Mapping[str, Any]) -> None:
        """A whole line or none, on disk."""
        text = json.dumps(line, sort_keys=True).encode() + b"\n"
        path = self.folder / "attempts.jsonl"
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                if file.write(text) < len(text):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise


def refuse(root: Path, cell: Cell, sent: str, found: str) -> None:
    """Note that a worker was sent a run with one code of its method, and found another; nothing else is touched."""
    folder = folder_of(root, cell.key)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / REFUSED, {"sent": sent, "found": found, "at": milliseconds()})


def fail_for_the_dead(root: Path, cell: Cell, error: str, message: str) -> None:
    """Say of a run whose process broke down that it failed. Raises LeaseHeld if another process writes it meanwhile."""
    records = Records(root, cell)
    try:
        records.bury(error, message)
    finally:
        records.close()
