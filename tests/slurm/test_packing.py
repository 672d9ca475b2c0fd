"""How packs become jobs, and which nodes get none."""

from __future__ import annotations

import pytest

from benchmark.planning.plan import Pack, make
from benchmark.planning.request import ask
from slurm.cluster import Ended
from slurm.packing import bad_nodes, chunks, jobs_of, starved_jobs
from slurm.profile import Profile

PROFILE = Profile(time_minutes=60, cpus=1, memory_gb=1.0)


def packs(methods: str = "flow,bon", seeds: str = "0-4") -> tuple[Pack, ...]:
    return make(ask("toy", "quick", methods=methods, tasks=("bandit-v0",), seeds=seeds)).packs


def seeds_of(jobs: list[list[Pack]]) -> list[list[list[int]]]:
    return [[[cell.seed for cell in pack.cells] for pack in job] for job in jobs]


def test_a_pack_is_a_job() -> None:
    assert seeds_of(jobs_of(packs(), PROFILE, {})) == [[[0, 1, 2, 3, 4]], [[0, 1, 2, 3, 4]]]


def test_packs_are_cut_and_share_jobs_as_the_profile_says() -> None:
    profile = PROFILE.model_copy(update={"seeds_per_pack": 2, "packs_per_job": 4})
    assert seeds_of(jobs_of(packs(), profile, {})) == [[[0, 1], [2, 3], [4], [0, 1]], [[2, 3], [4]]]


def test_a_pack_that_lacked_memory_is_halved() -> None:
    first, second = packs()
    starved = {first.cells[3].key: 1}
    assert seeds_of(jobs_of([first, second], PROFILE, starved)) == [[[0, 1, 2]], [[3, 4]], [[0, 1, 2, 3, 4]]]


@pytest.mark.parametrize(
    ("count", "sizes"), [(999, [999]), (1000, [1000]), (1001, [1000, 1]), (2500, [1000, 1000, 500])]
)
def test_no_array_is_longer_than_the_cluster_allows(count: int, sizes: list[int]) -> None:
    (pack,) = packs("flow", "0")
    jobs = [[pack]] * count
    assert [len(part) for part in chunks(jobs, 1000)] == sizes
    assert [job for part in chunks(jobs, 1000) for job in part] == jobs


def test_jobs_without_memory_are_counted_since_the_run_last_failed() -> None:
    start = {"start": 1, "slurm_job": "1_0"}
    lines = [start, {"how": "lost"}, start | {"slurm_job": "2_0"}, {"how": "done"}]
    assert starved_jobs(lines, {"1_0"}) == 1
    assert starved_jobs([start] * 5, {"1_0"}) == 1  # requeued four times, and then without memory
    assert starved_jobs([start, {"how": "failed"}, *lines], {"1_0", "2_0"}) == 2
    assert starved_jobs(lines, set()) == 0


def ended(node: str, state: str = "NODE_FAIL", exit_: str = "0:0", job: str = "1_0") -> Ended:
    return Ended(job, state, node, exit_)


def test_a_node_that_breaks_jobs_is_left_out() -> None:
    fine = [ended(node, "COMPLETED") for node in ("n1", "n2")]
    broken = [ended("n3"), ended("n3", "FAILED", "1:0"), ended("n3", "FAILED", "4:0")]
    assert bad_nodes([*fine, *broken], set(), 3) == ["n3"]
    assert bad_nodes([*fine, *broken[:2]], set(), 3) == []
    assert bad_nodes([*fine, *broken], set(), 0) == []


def test_what_is_not_the_nodes_fault_does_not_count() -> None:
    """Cells that failed by themselves, jobs without memory, preemption, time limits, people."""
    others = [ended("n3", state) for state in ("PREEMPTED", "TIMEOUT", "CANCELLED", "REQUEUED", "COMPLETED")]
    assert bad_nodes([*others, ended("n1", "COMPLETED")], set(), 1) == []
    assert bad_nodes([ended("n3", "FAILED", "3:0"), ended("n1", "COMPLETED")], set(), 1) == []
    assert bad_nodes([ended("n3", "FAILED", "0:9"), ended("n1", "COMPLETED")], {"1_0"}, 1) == []


def test_when_most_nodes_break_jobs_it_is_not_the_nodes() -> None:
    assert bad_nodes([ended("n1"), ended("n2"), ended("n3", "COMPLETED")], set(), 1) == []
    assert bad_nodes([ended("n1"), ended("n2", "COMPLETED")], set(), 1) == ["n1"]
    assert bad_nodes([ended("n1")], set(), 1) == ["n1"]  # it may have drawn all jobs
