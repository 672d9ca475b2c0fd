"""Files that keep two processes from making the same data."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock of this name, waiting for whoever holds it; freed even if its holder is killed.

    The file stays: removing it would let a third process lock a new one while a second waits for the old.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that holds {file}", file=sys.stderr)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
