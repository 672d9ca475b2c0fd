"""What a SLURM cluster says of itself and of our jobs; each question is one command for everything."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from benchmark.planning.errors import LaunchError

SECONDS = 60
DAYS = 14
"""How long what became of jobs matters: nodes are mended, too."""
PREFIX = "bench-"
"""Of the names of our jobs; the rest is the name of the submission."""


class SlurmError(LaunchError):
    """The cluster did not do what it was asked; the text is one sentence."""


@dataclass(frozen=True)
class Waiting:
    """A job in the queue: ``job`` as users name it (12 or 12_3), its submission's name and its place in it."""

    job: str
    submission: str
    index: int
    state: str
    reason: str


@dataclass(frozen=True)
class Ended:
    """One start of a job, from accounting: a requeued job has several."""

    job: str
    state: str
    node: str
    exit: str


def ask(*words: str) -> str:
    """What a command of SLURM says. Raises SlurmError."""
    try:
        found = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    except FileNotFoundError as error:
        raise SlurmError(f"there is no {words[0]} here; run this on a machine of the cluster") from error
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{words[0]} did not answer in {SECONDS} s; try again later") from error
    if found.returncode:
        text = found.stderr or found.stdout
        if "configuration source" in text:
            raise SlurmError("SLURM finds no configuration here; export SLURM_CONF, or run this on a cluster's machine")
        lines = [line for line in text.splitlines() if any(map(str.isalpha, line))]
        said = " ".join(lines[-1].split()) if lines else f"status {found.returncode}"
        raise SlurmError(f"{words[0]} failed ({said}); see whether the cluster is up and the profile fits it")
    return found.stdout


def queue() -> list[Waiting]:
    """Our jobs that have not ended."""
    said = ask("squeue", "--me", "--noheader", "--array", "--format=%i|%j|%T|%r")
    found = []
    for line in said.splitlines():
        job, name, state, reason = line.split("|", 3)
        if name.startswith(PREFIX):
            index = int(job.partition("_")[2] or 0)
            found.append(Waiting(job, name.removeprefix(PREFIX), index, state, reason))
    return found


def history(submissions: Iterable[str]) -> list[Ended]:
    """Every start of the jobs of these submissions, oldest first; empty where the cluster keeps no accounts."""
    names = ",".join(PREFIX + name for name in submissions)
    if not names:
        return []
    fields = "--format=JobID,State,NodeList,ExitCode"
    words = (
        "sacct",
        "--allocations",
        "--duplicates",
        "--noheader",
        "--parsable2",
        fields,
        f"--starttime=now-{DAYS}days",
    )
    try:
        said = ask(*words, f"--name={names}")
    except SlurmError:
        return []
    rows = (line.split("|") for line in said.splitlines())
    # 'CANCELLED by 0' is CANCELLED
    return [Ended(job, state.partition(" ")[0], node, code) for job, state, node, code in rows]


def limits() -> dict[str, int]:
    """The most tasks of an array, and jobs of the cluster, by the names of its configuration."""
    said = ask("scontrol", "show", "config")
    found = {name: re.search(rf"^{name}\s*=\s*(\d+)", said, re.MULTILINE) for name in ("MaxArraySize", "MaxJobCount")}
    return {name: int(match[1]) for name, match in found.items() if match}
