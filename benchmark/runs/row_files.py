"""Rows of replay on disk, appended and never rewritten, so that a save costs what is new.

A run keeps two checkpoints, and each has a file of rows of its own, so that damage to one does not reach the other: a
save appends to the file of the older one what that one lacks. A file is a list of blocks: the length of an archive, the
archive, its digest. What lies behind the length that a checkpoint notes is left over from a save that was interrupted.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

NAMES = ("rows.0.bin", "rows.1.bin")
LENGTH_BYTES, DIGEST_BYTES = 8, 32
Arrays = dict[str, np.ndarray]


class Mark(NamedTuple):
    """How far a file goes: its name, its bytes, the rows and ends of trajectories that are in these, and the digest of
    its last block."""

    file: str
    bytes: int = 0
    rows: int = 0
    ends: int = 0
    digest: str = ""


class Damaged(Exception):
    """A file of rows whose bytes are not those that were saved."""


class RowFiles:
    """The two files of a run's checkpoints, as its one writer sees them."""

    def __init__(self, folder: Path, marks: Mapping[str, Mark] | None = None, newest: str = NAMES[1]) -> None:
        self.folder, self.newest = folder, newest
        self.marks = {name: Mark(name) for name in NAMES} | dict(marks or {})

    def grow(self, settled: tuple[int, int], history: Callable[[tuple[int, int]], Arrays]) -> Mark:
        """Append to the older file what it lacks of so many rows and ends; how far it goes then."""
        (mark,) = (each for name, each in self.marks.items() if name != self.newest)
        if not self._stands(mark):
            mark = Mark(mark.file)
        if settled == (mark.rows, mark.ends):
            return mark
        block = io.BytesIO()
        np.savez(block, allow_pickle=False, **history((mark.rows, mark.ends)))
        content = block.getvalue()
        digest = hashlib.sha256(content)
        path = self.folder / mark.file
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.seek(mark.bytes)
            file.truncate()
            file.write(len(content).to_bytes(LENGTH_BYTES, "little") + content + digest.digest())
            file.flush()
            os.fsync(file.fileno())
            return Mark(mark.file, file.tell(), *settled, digest.hexdigest())

    def _stands(self, mark: Mark) -> bool:
        """Whether a file ends as it was left: who had lost the run, and did not know it yet, may have written to it."""
        if not mark.bytes:
            return True
        try:
            with (self.folder / mark.file).open("rb") as file:
                file.seek(mark.bytes - DIGEST_BYTES)
                return file.read(DIGEST_BYTES).hex() == mark.digest
        except OSError:
            return False

    def saved(self, mark: Mark) -> None:
        """The checkpoint that notes this mark is in place."""
        self.marks[mark.file], self.newest = mark, mark.file


def read(folder: Path, mark: Mark) -> Arrays:
    """The rows and ends up to a mark. Raises Damaged."""
    blocks = list(_blocks(folder, mark))
    return {name: np.concatenate([block[name] for block in blocks]) for name in (blocks[0] if blocks else ())}


def verify(folder: Path, mark: Mark) -> None:
    """Raise Damaged where a byte up to the mark is not as it was saved."""
    for _ in _blocks(folder, mark):
        pass


def _blocks(folder: Path, mark: Mark) -> Iterator[Any]:
    if not mark.bytes:
        return
    try:
        with (folder / mark.file).open("rb") as file:
            while file.tell() < mark.bytes:
                length = int.from_bytes(file.read(LENGTH_BYTES), "little")
                content = file.read(min(length, mark.bytes))
                if hashlib.sha256(content).digest() != file.read(DIGEST_BYTES):
                    raise Damaged(f"the bytes of {mark.file} are not those that were saved")
                yield np.load(io.BytesIO(content), allow_pickle=False)
    except OSError as error:
        raise Damaged(str(error)) from error


def size(folder: Path) -> int:
    """Bytes of both files."""
    return sum((folder / name).stat().st_size for name in NAMES if (folder / name).exists())


def remove(folder: Path) -> None:
    for name in NAMES:
        (folder / name).unlink(missing_ok=True)
