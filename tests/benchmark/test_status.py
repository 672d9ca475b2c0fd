"""What became of runs, from their files and a scheduler's answer; and why some failed."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmark import status
from benchmark.arguments import parse
from benchmark.execution import executors, failures
from benchmark.execution.executors import Queued
from benchmark.planning.errors import LaunchError
from benchmark.planning.plan import Cell, Pack, Plan, make
from benchmark.planning.request import ask
from benchmark.runs import plan_file
from benchmark.runs.records import Records, folder_of, refuse
from benchmark.runs.superseded import set_aside
from tests.benchmark import pretend

ABOUT = {"host": "n1", "versions": {}, "slurm_job": "7_0"}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    made = make(ask("toy", "quick", methods="flow,fql", tasks=("bandit-v0",), seeds="0-3"))
    plan_file.save(tmp_path, made)
    return made


def begin(root: Path, cell: Cell) -> Records:
    records = Records(root, cell)
    records.begin(ABOUT)
    return records


@pytest.fixture
def files(tmp_path: Path, plan: Plan) -> Iterator[dict[str, str]]:
    """A cell in every state that files alone can tell; the rest is planned."""
    done, failed, lost, running, *rest = plan.cells
    first = begin(tmp_path, done)
    first.finish({"x": 1.0})
    second = begin(tmp_path, failed)
    second.fail("Diverged", "its loss was nan")
    third = begin(tmp_path, lost)  # its process ends without a word
    for each in (first, second, third):
        each.close()
    fourth = begin(tmp_path, running)
    states = {done.key: "done", failed.key: "failed", lost.key: "lost", running.key: "running"}
    yield states | dict.fromkeys((cell.key for cell in rest), "planned")
    fourth.close()


def test_states_from_files(tmp_path: Path, files: dict[str, str]) -> None:
    standing = status.look(tmp_path)
    assert standing.states == files
    assert standing.exit_status == 1


def test_what_the_scheduler_has(tmp_path: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lost, failed or planned without it is on its way with it."""
    queued = {key: Queued("7_0", False, "Priority") for key in files}
    monkeypatch.setattr(status, "queued_by_all", lambda root: queued)
    on_its_way = {"lost": "requeued", "failed": "queued", "planned": "queued"}
    assert status.look(tmp_path).states == {key: on_its_way.get(state, state) for key, state in files.items()}
    queued["x"] = Queued("9_1", False, "launch failed requeued held")
    lines = status.summary(tmp_path, status.look(tmp_path))
    assert "job 9_1 is held (launch failed requeued held): scontrol release 9_1" in lines


