"""Executor: a bounded queue of worker processes on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmark.execution.environment import of_worker
from benchmark.execution.executors import Listener, Order, Outcome, Queued
from benchmark.execution.machine import gpus
from benchmark.planning.plan import Cell, Pack, task_of
from benchmark.runs.lease import LeaseHeld, host_name
from benchmark.runs.records import fail_for_the_dead, folder_of, state_of
from envs._processors import cores

WAITS = True
"""Whether `run` waits for the packs to end."""
GRACE_SECONDS = 600.0
"""For a worker to save and leave after Ctrl-C: the longest compilation and dispatch."""

MEMORY_WORDS = ("RESOURCE_EXHAUSTED", "MemoryError", "bad_alloc", "out of memory")
"""What the last words of a worker that ran out of memory contain, where the system did not simply kill it."""


class Worker:
    """A worker process and the pack it runs; what it prints goes to its log file."""

    def __init__(
        self,
        number: int,
        site: dict[str, Any],
        cores: list[int],
        device: str,
        events: queue.Queue[tuple[Worker, dict[str, Any]]],
    ) -> None:
        self.pack: Pack | None = None
        self.last_method = ""
        self.log = Path(site["root"]) / "logs" / f"worker-{host_name()}-{os.getpid()}-{number}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log, _without_warning():
            # A session of its own: Ctrl-C is for the launcher, which then asks its workers to save and leave.
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmark.execution.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env=of_worker(site) | ({"CUDA_VISIBLE_DEVICES": device} if device else {}),
            )
        self.cores, self.device = cores, device
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

    def lacked_memory(self, status: int) -> bool:
        """Whether it ended for lack of memory: a kill says no more, and that is what the system does then."""
        return status == -signal.SIGKILL or any(word in self.last_words() for word in MEMORY_WORDS)

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
        self.retried: set[str] = set()
        self.how = "stopped"

    def run(self, packs: Sequence[Pack]) -> Outcome:
        """Every pack to its end; Ctrl-C lets the running ones save and leave."""
        self.waiting = list(packs)
        # A device is opened once, for all packs of a worker.
        self.site = self.site | {"beside_torch": any(task_of(pack.first).base == "torch" for pack in packs)}
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
            self.workers = []
        return self.outcome

    def _hand_out(self) -> None:
        while len(self.workers) < min(self.jobs, len(self.waiting) + sum(w.pack is not None for w in self.workers)):
            self.workers.append(Worker(self.started, self.site, self._cores(), self._device(), self.events))
            self.started += 1
        for worker in self.workers:
            while worker.pack is None and self.waiting:
                pack = self._choose(worker)
                self.waiting.remove(pack)
                if cells := unfinished(self.root, pack):
                    worker.run(pack, cells)
                    self.listener(pack, {"phase": "starting"})
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

    def _device(self) -> str:
        """Of several GPUs the one with the fewest workers; nothing where there is no choice."""
        busy = [worker.device for worker in self.workers]
        return min(gpus(), key=busy.count) if len(gpus()) > 1 else ""

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
            if worker in self.workers:
                self.workers.remove(worker)
            if pack is not None:
                self._broken(worker, pack, event["ended"])
        elif pack is not None and "progress" in event:
            self.listener(pack, event["progress"])
        elif pack is not None and "stopped" in event:  # somebody else told this worker to leave; it saved
            self.outcome.stopped, worker.pack = True, None
            self.workers.remove(worker)
            worker.close()
            self.listener(pack, {"phase": "stopped"})
        elif pack is not None and "failed" in event:
            by_key = {cell.key: cell for cell in pack.cells}
            self.outcome.failed += [(by_key[key], text) for key, text in event["failed"]]
            self.outcome.held += [(by_key[key], text) for key, text in event["held"]]
            self.outcome.changed += [(by_key[key], text) for key, text in event["changed"]]
            worker.pack = None
            fates = {"failed": "failed", "changed": "left, since code changed", "held": "left to another process"}
            phase = next((word for name, word in fates.items() if event[name]), "done")
            if event["leaves"]:  # what it would import next is not what it has read
                self.workers.remove(worker)
                worker.close()
            self.listener(pack, {"phase": phase})

    def _broken(self, worker: Worker, pack: Pack, status: int) -> None:
        """A worker that ended in the middle of a pack. If memory was lacking the pack is halved and tried once more;
        else its cells fail. The others go on with a new worker."""
        cells, worker.pack = unfinished(self.root, pack), None
        lacked = worker.lacked_memory(status)
        if lacked and not self.retried & {cell.key for cell in cells}:
            self.retried |= {cell.key for cell in cells}
            pieces = halves(Pack(tuple(cells)))
            self.waiting[:0] = pieces
            self.listener(pack, {"phase": "halved", "pieces": len(pieces)})
            return
        words = f"its worker ended with status {status} ({worker.last_words()}); see {worker.log}"
        error = "OutOfMemory" if lacked else "WorkerEnded"
        if lacked:
            words += "; it was killed twice, mostly for lack of memory: give it more, or fewer seeds in a pack"
        for cell in cells:
            with contextlib.suppress(
                OSError, LeaseHeld
            ):  # the disk may be what broke it; or another launcher was faster
                fail_for_the_dead(self.root, cell, error, words)
            self.outcome.failed.append((cell, words))
        self.outcome.broken |= not lacked
        self.listener(pack, {"phase": "failed"})

    def _stop(self) -> None:
        """Ask every worker to save and leave, and wait for it; a second Ctrl-C does not wait."""
        for worker in self.workers:
            worker.tell({"stop": self.how})
        deadline = time.monotonic() + self.site.get("grace_seconds", GRACE_SECONDS)
        try:
            for worker in self.workers:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            for worker in self.workers:
                worker.process.kill()


def halves(pack: Pack) -> list[Pack]:
    """A pack in two; of a single seed, the pack itself."""
    middle = (len(pack.cells) + 1) // 2
    return [Pack(cells) for cells in (pack.cells[:middle], pack.cells[middle:]) if cells]


@contextlib.contextmanager
def _without_warning() -> Iterator[None]:
    """Processes started in here do not die of SIGUSR2, a scheduler's warning, before they have learned to ignore it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unfinished(root: Path, pack: Pack) -> list[Cell]:
    """Cells of a pack that are not done."""
    return [cell for cell in pack.cells if state_of(folder_of(root, cell.key)) != "done"]


def run(order: Order, listener: Listener) -> Outcome:
    """Run the packs of an order here, and wait for them."""
    share = min(1.0, len(gpus()) / order.jobs) if gpus() else 1.0
    site = order.site | {"env_workers": max(0, cores() // order.jobs - 1), "device_share": share}
    return Local(site, order.jobs, listener).run(order.packs)


def check(order: Order) -> None:
    """This machine is there."""


def preview(order: Order) -> list[str]:
    """There is nothing to show: a worker is this program again."""
    return []


def fates(root: Path) -> dict[str, str]:
    """There are no jobs."""
    return {}


def queued(root: Path) -> dict[str, Queued]:
    """Nothing waits for this executor when its launcher is gone."""
    return {}
