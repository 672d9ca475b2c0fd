"""Is this cluster ready? ``python -m slurm.doctor [--profile NAME|FILE] [--out results]``

A line for each thing that runs depend on: ok, or what will go wrong and the mend. Ends with a job of one minute that
looks at the same things from a node. Exit status 1 if something would keep runs from their end.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.planning.errors import LaunchError
from benchmark.tracking.address import TrackingError, default_uri
from benchmark.tracking.store import reach
from envs._addresses import shown
from envs._command_line import carried_out, parsed, place
from slurm.cluster import SlurmError, ask
from slurm.probe import Finding, options, probe
from slurm.profile import Profile, load_profile
from slurm.submit import most_jobs


@dataclass(frozen=True)
class Arguments:
    """Look at a SLURM cluster as the benchmark will use it."""

    profile: str = "gpu"
    """gpu, shared, cpu, or a TOML file"""
    out: Path = Path("results")
    """folder that runs will go to: it must be the same on every node"""


class Configuration:
    """What `scontrol show config` says."""

    def __init__(self) -> None:
        rows = (line.partition("=") for line in ask("scontrol", "show", "config").splitlines())
        self._values = {name.strip(): value.strip() for name, _, value in rows}

    def __getitem__(self, name: str) -> str:
        return self._values.get(name, "")


def partition(profile: Profile, root: Path) -> Iterator[Finding]:
    rows = [line.split("|") for line in ask("sinfo", "--noheader", "--format=%P|%a|%l|%D").splitlines()]
    default = not profile.partition
    mine = [row for row in rows if (row[0].endswith("*") if default else row[0].rstrip("*") == profile.partition)]
    name = mine[0][0] if mine else profile.partition or "by default"
    if not mine:
        mend = f"set partition in the profile to {' or '.join(row[0].rstrip('*') for row in rows)}"
        yield Finding("fail", f"there is no partition {name}", mend)
        return
    if mine[0][1] != "up":
        yield Finding("fail", f"partition {name} is {mine[0][1]}", "name another one in the profile, or ask its admins")
    else:
        yield Finding("ok", f"partition {name}: {sum(int(row[3]) for row in mine)} nodes")
    most = _minutes(mine[0][2])
    if most is not None and profile.time_minutes > most:
        mend = f"set time_minutes to {most} or less; runs go on in the next job"
        yield Finding("fail", f"time_minutes is {profile.time_minutes}, and the partition allows {most}", mend)
    else:
        yield Finding("ok", f"time: {profile.time_minutes} minutes a job, of {mine[0][2]}")


def _minutes(text: str) -> int | None:
    """'1-02:30:00' in minutes; None is no limit."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if found is None:
        return None
    days, hours, minutes = (int(found[i] or 0) for i in (1, 2, 3))
    return (days * 24 + hours) * 60 + minutes


def gres(profile: Profile, root: Path) -> Iterator[Finding]:
    wanted = profile.gres.split(":")[0]
    where = [f"--partition={profile.partition}"] if profile.partition else []
    said = ask("sinfo", "--noheader", "--format=%G", *where)
    offered = {each.split(":")[0] for each in re.split(r"[,\s]+", said) if each} - {"(null)"}
    if wanted and wanted not in offered:
        mend = f"set gres in the profile to one of {', '.join(sorted(offered)) or 'nothing'}"
        yield Finding("fail", f"no node offers gres {profile.gres}", mend)
    else:
        yield Finding("ok", f"gres: {profile.gres or 'none asked'} (offered: {', '.join(sorted(offered)) or 'none'})")


def limits(profile: Profile, root: Path) -> Iterator[Finding]:
    array, room = most_jobs(profile)
    if room:
        yield Finding("ok", f"limits: arrays up to {array}, and {room} more jobs in the queue")
    else:
        yield Finding("warn", "limits: no more jobs fit into your queue", "launch again when some have ended")
    account = profile.account
    if account:
        known = ask("sacctmgr", "--noheader", "--parsable2", "show", "associations", "format=Account").split()
        if account not in known:
            mend = f"set account to one of {', '.join(sorted(set(known)))}"
            yield Finding("fail", f"account {account} is not known", mend)


