"""Leases: a file says who works on a thing, and its time of change that the owner still lives.

They hold across machines that share a file system, without locks, which not every shared one has. Clocks are not
compared: what time it is says the file system that the lease lies on. An owner of the same machine is looked up by its
process, so that what was killed there is taken over at once; another machine's after STALE_SECONDS without a beat.
A start of a SLURM job is followed by the next one of the same job, whatever the first still does. So an owner asks
before it writes (`check`) whether the lease is still its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from envs._documents import DocumentError, read

BEAT_SECONDS = 15.0
STALE_SECONDS = 120.0
"""Without a beat: long enough for a file system that hangs for a while."""


class LeaseHeld(Exception):
    """Somebody else works on it; the text says who."""


class LeaseLost(Exception):
    """Somebody took the lease over while its owner was thought dead; the owner must not write any more."""


@dataclass(frozen=True)
class Owner:
    """Who holds a lease; ``token`` tells it from every other."""

    host: str
    machine: str
    pid: int
    started: str
    job: str
    restart: int
    token: str

    def __str__(self) -> str:
        return f"{self.host}, process {self.pid}" + (f", job {self.job}" if self.job else "")


def host_name() -> str:
    """This machine as its scheduler calls it, else as it calls itself."""
    return os.environ.get("SLURMD_NODENAME") or platform.node()


@cache
def _machine() -> str:
    """This start of this kernel, and the space that its process numbers are from: hosts may share a name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def _started(pid: int) -> str | None:
    """When a process of this machine began, in the kernel's count; None if there is none, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self").exists():
            return None
        return _answers(pid)
    return None if fields[0] in "ZX" else fields[19]


def _answers(pid: int) -> str | None:
    """Where there is no /proc: whether a process of this number exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


def _me() -> Owner:
    job, restart = os.environ.get("SLURM_JOB_ID", ""), int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    pid = os.getpid()
    return Owner(host_name(), _machine(), pid, _started(pid) or "", job, restart, uuid.uuid4().hex)


def _read(path: Path) -> Owner | None:
    """Who a lease says it is of; None while it is being written, or if a crash left it without its text."""
    try:
        return read(path, Owner)
    except DocumentError:
        return None


def _beats(path: Path) -> bool:
    """Whether the file changed less than STALE_SECONDS ago, by its file system's clock."""
    probe = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
    except OSError:  # whoever only looks may not write here, or there is no room: then by this machine's clock
        now = time.time()
    return now - path.stat().st_mtime < STALE_SECONDS


def alive(owner: Owner | None, path: Path) -> bool:
    """Whether a lease's owner is still at work, as far as can be told from here."""
    me = _me()
    if owner is not None and owner.job and owner.job == me.job and owner.restart < me.restart:
        return False
    if owner is not None and owner.machine == me.machine:
        return _started(owner.pid) == owner.started
    return _beats(path)


def holder(path: Path) -> Owner | None:
    """The living owner of a lease, if there is one."""
    try:
        owner = _read(path)
        return owner if owner is not None and alive(owner, path) else None
    except FileNotFoundError:
        return None


class Lease:
    """A lease that this process holds until `release`, or until it ends. ``left_at``: the last beat, in seconds since
    the epoch, of an owner that ended without releasing it."""

    def __init__(self, path: Path) -> None:
        """Raises LeaseHeld."""
        self.path, self._me, self.left_at = path, _me(), None
        try:
            self._write(path)
        except FileExistsError:
            self._follow()
        _heart.beat_for(self)

    def _write(self, path: Path) -> None:
        """Raises FileExistsError, of all who try but one."""
        with path.open("x") as file:
            try:
                json.dump(asdict(self._me), file)
                file.flush()
            except OSError:  # a full disk; an empty lease would keep everybody out for a while
                path.unlink()
                raise

    def _follow(self) -> None:
        """Take over from a dead owner. Of several who try, the one does it who first makes a file beside the lease."""
        guard = self.path.with_name(f".{self.path.name}.taking")
        try:
            self._judge(self.path)
            if guard.exists():
                self._remove(guard)
            self._write(guard)
            try:
                self._judge(self.path)  # again, now that nobody else will take it
                self.left_at = self.path.stat().st_mtime
                guard.replace(self.path)
            finally:
                guard.unlink(missing_ok=True)
        except (FileNotFoundError, FileExistsError) as error:
            raise LeaseHeld(f"{self.path.parent.name} was just taken over by another process") from error

    def _remove(self, guard: Path) -> None:
        """That of somebody who was killed in the middle of it; if it was another's by then, it is put back."""
        self._judge(guard)
        aside = guard.with_name(f"{guard.name}.{self._me.token}")
        dead = _read(guard)
        guard.rename(aside)
        if _read(aside) != dead:
            with contextlib.suppress(FileExistsError):
                os.link(aside, guard)
        aside.unlink()

    def _judge(self, path: Path) -> None:
        """Raises LeaseHeld if the owner of this file lives."""
        owner = _read(path)
        if alive(owner, path):
            raise LeaseHeld(f"{self.path.parent.name} is being worked on by {owner or 'another process'}")

    def check(self) -> None:
        """Raises LeaseLost if somebody took it over."""
        try:
            owner = _read(self.path)
        except FileNotFoundError:
            owner = None
        if owner is None or owner.token != self._me.token:
            raise LeaseLost(
                f"{self.path.parent.name} was taken over by {owner or 'another process'}; this one leaves it"
            )

    def beat(self) -> None:
        """Say that the owner lives; what can't be said now is said at the next beat."""
        with contextlib.suppress(OSError, LeaseLost):
            self.check()
            os.utime(self.path)

    def release(self) -> None:
        _heart.stop_for(self)
        with contextlib.suppress(OSError, LeaseLost):
            self.check()
            self.path.unlink()


class _Heart:
    """One thread that beats for all leases of this process."""

    def __init__(self) -> None:
        self._leases: list[Lease] = []
        self._lock = threading.Lock()
        self._process = 0

    def beat_for(self, lease: Lease) -> None:
        with self._lock:
            self._leases.append(lease)
            if self._process != os.getpid():  # threads do not survive a fork
                self._process = os.getpid()
                threading.Thread(target=self._run, daemon=True).start()

    def stop_for(self, lease: Lease) -> None:
        with self._lock:
            if lease in self._leases:
                self._leases.remove(lease)

    def _run(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            with self._lock:
                leases = list(self._leases)
            for lease in leases:
                lease.beat()


_heart = _Heart()
