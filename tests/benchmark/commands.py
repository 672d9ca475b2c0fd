"""Runs command lines as processes of their own that share one start: imports take seconds, a fork takes none.

``python commands.py FOLDER`` reads a JSON list of command lines; what command i prints goes to FOLDER/i.out and i.err,
its exit status to FOLDER/i.status.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str
    seconds: float


def child(words: list[str], out: Path, err: Path) -> None:
    """Carry out one command line in this process, which ends with it."""
    from benchmark import launch

    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    sys.argv = ["launch", *words]
    status = 0
    try:
        launch.main()
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:  # as the interpreter would: print it, and the test finds it
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    from benchmark import launch

    assert launch.main
    folder = Path(sys.argv[1])
    for i, words in enumerate(json.load(sys.stdin)):
        started, process = time.monotonic(), os.fork()
        if process == 0:
            child(words, folder / f"{i}.out", folder / f"{i}.err")
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        (folder / f"{i}.status").write_text(f"{status} {time.monotonic() - started}")


def read(folder: Path, i: int) -> Said:
    status, seconds = (folder / f"{i}.status").read_text().split()
    return Said(int(status), (folder / f"{i}.out").read_text(), (folder / f"{i}.err").read_text(), float(seconds))


if __name__ == "__main__":
    main()
