"""Runs that were set aside because the code of their method changed, and how they come back.

<root>/superseded/KEY/FINGERPRINT/ is a run's whole folder as it was, but that a finished one keeps of its checkpoints
the networks alone (an unfinished one keeps what it would go on from). It goes there, and back, by one rename, under its
lease: where a folder lies is what says whether it counts, so that nothing can be half done. superseded.json in it says
when, and by which code.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmark.runs import checkpoint
from benchmark.runs.attempts import METHOD_CODE, attempts_of, code_of
from benchmark.runs.lease import Lease
from benchmark.runs.records import LEASE, folder_of, milliseconds, state_of, write_json

FOLDER, MARK, LOCK = "superseded", "superseded.json", "mlflow.lock"


def place_of(root: Path, key: str, code: str) -> Path:
    return root / FOLDER / key / code


def is_superseded(folder: Path) -> bool:
    """Whether a run's folder is one that was set aside."""
    return folder.parent.parent.name == FOLDER


def key_of_folder(folder: Path) -> str:
    return folder.parent.name if is_superseded(folder) else folder.name


def others_of(folder: Path) -> list[Path]:
    """The other folders of the same key: those that were set aside, and the one that counts."""
    key = key_of_folder(folder)
    root = folder.parents[2]
    found = [*sorted((root / FOLDER / key).glob("*")), folder_of(root, key)]
    return [each for each in found if each != folder]


def all_of(root: Path, keys: Iterable[str]) -> list[Path]:
    """Every folder that was set aside of these runs."""
    there = {path.name for path in (root / FOLDER).glob("*")}
    return [folder for key in keys if key in there for folder in sorted((root / FOLDER / key).glob("*"))]


def set_aside(root: Path, key: str, today: str) -> bool:
    """Set a run aside that was made by other code of its method than ``today``'s; whether it was still there to be.

    Raises LeaseHeld where somebody works on it.
    """
    folder = folder_of(root, key)
    try:
        lease = Lease(folder / LEASE)
    except FileNotFoundError:  # there is none, or another launch was faster
        return False
    try:
        code = code_of(attempts_of(folder), METHOD_CODE)
        if code in ("", today):  # another launch was faster
            return False
        if state_of(folder) == "done":
            with contextlib.suppress(checkpoint.CheckpointError):  # then it stays as damaged as it is
                checkpoint.reduce(folder / "checkpoint")
        write_json(folder / MARK, {"at": milliseconds(), "by": today})
        place = _free(place_of(root, key, code))
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK):
            folder.rename(place)
        lease.path = place / LEASE
        return True
    finally:
        lease.release()


def take_back(root: Path, key: str, today: str) -> bool:
    """Let a run count again that was set aside and was made by today's code; whether there was room for it.

    Raises LeaseHeld where another launch takes it back.
    """
    place, folder = place_of(root, key, today), folder_of(root, key)
    try:
        lease = Lease(place / LEASE)
    except FileNotFoundError:  # there is none, or another launch was faster
        return False
    try:
        _make_room(folder)
        try:
            with locked(place / LOCK):
                place.rename(folder)  # only an empty folder gives way
        except OSError:
            return False
        lease.path = folder / LEASE
        (folder / MARK).unlink(missing_ok=True)
        return True
    finally:
        lease.release()


def _make_room(folder: Path) -> None:
    """Remove what is there of a run that was never begun: a note that it was refused, or what a kill left."""
    folder.mkdir(parents=True, exist_ok=True)
    lease = Lease(folder / LEASE)
    try:
        if state_of(folder) == "planned":
            shutil.rmtree(folder)
            folder.mkdir()
    finally:
        lease.release()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Held while a run's folder is sent to a tracker, or moves; whether the lock is still the one at this path.

    Whoever waited for it may find that the folder has moved, and another run's is in its place.
    """
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            there = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except FileNotFoundError:
            there = False
        yield there


def _free(place: Path) -> Path:
    """This place, or where the same code was set aside before, one beside it."""
    taken = 1
    found = place
    while found.exists():
        taken += 1
        found = place.with_name(f"{place.name}-{taken}")
    return found
