"""Executor: job arrays on a SLURM cluster, by submitit. It submits and returns; `benchmark.status` tells the rest.

<root>/slurm/<name>/ is a submission: jobs.json says which cells each of its jobs has, and the name is in the jobs' own
names, so that the queue alone tells which cells are waiting. jobs.json is written first: between it and sbatch nothing
can get lost.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.helpers import clean_env
from submitit.slurm.slurm import SlurmExecutor

from benchmark.execution.executors import Listener, Order, Outcome, Queued
from benchmark.planning.plan import Pack
from benchmark.planning.portion import left
from benchmark.planning.words import counted
from benchmark.runs.attempts import attempts_of, failures_in_a_row
from benchmark.runs.lease import Lease, LeaseHeld
from benchmark.runs.records import fail_for_the_dead, folder_of, state_of, write_json
from benchmark.tracking.address import default_uri
from envs._documents import DocumentError, read
from slurm.cluster import PREFIX, Ended, SlurmError, ask, history, limits, queue
from slurm.job import FILE, Job, Submission, folder_of_submission
from slurm.packing import bad_nodes, chunks, jobs_of, starved_jobs
from slurm.profile import Profile, load_profile

WAITS = False
TIMEOUTS = 1000
"""How often a job may go back into the queue; runs that get nowhere are ended by their own records."""
DEFAULT_ARRAY = 1001
HALVED_ONCE = 2
HOPELESS = 3


class Submitter(SlurmExecutor):
    """submitit's executor, which also shows its script where there is no SLURM."""

    @classmethod
    def affinity(cls) -> int:
        return 2


def run(order: Order, listener: Listener) -> Outcome:
    """Submit the packs of an order, but for the cells that are queued or done meanwhile."""
    root, profile = Path(order.site["root"]), load_profile(order.profile)
    (root / "slurm").mkdir(parents=True, exist_ok=True)
    try:
        lease = Lease(root / "slurm" / "submitting.json")
    except LeaseHeld as error:
        raise SlurmError(
            f"another launch is submitting from {root} ({error}); wait for it, then run this again"
        ) from error
    try:
        waiting = queued(root)
        wanted = left(
            order.packs,
            lambda cell: cell.key not in waiting and state_of(folder_of(root, cell.key)) != "done",
        )
        return _submit(root, order, wanted, profile)
    finally:
        lease.release()


def _submit(root: Path, order: Order, packs: list[Pack], profile: Profile) -> Outcome:
    outcome, past = Outcome(), history(submissions(root))
    no_memory = jobs_without_memory(root, past)
    attempts = {c.key: attempts_of(folder_of(root, c.key)) for pack in packs for c in pack.cells}
    starved = {key: starved_jobs(lines, no_memory) for key, lines in attempts.items()}
    for cell in (cell for pack in packs for cell in pack.cells if starved[cell.key] >= HALVED_ONCE):
        text = "its job was ended for lack of memory, also as half a pack; give memory_gb in the profile more"
        with contextlib.suppress(LeaseHeld, OSError):  # then it is told by the next launch
            fail_for_the_dead(root, cell, "OutOfMemory", text)
        outcome.failed.append((cell, text))
    packs = left(packs, lambda cell: starved[cell.key] < HALVED_ONCE)
    hopeless = set() if order.retry else {k for k, lines in attempts.items() if failures_in_a_row(lines) >= HOPELESS}
    packs = left(packs, lambda cell: cell.key not in hopeless)
    if hopeless:
        many = counted(len(hopeless), "cell")
        text = f"failed {HOPELESS} times for the same reason, and left: {many}; --retry sends them"
        outcome.submitted.append(text)
    bad = usable_exclusions(bad_nodes(past, no_memory, profile.exclude_after), profile)
    _send(root, order, jobs_of(packs, profile, starved), profile, bad, outcome)
    return outcome


