"""What a launch takes where code has changed: it makes anew, keeps, refuses, or takes back what today's code made."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.execution import work as work_module
from benchmark.execution.executors import Queued
from benchmark.execution.work import KEEP, REFUSE, RERUN, Portion, Work, check_stale, look, settle, summarise, unsettle
from benchmark.planning.errors import LaunchError
from benchmark.planning.plan import Plan
from benchmark.runs.estimate import spoken
from benchmark.runs.fingerprint import Sources
from benchmark.runs.lease import Lease
from benchmark.runs.records import LEASE, folder_of, state_of
from benchmark.runs.superseded import all_of, place_of, set_aside
from tests.benchmark import pretend
from tests.benchmark.pretend import OTHER

ALL = Portion("depth")


def worked(root: Path, plan: Plan, stale: str, portion: Portion = ALL) -> Work:
    return look(root, plan, portion, stale)


def taken(work: Work) -> list[tuple[str, int]]:
    return sorted((cell.method, cell.seed) for pack in work.packs for cell in pack.cells)


def said(plan: Plan, work: Work) -> str:
    return "\n".join(summarise(plan, work))


@pytest.fixture
def plan() -> Plan:
    return pretend.plan()


@pytest.fixture
def root(tmp_path: Path, plan: Plan) -> Path:
    """FQL was done twice by other code, the flow by today's, once each way."""
    for cell in plan.cells:
        code = OTHER if cell.method == "fql" else pretend.today("flow")
        pretend.run(tmp_path, cell, code, shared=Sources.read().shared("toy"))
    return tmp_path


def test_what_other_code_made_is_made_anew(root: Path, plan: Plan) -> None:
    work = worked(root, plan, RERUN)
    assert taken(work) == [("fql", 0), ("fql", 1)]
    assert "by other code of their method: 2 runs (fql 2); made anew" in said(plan, work)
    assert settle(root, plan, work) == [f"set aside, under {root / 'superseded'}: fql 2"]
    keys = [cell.key for cell in plan.cells if cell.method == "fql"]
    assert sorted(all_of(root, keys)) == sorted(place_of(root, key, OTHER) for key in keys)
    again = worked(root, plan, RERUN)
    assert (taken(again), again.again, said(plan, again).count("code")) == (taken(work), [], 0)


def test_what_a_limit_leaves_is_left_where_it_is(root: Path, plan: Plan) -> None:
    work = worked(root, plan, RERUN, Portion("depth", limit=1))
    settle(root, plan, work)
    assert len(all_of(root, [cell.key for cell in plan.cells])) == 1
    assert work.later == 1
    assert "2 runs (fql 2); 1 of them made anew now (--stale keep keeps them)" in said(plan, work)


def test_what_other_code_made_is_kept_if_that_is_said(root: Path, plan: Plan) -> None:
    work = worked(root, plan, KEEP)
    assert taken(work) == []
    assert "by other code of their method: 2 runs (fql 2); kept" in said(plan, work)
    assert settle(root, plan, work) == []
    check_stale(work)


def test_what_other_code_made_is_refused_until_somebody_decides(root: Path, plan: Plan) -> None:
    """With how many there are, and what they took: a minute each, as their attempts say."""
    work = worked(root, plan, REFUSE)
    with pytest.raises(LaunchError) as caught:
        check_stale(work)
    text = str(caught.value)
    for word in ("2 runs", "about 2 device-minutes", "--stale rerun", "--stale keep"):
        assert word in text
    assert f"refused: {text}" in said(plan, work)
    assert settle(root, plan, work) == []


@pytest.mark.parametrize("how", ["failed", "stopped"])
def test_what_other_code_began_is_begun_anew(tmp_path: Path, plan: Plan, how: str) -> None:
    for cell in plan.cells:
        pretend.run(tmp_path, cell, OTHER, how=how)
    with pytest.raises(LaunchError, match="4 runs"):
        check_stale(worked(tmp_path, plan, REFUSE))
    work = worked(tmp_path, plan, RERUN)
    settle(tmp_path, plan, work)
    assert {state_of(folder_of(tmp_path, cell.key)) for cell in plan.cells} == {"planned"}
    assert len(taken(work)) == 4


def test_shared_code_and_runs_from_before_are_kept_and_told(tmp_path: Path, plan: Plan) -> None:
    for cell in plan.cells:
        pretend.run(tmp_path, cell, None if cell.method == "fql" else pretend.today("flow"), shared="of another day")
    for stale in (RERUN, KEEP, REFUSE):
        work = worked(tmp_path, plan, stale)
        check_stale(work)
        assert taken(work) == []
        assert "shared code differs from that of 2 done runs; kept" in said(plan, work)
        assert "from before code was noted: 2 done runs; kept" in said(plan, work)


