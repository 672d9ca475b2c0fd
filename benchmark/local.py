"""Executor: a bounded queue of worker processes on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.plan import Cell, Pack
from benchmark.records import folder_of, state_of, write_json

GRACE_SECONDS = 600.0
"""For a worker to save and leave after Ctrl-C: the longest compilation and dispatch."""

Listener = Callable[[Pack, dict[str, Any]], None]
"""Told of each pack's progress, and with {"phase": "done"} or {"phase": "failed"} of its end."""


@dataclass
class Outcome:
    """What became of the packs: failed cells with one sentence each, and whether Ctrl-C ended it early."""

    failed: list[tuple[Cell, str]] = field(default_factory=list)
    stopped: bool = False


class Worker:
    """A worker process and the pack it runs; what it prints goes to its log file."""

    def __init__(
        self, number: int, site: dict[str, Any], cores: list[int], events: queue.Queue[tuple[Worker, dict[str, Any]]]
    ) -> None:
        self.pack: Pack | None = None
        self.last_method = ""
        self.log = Path(site["root"]) / "logs" / f"worker-{os.getpid()}-{number}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C is for the launcher, which then asks its workers to save and leave.
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmark.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env=_environment(),
            )
        self.cores = cores
        self.tell({"site": site | {"cores": cores}})
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    def tell(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, and its last event says so
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def run(self, pack: Pack, cells: Sequence[Cell]) -> None:
        self.pack, self.last_method = pack, pack.first.method
        described = [{"configuration": cell.configuration, "provenance": cell.provenance} for cell in cells]
        self.tell({"run": described, "pack": pack.name})

    def _listen(self, events: queue.Queue[tuple[Worker, dict[str, Any]]]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            events.put((self, json.loads(line)))
        events.put((self, {"ended": self.process.wait()}))

    def last_words(self) -> str:
        """The last line that a worker which broke down left in its log."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it said nothing"

    def close(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


class Local:
    """Runs packs on ``jobs`` worker processes; a worker serves several packs, so that it compiles a program once."""

    def __init__(self, site: dict[str, Any], jobs: int, listener: Listener) -> None:
        self.site, self.jobs, self.listener = site, jobs, listener
        self.root = Path(site["root"])
        self.events: queue.Queue[tuple[Worker, dict[str, Any]]] = queue.Queue()
        self.workers: list[Worker] = []
        self.started = 0
        self.outcome = Outcome()

    def run(self, packs: Sequence[Pack]) -> Outcome:
        """Every pack to its end; Ctrl-C lets the running ones save and leave."""
        self.waiting = list(packs)
        try:
            self._hand_out()
            while any(worker.pack for worker in self.workers):
                self._handle(*self.events.get())
                self._hand_out()
        except KeyboardInterrupt:
            self.outcome.stopped = True
            self._stop()
        finally:
            for worker in self.workers:
                worker.close()
        return self.outcome

    def _hand_out(self) -> None:
        while len(self.workers) < min(self.jobs, len(self.waiting) + sum(w.pack is not None for w in self.workers)):
            self.workers.append(Worker(self.started, self.site, self._cores(), self.events))
            self.started += 1
        for worker in self.workers:
            while worker.pack is None and self.waiting:
                pack = self._choose(worker)
                self.waiting.remove(pack)
                if cells := unfinished(self.root, pack):
                    worker.run(pack, cells)
                else:  # another launcher with the same folder was faster
                    self.listener(pack, {"phase": "done"})

    def _cores(self) -> list[int]:
        """A share of the cores for one more worker: threads that wander between them cost three times the time."""
        if not hasattr(os, "sched_getaffinity"):
            return []
        cores = sorted(os.sched_getaffinity(0))
        share = max(1, len(cores) // self.jobs)
        busy = [worker.cores for worker in self.workers]
        shares = [cores[i : i + share] for i in range(0, share * min(self.jobs, len(cores)), share)]
        return min(shares, key=busy.count) if self.jobs > 1 else []

    def _choose(self, worker: Worker) -> Pack:
        """The method that this worker has compiled already, else one that no other worker has."""
        taken = {other.last_method for other in self.workers if other is not worker}

        def order(pack: Pack) -> int:
            method = pack.first.method
            return 0 if method == worker.last_method else 2 if method in taken else 1

        return min(self.waiting, key=order)

    def _handle(self, worker: Worker, event: dict[str, Any]) -> None:
        pack = worker.pack
        if "ended" in event:
            self.workers.remove(worker)
            if pack is not None:
                self._broken(worker, pack, event["ended"])
        elif pack is not None and "progress" in event:
            self.listener(pack, event["progress"])
        elif pack is not None and "done" in event:
            by_key = {cell.key: cell for cell in pack.cells}
            self.outcome.failed += [(by_key[each["key"]], each["message"]) for each in event["done"]]
            worker.pack = None
            self.listener(pack, {"phase": "failed" if event["done"] else "done"})

    def _broken(self, worker: Worker, pack: Pack, status: int) -> None:
        """A worker that ended in the middle of a pack: its cells fail, the others go on with a new worker."""
        words = f"its worker ended with status {status} ({worker.last_words()}); see {worker.log}"
        for cell in unfinished(self.root, pack):
            folder = folder_of(self.root, cell.key)
            with contextlib.suppress(OSError):  # the disk may be what broke it
                write_json(folder / "failed.json", {"error": "WorkerEnded", "message": words, "attempt": 0})
            self.outcome.failed.append((cell, words))
        worker.pack = None
        self.listener(pack, {"phase": "failed"})

    def _stop(self) -> None:
        """Ask every worker to save and leave, and wait for it; a second Ctrl-C does not wait."""
        for worker in self.workers:
            worker.tell({"stop": True})
        deadline = time.monotonic() + GRACE_SECONDS
        try:
            for worker in self.workers:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            for worker in self.workers:
                worker.process.kill()


def _environment() -> dict[str, str]:
    """A worker's environment. On a CPU: one thread for each product, and half the time to compile at equal speed.

    A traceback ends in its error, not in JAX's words about what it left out.
    """
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    threads["JAX_TRACEBACK_FILTERING"] = "off"
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        flags = "--xla_backend_optimization_level=1 --xla_cpu_multi_thread_eigen=false"
        threads["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", flags)
    return os.environ | threads


def unfinished(root: Path, pack: Pack) -> list[Cell]:
    """Cells of a pack that are not done."""
    return [cell for cell in pack.cells if state_of(folder_of(root, cell.key)) != "done"]


def run(packs: Sequence[Pack], site: dict[str, Any], jobs: int, listener: Listener) -> Outcome:
    """The executor's one function: run these packs, tell ``listener`` how they go, return what became of them."""
    return Local(site, jobs, listener).run(packs)