def _send(
    root: Path, order: Order, jobs: list[list[Pack]], profile: Profile, excluded: list[str], outcome: Outcome
) -> None:
    """As many arrays as there must be, and what is to be said of it."""
    array, room = most_jobs(profile)
    sent = []
    try:
        for part in chunks(jobs[:room], array):
            sent.append(submit_array(root, order, part, profile, excluded))
    except SlurmError as error:
        if not sent:
            raise
        outcome.refused = f"the other jobs were not sent: {error}"
    outcome.submitted += sent
    if excluded:
        many = counted(profile.exclude_after, "job")
        outcome.submitted.append(f"left out, since they broke {many}: {', '.join(excluded)}")
    if len(jobs) > room:
        many = counted(len(jobs) - room, "job")
        outcome.submitted.append(f"{many} did not fit into the queue; run the same command later")
    outcome.submitted += how_to_follow(root) if jobs else ["Nothing to submit: the rest is in the queue, or failed."]


def submissions(root: Path) -> list[str]:
    """The names of all submissions from a root."""
    return sorted(path.parent.name for path in root.glob(f"slurm/*/{FILE}"))


def jobs_without_memory(root: Path, past: list[Ended]) -> set[str]:
    """Jobs that were ended for lack of memory. Where no control groups do that, only the log tells it from a kill."""
    found = {each.job for each in past if each.state == "OUT_OF_MEMORY"}
    for each in past:
        if each.state == "FAILED" and each.exit.endswith(":9"):
            logs = [path.read_text(errors="replace") for path in root.glob(f"slurm/*/{each.job}_*_log.out")]
            found |= {each.job} if any("memory limit" in log for log in logs) else set()
    return found


def usable_exclusions(bad: list[str], profile: Profile) -> list[str]:
    """Bad nodes, unless they are all that the partition has."""
    if not bad:
        return []
    where = ["--partition", profile.partition] if profile.partition else []
    nodes = set(ask("sinfo", "--noheader", "--Node", "--format=%N", *where).split())
    return bad if nodes - set(bad) else []


def most_jobs(profile: Profile) -> tuple[int, int]:
    """The most jobs of one array, and of this user beside all that are queued."""
    found, mine = limits(), len(ask("squeue", "--me", "--noheader", "--array", "--format=%i").splitlines())
    own = [found.get("MaxJobCount", sys.maxsize), *_own_limits(profile.account)]
    return max(1, found.get("MaxArraySize", DEFAULT_ARRAY) - 1), max(0, min(own) - mine)


def _own_limits(account: str) -> list[int]:
    """MaxSubmitJobs of this user's association with the account, or of the only one, where the cluster keeps any."""
    try:
        fields = "format=User,Account,MaxSubmitJobs"
        said = ask("sacctmgr", "--noheader", "--parsable2", "show", "associations", fields)
    except SlurmError:
        return []
    rows = [line.split("|") for line in said.splitlines()]
    mine = [row for row in rows if row[0] == getpass.getuser() and account in ("", row[1])]
    return [int(row[2]) for row in mine if row[2].isdigit()] if account or len(mine) == 1 else []


def submit_array(root: Path, order: Order, jobs: list[list[Pack]], profile: Profile, excluded: list[str]) -> str:
    """One sbatch; the line that says what was sent. Leaves nothing behind where sbatch refuses."""
    name = uuid.uuid4().hex[:12]
    folder = folder_of_submission(root, name)
    folder.mkdir()
    store = default_uri(root)
    described = {
        "plan": order.plan.name,
        "suite": order.plan.suite,
        "site": order.site,
        "pushes": not store.startswith("sqlite"),  # where to is in the environment, since it may hold a password
        "scratch": profile.scratch,
        "packs_per_job": profile.packs_per_job,
        "signal_seconds": profile.signal_seconds,
        "jobs": [[[cell.key for cell in pack.cells] for pack in packs] for packs in jobs],
    }
    try:
        write_json(folder / FILE, described)
        executor = executor_for(folder, name, order, profile, excluded)
        with _outside_of_jobs():
            sent = executor.submit_array([Job(str(root), name, index) for index in range(len(jobs))])
    except (FailedJobError, FailedSubmissionError) as error:
        shutil.rmtree(folder)
        raise SlurmError(
            f"sbatch refused the jobs ({' '.join(str(error).split())[-300:]}); mend the profile"
        ) from error
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise SlurmError(f"cannot write to {folder} ({error.strerror}); make room, or give another --out") from error
    cells = sum(len(pack.cells) for packs in jobs for pack in packs)
    number = sent[0].job_id.partition("_")[0]
    return f"Submitted {counted(cells, 'cell')} in {counted(len(jobs), 'job')}: {number} ({PREFIX}{name})"


