"""The doctor's job: it looks at folder, program, device and store from a node, and the doctor reads what it saw.

On the node it is ``python -m slurm.probe FOLDER``, which prints a line for each thing as soon as it is there.
"""

from __future__ import annotations

import importlib
import os
import shlex
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.runs.lease import host_name
from benchmark.tracking.address import default_uri
from benchmark.tracking.store import reach
from envs import load_suite, suites
from envs._suite import Start
from slurm.cluster import PREFIX, ask
from slurm.profile import Profile

PROBE_SECONDS = 120.0
"""How long the job may wait for a node; it itself takes a moment."""
WORKER = "benchmark.execution.worker"
SERVING = "benchmark.execution.serving"


@dataclass(frozen=True)
class Finding:
    """What one look found: 'ok', 'warn' (runs get to their end, but ...) or 'fail'."""

    level: str
    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.level:4} {self.what}" + (f": {self.mend}" if self.mend else "")


def probe(profile: Profile, root: Path) -> Iterator[Finding]:
    """A job that looks at folder, program, device and store from a node."""
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f".doctor-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    try:
        yield from _read_probe(profile, folder, _send_probe(profile, root, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _send_probe(profile: Profile, root: Path, folder: Path) -> str:
    """Submit it; its number."""
    python = profile.python or shlex.quote(sys.executable)
    words = [python, "-m", "slurm.probe", shlex.quote(str(folder))]
    (folder / "probe.sh").write_text("\n".join(["#!/bin/bash", *profile.lines, " ".join(words), ""]))
    small = profile.model_copy(update={"time_minutes": 1, "cpus": 1, "memory_gb": 2.0})
    more = [f"--job-name={PREFIX}doctor", f"--output={folder}/said"]
    return ask("sbatch", "--parsable", *options(small), *more, str(folder / "probe.sh")).strip()


def options(profile: Profile) -> list[str]:
    """What a job of this profile asks for, as options of sbatch."""
    asked = {name: getattr(profile, name) for name in ("partition", "account", "qos", "constraint", "gres")}
    asked |= {"time": profile.time_minutes, "cpus-per-task": profile.cpus, "mem": f"{round(1024 * profile.memory_gb)}M"}
    return [f"--{name}={value}" for name, value in (asked | profile.extra).items() if value]


def _read_probe(profile: Profile, folder: Path, job: str) -> Iterator[Finding]:
    said, deadline = folder / "said", time.monotonic() + PROBE_SECONDS
    while (state := ask("squeue", "--noheader", f"--jobs={job}", "--states=all", "--format=%T|%r").strip()) and (
        state.split("|")[0] in ("PENDING", "RUNNING", "CONFIGURING", "COMPLETING")
    ):
        if time.monotonic() > deadline:
            ask("scancel", job)
            reason = state.partition("|")[2]
            yield Finding(
                "warn", f"probe job {job} did not end in {PROBE_SECONDS:.0f} s ({reason})", "look again later"
            )
            return
        time.sleep(0.5)
    text = _settled(said)
    if text is None:
        mend = f"{folder.parent} is no shared file system: give an --out that every node sees"
        yield Finding("fail", f"probe job {job} ended, and what it wrote is not here", mend)
        return
    found = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    if found.get("folder") != "True":
        yield Finding(
            "fail", f"{folder.parent} is not there on {found.get('host')}", "give an --out that every node sees"
        )
    if "end" not in found:
        last = text.strip().splitlines()[-1][:200] if text.strip() else "it said nothing"
        yield Finding("fail", f"probe job {job} broke down on {found.get('host')}", last)
        return
    if profile.gres.startswith("gpu") and not found.get("device"):
        yield Finding(
            "warn", f"CUDA_VISIBLE_DEVICES is empty on {found['host']}", "the gpu may not be given to the job"
        )
    yield Finding("ok", f"probe job {job} ran on {found['host']}: folder, program, environments and store are there")


def _settled(path: Path) -> str | None:
    """A file that another machine wrote: it may be there a little later."""
    for _ in range(20):
        if path.exists() and path.stat().st_size:
            return path.read_text(errors="replace")
        time.sleep(0.5)
    return path.read_text(errors="replace") if path.exists() else None


def look(folder: str) -> None:
    """On the node: say what is there."""
    print("host", host_name(), flush=True)
    print("folder", Path(folder).is_dir(), flush=True)
    print("device", os.environ.get("CUDA_VISIBLE_DEVICES", ""), flush=True)
    for name in (WORKER, SERVING):  # with everything that a run needs
        importlib.import_module(name)
    for suite in suites():
        task = next(iter(load_suite(suite).tasks().values()))
        pool = load_suite(suite).pool(task, slots=1, workers=0)
        pool.reset({0: Start(0, "evaluation")})
        pool.close()
    uri = default_uri(Path(folder).parent)  # of the environment, since it may hold a password
    if not uri.startswith("sqlite"):
        reach(uri)
    print("end", True, flush=True)


if __name__ == "__main__":
    look(*sys.argv[1:])
