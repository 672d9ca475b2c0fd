"""Runs a tiny pack in processes of their own, which are killed where they are told to be: for tests of what survives.

``python killing.py`` reads a JSON line for each run and answers with one: {"status", "said", "seconds"}; ``said`` is
the number of events in a whole run, or the one before which it was killed.
The processes share one start (imports take seconds, a fork takes none) and the compiled programs of a folder.

A run trains and sends its records to MLflow at the same time. "at": kill it, with SIGKILL, right before the n-th of the
events that are counted: every dispatch to the device, line of metrics, write to a checkpoint, flush to disk, rename,
and call of the tracker. "after": kill it after so many seconds, wherever it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

PUSH_SECONDS = 0.02


class Events:
    """Counts what happens in this process, from any of its threads, and ends it right before the chosen one."""

    def __init__(self, at: int, answers: int) -> None:
        self.at, self.count, self.answers = at, 0, answers
        self._lock = threading.Lock()

    def watch(self, owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            with self._lock:
                self.count += 1
                if self.count == self.at:
                    os.write(self.answers, name.encode())
                    os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        setattr(owner, name, watched)


def run(root: Path, programs: Path, at: int, answers: int) -> int:
    """The pack to its end in this process, or to its kill; how many events there were."""
    import jax

    from benchmark.runs import checkpoint, records
    from benchmark.runs.records import folder_of
    from benchmark.tracking.address import default_uri
    from benchmark.tracking.pusher import Pusher
    from benchmark.tracking.tracker import Tracker
    from benchmark.training import trainer
    from tests.benchmark import tiny

    jax.config.update("jax_compilation_cache_dir", str(programs))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    events = Events(at, answers)
    for owner, name in (
        (trainer, "train"),
        (trainer, "act_rows"),
        (records.Records, "log"),
        (records, "write_json"),
        (checkpoint.np, "savez"),
        (os, "fsync"),
        (Path, "replace"),
        (Path, "unlink"),
        (Tracker, "_open"),
        (Tracker, "_log"),
    ):
        events.watch(owner, name)
    tracker = Tracker(default_uri(root), "toy/v1")
    pusher = Pusher(tracker, lambda: [folder_of(root, cell.key) for cell in tiny.cells()])
    over = threading.Event()

    def push() -> None:
        while not over.wait(PUSH_SECONDS):
            pusher.push()

    thread = threading.Thread(target=push, daemon=True)
    thread.start()
    failed = tiny.run(root, tiny.cells())
    over.set()
    thread.join()
    problems = pusher.push()
    if failed or problems:
        print(failed, problems, file=sys.stderr)
        os._exit(1)
    return events.count


def child(order: dict[str, Any], answers: int) -> None:
    try:
        count = run(Path(order["root"]), Path(order["programs"]), order.get("at", 0), answers)
        os.write(answers, str(count).encode())
        os._exit(0)
    finally:
        os._exit(2)


def main() -> None:
    import jax  # noqa: F401
    import mlflow.tracking  # noqa: F401
    import sqlalchemy  # noqa: F401

    from benchmark.execution import serving  # noqa: F401

    for line in sys.stdin:
        order, started = json.loads(line), time.monotonic()
        read, write = os.pipe()
        process = os.fork()
        if process == 0:
            child(order, write)
        os.close(write)
        if "after" in order:
            time.sleep(order["after"])
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        with os.fdopen(read) as answers:
            said = answers.read()
        print(json.dumps({"status": status, "said": said, "seconds": time.monotonic() - started}), flush=True)


if __name__ == "__main__":
    main()