def test_a_job_that_is_ending(tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it put back into the queue begins again; what was cancelled does not."""
    for cell, how in zip(plan.cells, ("requeued", "stopped"), strict=False):
        records = begin(tmp_path, cell)
        records.stop(how)
        records.close()
    ending = {cell.key: Queued("7_0", True, "None", ending=True) for cell in plan.cells[:2]}
    monkeypatch.setattr(status, "queued_by_all", lambda root: ending)
    states = status.look(tmp_path).states
    assert [states[cell.key] for cell in plan.cells[:2]] == ["requeued", "lost"]


def test_a_scheduler_that_does_not_answer_is_told(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unheard(root: Path) -> dict[str, Queued]:
        raise LaunchError("squeue did not answer")

    monkeypatch.setattr(status, "queued_by_all", unheard)
    assert status.run(["--out", str(tmp_path)]) == 3
    assert "the scheduler can't be asked" in capsys.readouterr().out


def test_the_table_counts_by_method(tmp_path: Path, files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert len(files) == 8
    assert status.run(["--out", str(tmp_path)]) == 1
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["suite", "preset", "method", "done", "running", "failed", "lost", "planned"] in lines
    assert ["toy", "quick", "flow", "1", "1", "1", "1"] in lines
    assert ["toy", "quick", "fql", "4"] in lines
    assert ["8", "cells:", "done", "1,", "running", "1,", "failed", "1,", "lost", "1,", "planned", "4"] in lines


@pytest.mark.parametrize(
    ("done", "last", "wanted"),
    [
        (8, "", 0),
        (7, "planned", 4),
        (7, "running", 3),
        (7, "queued", 3),
        (7, "lost", 1),
        (7, "failed", 1),
        (0, "planned", 4),
    ],
)
def test_the_exit_status_tells_scripts(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch, done: int, last: str, wanted: int
) -> None:
    """3 while something is on its way, 4 where nothing is and something is left: whoever waits for 3 to end, ends."""
    for cell in plan.cells[:done]:
        records = begin(tmp_path, cell)
        records.finish({})
        records.close()
    cell = plan.cells[-1]
    with contextlib.ExitStack() as ends:
        if last in ("running", "lost", "failed"):
            records = begin(tmp_path, cell)
            ends.callback(records.close)
            if last == "failed":
                records.fail("Diverged", "it diverged")
            if last != "running":
                ends.close()
        if last == "queued":
            monkeypatch.setattr(status, "queued_by_all", lambda root: {cell.key: Queued("7_0", False, "Priority")})
        assert status.look(tmp_path).exit_status == wanted


def test_what_is_left_is_told_with_the_command_that_takes_it_up(
    tmp_path: Path, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_file.save(tmp_path, plan, "", "python -m benchmark.launch --suite toy --methods 'flow,fql'")
    assert status.run(["--out", str(tmp_path)]) == 4
    said = capsys.readouterr().out
    assert "\n  python -m benchmark.launch --suite toy --methods 'flow,fql'\n" in said
    assert "on its way" not in said
    for cell in plan.cells:
        records = begin(tmp_path, cell)
        records.finish({})
        records.close()
    assert status.run(["--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "benchmark.launch" not in said
    assert "device-" not in said


def test_what_other_code_made_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether it is done, failed or begun; and so is what a job refused, since it was sent with other code."""
    made = pretend.plan()
    plan_file.save(tmp_path, made)
    ways = ("done", "failed", "stopped")
    for cell, how in zip(made.cells, ways, strict=False):
        pretend.run(tmp_path, cell, how=how)
    refuse(tmp_path, made.cells[3], pretend.OTHER, pretend.today("fql"))
    assert status.run(["--out", str(tmp_path)]) == 4
    said = capsys.readouterr().out
    assert "4 cells: stale 4" in said
    assert "stale, by other code of their method: flow 2, fql 1" in said
    assert "found other code of their method than they were sent with, and left them: fql 1" in said


def test_a_refusal_that_does_not_hold_any_more_is_none(tmp_path: Path) -> None:
    """The edit was undone: a job that were sent now would find the code that it was sent with."""
    made = pretend.plan("flow", "0")
    plan_file.save(tmp_path, made)
    refuse(tmp_path, made.cells[0], pretend.today("flow"), pretend.OTHER)
    assert status.look(tmp_path).states == {made.cells[0].key: "planned"}


def test_what_will_be_taken_back_is_told_and_costs_nothing(tmp_path: Path) -> None:
    made = pretend.plan("flow", "0")
    plan_file.save(tmp_path, made)
    pretend.run(tmp_path, made.cells[0], pretend.today("flow"))
    assert set_aside(tmp_path, made.cells[0].key, pretend.OTHER)
    lines = status.summary(tmp_path, status.look(tmp_path))
    assert "set aside, and by today's code: flow 1; the launch command takes them back" in lines
    assert not any("the rest takes" in line for line in lines)


def test_mixed_code_is_named_by_fingerprints(tmp_path: Path) -> None:
    made = pretend.plan("flow", "0-2")
    plan_file.save(tmp_path, made)
    for cell, code in zip(made.cells, (pretend.OTHER, pretend.OTHER, pretend.today("flow")), strict=True):
        pretend.run(tmp_path, cell, code)
    lines = status.summary(tmp_path, status.look(tmp_path))
    assert f"mixed code of flow: {pretend.OTHER[:8]} (2 runs), {pretend.today('flow')[:8]} (1 run)" in lines


def test_nothing_planned_is_told(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="launch something with --out"):
        status.look(tmp_path)


def test_only_executors_that_were_used_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without jobs needs no scheduler."""
    asked: list[str] = []

    def load(name: str) -> type:
        asked.append(name)
        return type("Nobody", (), {"queued": staticmethod(lambda root: {})})

    monkeypatch.setattr(executors, "load_executor", load)
    assert executors.queued_by_all(tmp_path) == {}
    (tmp_path / "slurm").mkdir()
    assert executors.queued_by_all(tmp_path) == {}
    assert asked == ["slurm"]


def report(root: Path, plan: Plan) -> list[str]:
    return failures.report(root, plan.packs, status.look(root).states)


@pytest.mark.usefixtures("files")
def test_failures_are_grouped_by_reason_with_the_way_to_see_them_here(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "queued_by_all", lambda root: {})
    log = tmp_path / "slurm" / "abc" / "7_0_0_log.out"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {i}\n" for i in range(20)))
    lines = report(tmp_path, Plan("toy", "quick", plan.packs))
    assert lines[0] == "Diverged: 1 cell"
    assert "flow on bandit-v0, seed 1 on n1, job 7_0: its loss was nan" in lines[1]
    assert [line.strip() for line in lines[2:7]] == [f"| line {i}" for i in range(15, 20)]
    assert "Lost: 1 cell" in lines
    (here,) = [line for line in lines if "--seeds 1 " in line]
    words = shlex.split(here.partition("python -m benchmark.launch ")[2])
    asked = parse(words)
    (cell,) = make(ask(asked.suite, asked.preset, asked.methods, asked.tasks, seeds=asked.seeds)).cells
    assert cell.key == plan.cells[1].key


def test_many_failures_of_one_reason_are_counted(tmp_path: Path, plan: Plan) -> None:
    for cell in plan.cells:
        records = begin(tmp_path, cell)
        records.fail("OSError", "no room")
        records.close()
    lines = report(tmp_path, plan)
    assert lines[0] == "OSError: 8 cells"
    assert sum("here: " in line for line in lines) == failures.SHOWN
    assert lines[-1] == "  and 3 more of fql on bandit-v0"


def test_nothing_failed(tmp_path: Path, plan: Plan) -> None:
    assert report(tmp_path, plan) == ["Nothing failed."]


def test_a_damaged_failure_is_still_one(tmp_path: Path, plan: Plan) -> None:
    folder = folder_of(tmp_path, plan.cells[0].key)
    folder.mkdir(parents=True)
    (folder / "failed.json").write_text("{")
    assert report(tmp_path, plan)[0] == "Unreadable: 1 cell"


def test_the_log_of_a_worker_is_the_one_its_message_names(tmp_path: Path) -> None:
    log = tmp_path / "worker-1-0.log"
    log.write_text("a\nb\n")
    assert failures.last_lines(tmp_path, f"its worker ended with status 1 (b); see {log}", "7_0") == ["a", "b"]
    os.remove(log)
    assert failures.last_lines(tmp_path, f"its worker ended with status 1 (b); see {log}", "7_0") == []


def test_pack_words_are_kept_by_its_parts() -> None:
    pack = Pack((Cell({"seed": 0}, {}), Cell({"seed": 1}, {})), ("--suite", "toy"))
    assert failures.command(pack.of(pack.cells[:1]), pack.cells[0]).startswith(
        "python -m benchmark.launch --suite toy --seeds 0"
    )


def test_watching_ends_when_nothing_is_on_its_way(
    tmp_path: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not at the first failure."""
    looks: list[float] = []
    queued = {list(files)[5]: Queued("7_0", False, "Priority")}
    monkeypatch.setattr(status, "queued_by_all", lambda root: queued)

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            queued.clear()
            (folder_of(tmp_path, list(files)[3]) / "lease.json").unlink()

    monkeypatch.setattr(status, "time", SimpleNamespace(sleep=sleep))
    assert status.run(["--out", str(tmp_path), "--watch"]) == 1
    assert looks == [status.WATCH_SECONDS] * 2


def test_a_failure_is_one_while_the_pack_goes_on(tmp_path: Path, plan: Plan) -> None:
    """A seed that diverged keeps its lease until the last of its pack is done."""
    records = begin(tmp_path, plan.cells[0])
    records.fail("Diverged", "its loss was nan")
    assert status.look(tmp_path).states[plan.cells[0].key] == "failed"
    records.close()


def test_a_cell_of_two_plans_is_one_cell(tmp_path: Path, plan: Plan) -> None:
    more = make(ask("toy", "quick", methods="flow", tasks=("bandit-v0",), seeds="2-5"))
    plan_file.save(tmp_path, more)
    standing = status.look(tmp_path)
    told = [cell.key for pack in standing.packs for cell in pack.cells]
    assert len(told) == len(set(told)) == len(standing.states) == 8 + 2


def test_who_may_only_read_sees_the_same(
    tmp_path: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease of another machine is judged without writing anything."""
    lease = folder_of(tmp_path, list(files)[3]) / "lease.json"
    lease.write_text(json.dumps(json.loads(lease.read_text()) | {"machine": "another"}))

    def readonly(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", readonly)
    assert status.look(tmp_path).states == files
