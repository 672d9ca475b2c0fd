"""This machine and this code: what is asked of them, and what the record of an attempt says of them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from benchmark.runs.fingerprint import Sources
from envs import suites

RECORDED_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "mujoco", "ogbench")


def slurm_answers() -> bool:
    """Whether a SLURM controller can be reached from here."""
    if shutil.which("scontrol") is None:
        return False
    try:
        said = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=5, check=False).stdout
    except subprocess.TimeoutExpired:
        return False
    return " UP" in said


def gpus() -> list[str]:
    """Graphics processors that programs started here may use, by the names that CUDA_VISIBLE_DEVICES has for them."""
    there = [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None or not there:
        return there
    named = [each.strip() for each in shown.split(",")]
    return list(itertools.takewhile(lambda each: each not in ("", "-1"), named))  # as CUDA reads it


def job_name() -> str:
    """The SLURM job that this runs in, as its users and accounts call it: 12, or 12_3 in an array; empty without."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")


def about_this_code(plan: str) -> dict[str, Any]:
    """What each attempt records of code, machine and packages."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        if shutil.which("git") is None:
            return ""
        return subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=False).stdout

    installed = sorted(f"{each.name}=={each.version}" for each in importlib.metadata.distributions())
    versions = {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES}
    return {
        "plan": plan,
        "host": platform.node(),
        "slurm_job": job_name(),
        "git_commit": git("rev-parse", "HEAD").strip(),
        "git_dirty": bool(git("status", "--porcelain").strip()),
        "lock_hash": hashlib.sha256("\n".join(installed).encode()).hexdigest()[:16],
        "versions": versions | {"python": platform.python_version()},
    }


def version_lines() -> list[str]:
    """What is recorded of code and packages, for people."""
    about, sources = about_this_code(""), Sources.read()
    lines = [
        f"policy-extraction-benchmark {importlib.metadata.version('policy-extraction-benchmark')}",
        f"code {about['git_commit'] or 'not from a git checkout'}{' (edited since)' if about['git_dirty'] else ''}",
        *(f"shared code of {suite} {sources.shared(suite)}" for suite in suites()),
        f"installed packages {about['lock_hash']}",
    ]
    return lines + [f"{name} {version}" for name, version in about["versions"].items()]
