"""What a job does on its node: its packs, each in a worker process, until they are done or the cluster wants the node.

The process that SLURM knows does not compute; it listens. Its warning (USR2, some minutes before the end of the job's
time, or of a preemption) makes the workers save and leave; then submitit's own handler puts the job back into the
queue. A TERM (scancel, or a preemption on a cluster that gives no warning) makes them save as well; then the job waits
to be ended, since to end by itself would count as being finished.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from submitit.helpers import DelayedSubmission
from typing_extensions import TypedDict

from benchmark.execution import environment
from benchmark.execution.executors import Outcome
from benchmark.execution.local import Local
from benchmark.execution.machine import about_this_code
from benchmark.execution.progress import Progress
from benchmark.planning.plan import PROTOCOL, Pack
from benchmark.planning.portion import left
from benchmark.planning.words import counted
from benchmark.runs import plan_file
from benchmark.runs.lease import BEAT_SECONDS, STALE_SECONDS, host_name
from benchmark.runs.records import folder_of, state_of
from benchmark.tracking.address import TrackingError, default_uri
from benchmark.tracking.pusher import Pusher
from benchmark.tracking.store import prepare
from benchmark.tracking.tracker import Tracker
from envs._documents import read
from slurm.packing import CELLS_FAILED

FILE = "jobs.json"
"""In the folder of a submission: plan, site, and for each job its packs' keys."""


class Submission(TypedDict):
    """What FILE says."""

    plan: str
    suite: str
    site: dict[str, Any]
    pushes: bool
    scratch: str
    packs_per_job: int
    signal_seconds: int
    jobs: tuple[tuple[tuple[str, ...], ...], ...]


WORKER_BROKE = 4
"""Exit status of a job in which a worker broke down."""
END_SECONDS = 600
"""How long a job that was told to end waits for it."""


def folder_of_submission(root: Path, name: str) -> Path:
    return root / "slurm" / name


class Job:
    """A job of a submission, by its place in it; what the packs are is read on the node."""

    def __init__(self, root: str, submission: str, index: int) -> None:
        self.root, self.submission, self.index = root, submission, index

    def __call__(self) -> None:
        run(Path(self.root), self.submission, self.index)

    def checkpoint(self) -> DelayedSubmission:
        """Asked by submitit when the job goes back into the queue: the same again."""
        return DelayedSubmission(self)


class Warned:
    """The signals of the cluster, the first of which asks the workers to leave."""

    def __init__(self, local: Local) -> None:
        self.local, self.signal = local, 0
        inherited: Any = signal.getsignal(signal.SIGUSR2)
        self.requeue: Callable[[int, Any], None] = inherited
        for each in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(each, self._hear)

    def _hear(self, number: int, _: Any) -> None:
        if not self.signal:
            self.signal = number
            self.local.how = "requeued" if number == signal.SIGUSR2 else "stopped"
            raise KeyboardInterrupt


def run(root: Path, submission: str, index: int) -> None:
    """The packs of one job. Ends by SystemExit where cells failed or the job is to go on elsewhere."""
    stored = read(folder_of_submission(root, submission) / FILE, Submission)
    for line in environment.told():
        print(line, flush=True)
    local = Local(site_of(stored), stored["packs_per_job"], lambda pack, event: None)
    warned, outcome = Warned(local), Outcome(stopped=True)
    try:
        packs = packs_of(root, stored, index)
        outcome = _run(root, stored, packs, local)
    except KeyboardInterrupt:  # before there was a worker, or while the last one left
        pass
    clear(stored["scratch"])
    for cell, text in outcome.held:
        print(f"left to another process: {cell.method} on {cell.task}, seed {cell.seed}: {text}", flush=True)
    for cell, text in outcome.changed:
        print(f"left, since code changed: {cell.method} on {cell.task}, seed {cell.seed}: {text}", flush=True)
    if warned.signal == signal.SIGUSR2:
        warned.requeue(signal.SIGUSR2, None)
    elif warned.signal:
        time.sleep(END_SECONDS)
        sys.exit(1)
    if outcome.failed:
        for cell, text in outcome.failed:
            print(f"failed: {cell.method} on {cell.task}, seed {cell.seed}: {text}", flush=True)
        sys.exit(WORKER_BROKE if outcome.broken else CELLS_FAILED)


def clear(scratch: str) -> None:
    """Remove the job's scratch folder, if the profile makes it this job's own by its last name."""
    last = scratch.rstrip("/").rpartition("/")[2]
    if "$SLURM_JOB_ID" in last or "${SLURM_JOB_ID}" in last:
        shutil.rmtree(os.path.expandvars(scratch), ignore_errors=True)


def _run(root: Path, stored: Submission, packs: list[Pack], local: Local) -> Outcome:
    """Run the packs, send their records where the store can be reached from here, and say how they go."""
    pusher = _pusher(root, stored, packs) if stored["pushes"] else None
    with Progress(Console(force_terminal=False), len(packs)) as progress:
        local.listener = progress.hear
        outcome = local.run(packs)
        if again := left(packs, lambda cell: cell.key in {held.key for held, _ in outcome.held}):
            # Its owner may have been killed a moment ago, on another node: that is known once it is silent long enough.
            print(
                f"held by others: {counted(sum(len(pack.cells) for pack in again), 'cell')}; once more later",
                flush=True,
            )
            time.sleep(STALE_SECONDS + BEAT_SECONDS)
            outcome.held.clear()
            outcome = local.run(again)
    # A job that is warned has no time to lose; its next start sends the rest.
    for problem in pusher.finish() if pusher and not outcome.stopped else []:
        print(f"tracking: {problem}", flush=True)
    return outcome


def _pusher(root: Path, stored: Submission, packs: list[Pack]) -> Pusher:
    uri, experiment = default_uri(root), f"{stored['suite']}/v{PROTOCOL}"
    try:
        prepare(uri, experiment, root / "artifacts")
    except TrackingError as error:
        print(f"tracking: {error}", flush=True)
    folders = [folder_of(root, cell.key) for pack in packs for cell in pack.cells]
    pusher = Pusher(Tracker(uri, experiment), lambda: folders)
    pusher.start()
    return pusher


def packs_of(root: Path, stored: Submission, index: int) -> list[Pack]:
    """The packs of a job, from its plan."""
    plan = plan_file.load(plan_file.path_of(root, stored["plan"]))
    wanted = {key for keys in stored["jobs"][index] for key in keys}
    found = {cell.key: (cell, pack) for pack in plan.packs for cell in pack.cells if cell.key in wanted}
    packs = [found[keys[0]][1].of(found[key][0] for key in keys) for keys in stored["jobs"][index]]
    # What failed in an earlier start of this job would fail again; the next launch tries it once more.
    again = int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0
    return left(packs, lambda cell: not again or state_of(folder_of(root, cell.key)) != "failed")


def site_of(stored: Submission) -> dict[str, Any]:
    """What workers are told, with what can only be known on the node."""
    count = stored["packs_per_job"]
    about = about_this_code(stored["plan"]) | {"host": host_name()}
    code = {name: stored["site"]["about"][name] for name in ("git_commit", "git_dirty")}
    cpus = int(os.environ.get("SLURM_CPUS_PER_TASK") or 1)
    return stored["site"] | {
        "about": about | (code if not about["git_commit"] else {}),
        "env_workers": max(0, cpus // count - 1),
        "device_share": 1.0 / count,
        "grace_seconds": max(10, stored["signal_seconds"] - 30),
    }