def test_a_run_that_somebody_works_on_is_told_and_left(root: Path, plan: Plan) -> None:
    busy = next(cell for cell in plan.cells if cell.method == "fql")
    lease = Lease(folder_of(root, busy.key) / LEASE)
    work = worked(root, plan, RERUN)
    assert taken(work) == [("fql", 1)]
    assert "by other code, and being worked on: 1 run; left" in said(plan, work)
    settle(root, plan, work)
    assert folder_of(root, busy.key).exists()
    lease.release()


def test_nothing_is_touched_that_a_silent_scheduler_may_have(
    root: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launch on this machine goes on without its word, but for what other code made."""

    def unheard(root: Path) -> dict[str, Queued]:
        raise LaunchError("squeue did not answer")

    monkeypatch.setattr(work_module, "queued_by_all", unheard)
    work = worked(root, plan, RERUN)
    assert (taken(work), work.again, work.back) == ([], [], frozenset())
    assert settle(root, plan, work) == []
    assert "by other code, and being worked on: 2 runs; left" in said(plan, work)
    with pytest.raises(LaunchError):
        look(root, plan, ALL, RERUN, must_hear=True)


def test_what_could_not_be_sent_is_taken_back(root: Path, plan: Plan) -> None:
    """sbatch refused: the runs are as they were, and counted."""
    work = worked(root, plan, RERUN)
    settle(root, plan, work)
    unsettle(root, plan, work)
    assert {state_of(folder_of(root, cell.key)) for cell in plan.cells} == {"done"}
    assert taken(worked(root, plan, RERUN)) == taken(work)


def test_a_run_that_can_not_be_moved_is_told_and_the_others_are_moved(
    root: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = min(cell.key for cell in plan.cells if cell.method == "fql")

    def moved(root: Path, key: str, today: str) -> bool:
        if key == first:
            raise OSError(28, "No space left on device")
        return set_aside(root, key, today)

    monkeypatch.setattr(work_module, "set_aside", moved)
    lines = settle(root, plan, worked(root, plan, RERUN))
    assert lines[0].endswith("fql 1")
    assert lines[1].startswith(f"{first} is left as it is: ")
    assert "No space left" in lines[1]


def test_time_here_is_no_less_than_the_longest_packs(tmp_path: Path, plan: Plan) -> None:
    """Two packs on sixteen workers: fourteen of them have nothing to do."""
    work = worked(tmp_path, plan, RERUN)
    longest = spoken(max(work.expected.values()))
    assert f"{longest} with 16 workers here" in "\n".join(summarise(plan, work, workers=16))


@pytest.mark.parametrize("stale", [RERUN, REFUSE])
def test_an_edit_undone_costs_nothing(root: Path, plan: Plan, stale: str) -> None:
    """What today's code made lies aside, and what other code made in its place: they change places."""
    keys = [cell.key for cell in plan.cells if cell.method == "fql"]
    for key, cell in zip(keys, (cell for cell in plan.cells if cell.method == "fql"), strict=True):
        assert set_aside(root, key, pretend.today("fql"))
        pretend.run(root, cell, pretend.today("fql"))
        assert set_aside(root, key, "by another")
        pretend.run(root, cell, "by another")
    work = worked(root, plan, stale)
    check_stale(work)
    assert taken(work) == []
    assert "set aside before, and by today's code: 2 runs (fql 2); taken back" in said(plan, work)
    settle(root, plan, work)
    assert sorted(path.name for path in all_of(root, keys[:1])) == sorted([OTHER, "by another"])
    again = worked(root, plan, stale)
    assert (taken(again), list(again.changed.stale), again.back) == ([], [], frozenset())


def test_what_is_kept_is_not_taken_back_over(root: Path, plan: Plan) -> None:
    cell = next(cell for cell in plan.cells if cell.method == "fql")
    assert set_aside(root, cell.key, pretend.today("fql"))
    pretend.run(root, cell, pretend.today("fql"))
    assert set_aside(root, cell.key, "by another")
    pretend.run(root, cell, "by another")
    assert worked(root, plan, KEEP).back == frozenset()
    assert worked(root, plan, RERUN).back == {cell.key}
    folder_of(root, cell.key).rename(root / "elsewhere")
    assert worked(root, plan, KEEP).back == {cell.key}


def test_an_unfinished_run_comes_back_to_go_on(tmp_path: Path) -> None:
    plan = pretend.plan("fql", "0")
    (cell,) = plan.cells
    pretend.run(tmp_path, cell, pretend.today("fql"), how="stopped")
    assert set_aside(tmp_path, cell.key, "by another")
    pretend.run(tmp_path, cell, "by another")
    work = worked(tmp_path, plan, RERUN)
    assert taken(work) == [("fql", 0)]
    assert settle(tmp_path, plan, work)[1:] == ["taken back: fql 1"]
    assert state_of(folder_of(tmp_path, cell.key)) == "begun"