def request(profile: Profile, root: Path) -> Iterator[Finding]:
    """Whether the cluster would ever start such a job."""
    ask("sbatch", "--test-only", *options(profile), "--wrap=true")
    yield Finding(
        "ok", f"request: {profile.cpus} processors, {profile.memory_gb:g} GB, {profile.gres or 'no gres'} can be had"
    )


def preemption(profile: Profile, root: Path) -> Iterator[Finding]:
    config = Configuration()
    mode, signals = config["PreemptMode"], "preempt_send_user_signal" in config["SlurmctldParameters"]
    if mode in ("OFF", ""):
        yield Finding("ok", "preemption: off")
    elif "REQUEUE" not in mode:
        mend = "preempted jobs are not queued again: give the launch command again from time to time"
        yield Finding("warn", f"preemption mode is {mode}", mend)
    elif not signals:
        mend = "a preempted job loses what it did since its last checkpoint, two minutes of work at most"
        yield Finding("warn", "preemption: no warning by the job's own signal", mend)
    else:
        yield Finding("ok", f"preemption: {mode}, with a warning")
    if config["JobRequeue"] == "0":
        yield Finding("warn", "JobRequeue is 0", "jobs ask to be requeued by themselves; some sites forbid that too")


def accounting(profile: Profile, root: Path) -> Iterator[Finding]:
    if "slurmdbd" not in Configuration()["AccountingStorageType"]:
        mend = "packs that ran out of memory are not told from others, and bad nodes not left out"
        yield Finding("warn", "the cluster keeps no accounts", mend)
        return
    ask("sacct", "--noheader", "--starttime=now")
    yield Finding("ok", "accounts: sacct answers")


def program(profile: Profile, root: Path) -> Iterator[Finding]:
    """submitit starts this Python on the nodes, unless the profile names another."""
    python = profile.python or sys.executable
    first = shlex.split(python)[0]
    if shutil.which(first) is None:
        yield Finding("fail", f"there is no {first} here", "set python in the profile to what starts it on the nodes")
    else:
        yield Finding("ok", f"python: {python}")


def store(profile: Profile, root: Path) -> Iterator[Finding]:
    uri = default_uri(root)
    if uri.startswith("sqlite"):
        mend = f"python -m benchmark.track --out {root} --follow, here, copies the records into MLflow"
        yield Finding("ok", f"store: a file, which nodes do not write; {mend}")
        return
    if not uri.startswith("http"):
        yield Finding("warn", "store: a database, not looked at", "an mlflow server before it keeps its password")
        return
    try:
        reach(uri)
        yield Finding("ok", f"store: {shown(uri)} answers here")
    except TrackingError as error:
        yield Finding("fail", str(error))


CHECKS: tuple[Callable[[Profile, Path], Iterator[Finding]], ...] = (
    partition,
    gres,
    limits,
    request,
    preemption,
    accounting,
    program,
    store,
)


def run(words: list[str]) -> int:
    arguments = parsed(Arguments, "python -m slurm.doctor", words)
    profile, root = load_profile(arguments.profile), place(arguments.out)
    try:
        ask("scontrol", "ping")
    except SlurmError as error:
        print(Finding("fail", "the cluster does not answer", str(error)))
        return 1
    levels = []
    for check in (*CHECKS, probe):
        try:
            for finding in check(profile, root):
                print(finding, flush=True)
                levels.append(finding.level)
            if check is partition and "fail" in levels:
                return 1  # whatever else is asked of it would fail as well
        except SlurmError as error:
            print(Finding("fail", f"{check.__name__} can't be looked at", str(error)), flush=True)
            levels.append("fail")
    return int("fail" in levels)


if __name__ == "__main__":
    sys.exit(carried_out(run, LaunchError))
