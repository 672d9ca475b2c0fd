"""What is sent to a cluster, as far as none is needed: what stops a launch, and what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.execution.executors import Order, Outcome
from benchmark.planning.errors import LaunchError
from benchmark.planning.plan import Plan, make
from benchmark.planning.request import ask
from benchmark.runs.records import Records, state_of
from slurm import submit
from slurm.cluster import Ended, SlurmError, Waiting
from slurm.profile import Profile

PROFILE = Profile(time_minutes=60, cpus=1, memory_gb=1.0, exclude_after=2)


@pytest.fixture
def plan() -> Plan:
    return make(ask("toy", "quick", methods="flow", tasks=("bandit-v0",), seeds="0-3"))


def order(root: Path, plan: Plan, **more: bool) -> Order:
    return Order(plan, plan.packs, {"root": str(root), "about": {}}, 1, "gpu", **more)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Seeds of each job that would be sent, with nothing known of any cluster."""
    jobs: list[list[int]] = []

    def submit_array(root: Path, order: Order, part: list, profile: Profile, excluded: list[str]) -> str:
        jobs.extend([cell.seed for pack in packs for cell in pack.cells] for packs in part)
        return "sent"

    monkeypatch.setattr(submit, "submit_array", submit_array)
    monkeypatch.setattr(submit, "most_jobs", lambda profile: (1000, 1000))
    return jobs


def history(monkeypatch: pytest.MonkeyPatch, *jobs: tuple[str, str]) -> None:
    found = [Ended(job, state, "n1", "0:0") for job, state in jobs]
    monkeypatch.setattr(submit, "history", lambda names: found)


def attempt(root: Path, plan: Plan, seed: int, job: str, error: str = "") -> None:
    records = Records(root, plan.packs[0].cells[seed])
    records.begin({"slurm_job": job})
    if error:
        records.fail(error, "why")
    records.close()


def submitted(root: Path, plan: Plan, **more: bool) -> Outcome:
    return submit._submit(root, order(root, plan, **more), list(plan.packs), PROFILE)


def test_a_pack_that_lacked_memory_is_halved_once_and_then_fails(
    tmp_path: Path, plan: Plan, sent: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often its job had been queued again before."""
    for _ in range(2):
        attempt(tmp_path, plan, 1, "5_0")
    history(monkeypatch, ("5_0", "OUT_OF_MEMORY"))
    assert submitted(tmp_path, plan).failed == []
    assert sent == [[0, 1], [2, 3]]
    sent.clear()
    attempt(tmp_path, plan, 1, "6_0")
    history(monkeypatch, ("5_0", "OUT_OF_MEMORY"), ("6_0", "OUT_OF_MEMORY"))
    outcome = submitted(tmp_path, plan)
    assert [cell.seed for cell, _ in outcome.failed] == [1]
    assert sent == [[0, 2, 3]]
    assert state_of(tmp_path / "runs" / plan.cells[1].key[:2] / plan.cells[1].key) == "failed"
    sent.clear()
    submitted(tmp_path, plan)  # by hand, with more memory: it may try again, whole
    assert sent == [[0, 1, 2, 3]]


def test_a_cell_that_is_held_keeps_nobody_from_being_sent(
    tmp_path: Path, plan: Plan, sent: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for job in ("5_0", "6_0"):
        attempt(tmp_path, plan, 1, job)
    history(monkeypatch, ("5_0", "OUT_OF_MEMORY"), ("6_0", "OUT_OF_MEMORY"))
    other = Records(tmp_path, plan.cells[1])
    assert [cell.seed for cell, _ in submitted(tmp_path, plan).failed] == [1]
    other.close()
    assert sent == [[0, 2, 3]]


def test_what_fails_again_and_again_is_left_until_somebody_asks(
    tmp_path: Path, plan: Plan, sent: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    history(monkeypatch)
    for _ in range(3):
        attempt(tmp_path, plan, 2, "5_0", "Diverged")
    assert any("--retry" in line for line in submitted(tmp_path, plan).submitted)
    assert sent == [[0, 1, 3]]
    sent.clear()
    submitted(tmp_path, plan, retry=True)
    assert sent == [[0, 1, 2, 3]]


def test_when_a_later_array_is_refused_the_earlier_ones_are_told(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(monkeypatch)
    calls = iter(range(9))

    def refuse(*_: object) -> str:
        if next(calls):
            raise SlurmError("sbatch refused the jobs (limit); mend the profile")
        return "Submitted one"

    monkeypatch.setattr(submit, "submit_array", refuse)
    monkeypatch.setattr(submit, "most_jobs", lambda profile: (1, 1000))
    both = make(ask("toy", "quick", methods="flow,bon", tasks=("bandit-v0",), seeds="0"))
    outcome = submitted(tmp_path, both)
    assert outcome.submitted[0] == "Submitted one"
    assert "sbatch refused" in outcome.refused


def test_jobs_that_nobody_knows_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that says which cells they have is damaged: nothing may be sent until they are gone."""
    monkeypatch.setattr(submit, "queue", lambda: [Waiting("7_0", "abc", 0, "PENDING", "Priority")])
    assert submit.queued(tmp_path) == {}  # of another folder
    (tmp_path / "slurm" / "abc").mkdir(parents=True)
    for text in ("{", "[]", "{}", "\udcff"):
        (tmp_path / "slurm" / "abc" / "jobs.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(SlurmError, match="scancel --name=bench-abc"):
            submit.queued(tmp_path)


def test_a_launch_is_stopped_before_anything_is_made(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LaunchError, match="there is no scontrol here"):
        submit.check(order(tmp_path, plan))
    wrong = Order(plan, plan.packs, {"root": str(tmp_path)}, 1, "gpus")
    with pytest.raises(LaunchError, match="did you mean 'gpu'"):
        submit.check(wrong)


@pytest.mark.parametrize(
    ("extra", "excluded", "wanted"),
    [({"exclude": "n1"}, ["n2", "n3"], "n1,n2,n3"), ({"exclude": "n1"}, [], "n1"), ({}, ["n2"], "n2"), ({}, [], None)],
)
def test_nodes_that_a_site_leaves_out_stay_out(
    tmp_path: Path, plan: Plan, extra: dict[str, str], excluded: list[str], wanted: str | None
) -> None:
    profile = PROFILE.model_copy(update={"extra": extra | {"licenses": "a"}})
    parameters = submit.executor_for(tmp_path, "name", order(tmp_path, plan), profile, excluded).parameters
    assert parameters.get("exclude") == wanted
    assert parameters["additional_parameters"]["licenses"] == "a"
    assert "exclude" not in parameters["additional_parameters"]
