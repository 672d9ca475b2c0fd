"""What a job does on its node, as far as it needs no cluster."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.execution.executors import Outcome
from benchmark.planning.plan import Pack, Plan, make
from benchmark.planning.request import ask
from benchmark.runs import plan_file
from benchmark.runs.records import Records
from slurm import job


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    made = make(ask("toy", "quick", methods="flow,fql", tasks=("bandit-v0",), seeds="0-3"))
    plan_file.save(tmp_path, made)
    return made


def stored(plan: Plan) -> Any:
    """One job with the two last seeds of each method."""
    keys = [[cell.key for cell in pack.cells[2:]] for pack in plan.packs]
    site = {"about": {"git_commit": "abc", "git_dirty": False}, "root": "r", "data": "d", "keep": "all"}
    return {"plan": plan.name, "suite": "toy", "site": site, "jobs": [keys], "packs_per_job": 2, "signal_seconds": 90}


def test_a_job_finds_its_packs_in_the_plan(tmp_path: Path, plan: Plan) -> None:
    found = job.packs_of(tmp_path, stored(plan), 0)
    assert [[cell.key for cell in pack.cells] for pack in found] == stored(plan)["jobs"][0]


def test_what_failed_in_an_earlier_start_of_the_job_is_left(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would fail again, each time that the job is queued again; at its first start it is tried."""
    records = Records(tmp_path, plan.packs[0].cells[2])
    records.begin({})
    records.fail("Diverged", "why")
    records.close()
    assert sum(len(pack.cells) for pack in job.packs_of(tmp_path, stored(plan), 0)) == 4
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert sum(len(pack.cells) for pack in job.packs_of(tmp_path, stored(plan), 0)) == 3


def test_a_worker_is_told_of_the_node(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SLURM_CPUS_PER_TASK", "8"), ("SLURMD_NODENAME", "n7"), ("SLURM_ARRAY_JOB_ID", "12")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    site = job.site_of(stored(plan))
    assert (site["env_workers"], site["device_share"], site["grace_seconds"]) == (3, 0.5, 60)
    assert (site["about"]["host"], site["about"]["slurm_job"], site["about"]["plan"]) == ("n7", "12_3", plan.name)
    assert site["keep"] == "all"


@pytest.mark.parametrize(
    ("scratch", "goes"),
    [
        ("{}/$USER-$SLURM_JOB_ID", True),
        ("{}/job-${{SLURM_JOB_ID}}/", True),
        ("{}/project-4711", False),
        ("{}/$SLURM_JOB_ID/shared", False),
        ("{}", False),
        ("", False),
    ],
)
def test_only_a_folder_of_the_jobs_own_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scratch: str, goes: bool
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("USER", "me")
    folders = [tmp_path / name for name in ("me-4711", "job-4711", "project-4711", "4711/shared")]
    for folder in folders:
        folder.mkdir(parents=True)
    job.clear(scratch.format(tmp_path))
    assert sum(folder.exists() for folder in folders) == (3 if goes else 4)


class Waiting:
    """Stands in for the queue of workers: its packs are held the first time."""

    def __init__(self) -> None:
        self.ran: list[list[str]] = []
        self.listener: Any = None
        self.outcome = Outcome()

    def run(self, packs: list[Pack]) -> Outcome:
        self.ran.append([cell.key for pack in packs for cell in pack.cells])
        if len(self.ran) == 1:
            self.outcome.held = [(packs[0].cells[0], "by another")]
        return self.outcome


def test_what_another_holds_is_tried_once_more(tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time in which an owner that was killed elsewhere falls silent."""
    slept: list[float] = []
    monkeypatch.setattr(job, "time", SimpleNamespace(sleep=slept.append))
    waiting: Any = Waiting()
    packs = job.packs_of(tmp_path, stored(plan), 0)
    outcome = job._run(tmp_path, stored(plan) | {"pushes": False}, packs, waiting)
    assert waiting.ran == [[cell.key for pack in packs for cell in pack.cells], [packs[0].cells[0].key]]
    assert slept == [job.STALE_SECONDS + job.BEAT_SECONDS]
    assert outcome.held == []