@contextlib.contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Without what a job that this is launched from would pass on; which cluster it is stays."""
    cluster = {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
    with clean_env():
        os.environ.update(cluster)
        yield


def executor_for(folder: Path, name: str, order: Order, profile: Profile, excluded: list[str]) -> Submitter:
    """submitit's executor with everything that the profile asks for."""
    python = profile.python or shlex.quote(sys.executable)
    executor = Submitter(folder, TIMEOUTS, python=python if profile.use_srun else f"exec {python}")
    warning = f"USR2@{profile.signal_seconds}" if profile.use_srun else f"B:USR2@{profile.signal_seconds}"
    asked: dict[str, Any] = {
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "gres": profile.gres,
        "exclude": ",".join(filter(None, (profile.extra.get("exclude"), *excluded))),
    }
    extra = {name: value for name, value in profile.extra.items() if name != "exclude"}
    executor.update_parameters(
        job_name=PREFIX + name,
        comment=f"plan {order.plan.name}",
        time=profile.time_minutes,
        cpus_per_task=profile.cpus,
        mem=f"{round(1024 * profile.memory_gb)}MB",
        array_parallelism=profile.array_parallelism,
        setup=profile.lines or None,
        stderr_to_stdout=True,
        use_srun=profile.use_srun,
        wckey=None,  # submitit's own, which a site that keeps such keys would refuse
        additional_parameters={"signal": warning, "requeue": True, **extra},
        **{name: value for name, value in asked.items() if value},
    )
    return executor


def preview(order: Order) -> list[str]:
    """The script that would be sent, and how often; needs no SLURM."""
    profile = load_profile(order.profile).shown
    jobs = jobs_of(order.packs, profile, {})
    if not jobs:
        return ["Nothing to submit."]
    sizes = [len(part) for part in chunks(jobs, DEFAULT_ARRAY - 1)]
    root = Path(order.site["root"])
    executor = executor_for(folder_of_submission(root, "NAME"), "NAME", order, profile, [])
    executor.parameters["map_count"] = sizes[0]
    script = executor._make_submission_file_text(executor._submitit_command_str, "")
    arrays = f"{counted(len(sizes), 'array')} ({', '.join(map(str, sizes))})"
    return [f"{counted(len(jobs), 'job')} in {arrays}; the first one's script:", script]


def how_to_follow(root: Path) -> list[str]:
    sends = default_uri(root).startswith("sqlite")
    why = "copies their records into MLflow" if sends else "sends what a server that was away did not get"
    return [
        f"python -m benchmark.status --out {root} --watch   # what became of them",
        f"python -m benchmark.track --out {root} --follow    # {why}",
    ]


def queued(root: Path) -> dict[str, Queued]:
    """The cells that the cluster has, by their keys."""
    found: dict[str, Queued] = {}
    jobs: dict[str, tuple[tuple[tuple[str, ...], ...], ...]] = {}
    for waiting in queue():
        path = folder_of_submission(root, waiting.submission) / FILE
        if waiting.submission not in jobs:
            jobs[waiting.submission] = _jobs(path) if path.exists() else ()
        if waiting.index < len(jobs[waiting.submission]):
            ending = waiting.state == "COMPLETING"
            one = Queued(waiting.job, waiting.state == "RUNNING" or ending, waiting.reason, ending)
            found |= {key: one for keys in jobs[waiting.submission][waiting.index] for key in keys}
    return found


def _jobs(path: Path) -> tuple[tuple[tuple[str, ...], ...], ...]:
    try:
        return read(path, Submission)["jobs"]
    except (FileNotFoundError, DocumentError) as error:
        name = PREFIX + path.parent.name
        mend = f"cancel its jobs (scancel --name={name}) and delete {path.parent}"
        raise SlurmError(f"{error}, so that nobody knows what these jobs are; {mend}") from error


def fates(root: Path) -> dict[str, str]:
    """How the last start of each job ended, in SLURM's words."""
    past, no_memory = history(submissions(root)), set()
    with contextlib.suppress(OSError):
        no_memory = jobs_without_memory(root, past)
    return {each.job: "OUT_OF_MEMORY" if each.job in no_memory else each.state for each in past}


def check(order: Order) -> None:
    """Before anything is made for an order: raises LaunchError on a wrong profile, and where no cluster answers."""
    load_profile(order.profile)
    ask("scontrol", "ping")
