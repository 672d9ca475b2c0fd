"""Runs that were set aside because the code of their method changed, and how they come back.

<root>/superseded/KEY/FINGERPRINT/ is a run's whole folder as it was, but that a finished one keeps of its checkpoints
the networks alone (an unfinished one keeps what it would go on from). It goes there, and back, by one rename, under its
lease: where a folder lies is what says whether it counts, so that nothing can be half done. superseded.json in it says
when, and by which code.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmark.runs import checkpoint
from benchmark.runs.attempts import METHOD_CODE, attempts_of, code_of
from benchmark.runs.lease import Lease
from benchmark.runs.records import LEASE, REFUSED, folder_of, milliseconds, state_of, write_json

FOLDER, MARK = "superseded", "superseded.json"


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
    if not folder.exists():
        return False
    lease = Lease(folder / LEASE)
    try:
        code = code_of(attempts_of(folder), METHOD_CODE)
        if code in ("", today):  # another launch was faster
            return False
        if state_of(folder) == "done":
            checkpoint.reduce(folder / "checkpoint")
        write_json(folder / MARK, {"at": milliseconds(), "by": today})
        place = _free(place_of(root, key, code))
        place.parent.mkdir(parents=True, exist_ok=True)
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
    if not place.exists():
        return False
    lease = Lease(place / LEASE)
    try:
        if state_of(folder) == "planned":  # a note that it was refused is all that may be there
            (folder / REFUSED).unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            place.rename(folder)  # only an empty folder gives way
        except OSError:
            return False
        lease.path = folder / LEASE
        (folder / MARK).unlink(missing_ok=True)
        return True
    finally:
        lease.release()


def _free(place: Path) -> Path:
    """This place, or where the same code was set aside before, one beside it."""
    taken = 1
    found = place
    while found.exists():
        taken += 1
        found = place.with_name(f"{place.name}-{taken}")
    return found
