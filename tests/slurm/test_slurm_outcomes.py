"""One job array on a real cluster: a pack ends well, one fails, one is warned of its time limit and goes on, one is
cancelled, one is killed. Then the same command again."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmark.arguments import parse, requested
from benchmark.planning.plan import make
from benchmark.runs.attempts import attempts_of, starts_of
from benchmark.runs.lease import holder
from benchmark.runs.records import LEASE
from tests.benchmark import tiny
from tests.benchmark.training.test_pack import assert_same
from tests.slurm.conftest import MakePlace, Place, slurm, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.slurm]
WELL, FAILS, WARNED, CANCELLED, SHOT = "flow", "bon", "rebrac", "fql", "ifql"
"""Methods whose packs have these fates."""
ALL = (WELL, FAILS, WARNED, CANCELLED, SHOT)
STEPS = {WARNED: 600_000, CANCELLED: 60_000, SHOT: 60_000}


@dataclass
class Story:
    """What was seen at each point."""

    place: Place
    first: subprocess.CompletedProcess[str]
    told: str = ""
    failures: str = ""
    status: int = 0
    tracked: dict[str, set[str]] = field(default_factory=dict)
    again: subprocess.CompletedProcess[str] | None = None
    before: dict[str, int] = field(default_factory=dict)


def rows(place: Place, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(place.root / "mlflow.db")) as connection:
        return connection.execute(query).fetchall()


def statuses(place: Place) -> dict[str, set[str]]:
    """MLflow's, by method."""
    found: dict[str, set[str]] = {}
    query = "select t.value, r.status from runs r join tags t using (run_uuid) where t.key = 'method'"
    for method, status in rows(place, query):
        found.setdefault(method, set()).add(status)
    return found


def shoot(place: Place) -> None:
    """Kill the process that the cluster knows; its worker ends by itself."""
    owner = holder(place.folder(place.of(SHOT)[0]) / LEASE)
    assert owner is not None
    parent = int(Path(f"/proc/{owner.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)


def takes(*words: str) -> bool:
    """Whether the cluster changes a job so; while one is ending, before it is requeued, it does not."""
    return subprocess.run(("scontrol", "update", *words), capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def story(place: MakePlace) -> Story:
    steps = [f"{method}.offline_steps={count}" for method, count in STEPS.items()]
    here = place(",".join(ALL), *steps, f"{FAILS}.learning_rate=1e38")
    story = Story(here, here.launch())
    assert story.first.returncode == 0, story.first.stderr

    def all_begun() -> bool:
        waiting = {m for m in (WARNED, CANCELLED, SHOT) if m not in met}
        for method in waiting:
            if here.trains(here.of(method)[0]):
                met[method] = here.job(here.of(method)[0])
                if method == CANCELLED:
                    slurm("scancel", met[method])
                elif method == SHOT:
                    shoot(here)
                else:
                    slurm("scontrol", "update", f"jobid={met[method]}", "timelimit=1")
        return not waiting

    met: dict[str, str] = {}
    wait_for(all_begun, here.root)
    wait_for(lambda: "requeued" in here.ends(here.of(WARNED)[0]), here.root)
    wait_for(lambda: takes(f"jobid={met[WARNED]}", "timelimit=10"), here.root)
    story.told = here.command("status").stdout  # while one is on its way, or waits for that
    here.settle()
    said = here.command("status")
    story.status, story.failures = said.returncode, here.command("status", "--failed").stdout
    assert here.command("track").returncode == 0
    story.tracked = statuses(here)
    story.before = {cell.key: len(starts_of(attempts_of(here.folder(cell)))) for cell in here.cells}
    story.again = here.launch()
    here.settle()
    assert here.command("track").returncode == 0
    return story


def test_the_packs_of_a_plan_are_one_array(story: Story) -> None:
    assert "Submitted 10 cells in 5 jobs" in story.first.stdout
    jobs = {story.place.job(cell).partition("_")[0] for cell in story.place.of(WELL) + story.place.of(WARNED)}
    assert len(jobs) == 1


def test_a_pack_that_ends_well(story: Story) -> None:
    for cell in story.place.of(WELL):
        assert story.place.ends(cell) == ["done"]
    assert story.tracked[WELL] == {"FINISHED"}


def test_a_pack_that_fails_says_why(story: Story) -> None:
    assert story.tracked[FAILS] == {"FAILED"}
    assert "Diverged: 2 cells" in story.failures
    assert "lower its learning_rate" in story.failures
    for cell in story.place.of(FAILS):
        assert story.place.ends(cell) == ["failed", "failed"]  # tried again by the same command


def test_the_command_that_reproduces_a_failure_plans_that_cell(story: Story) -> None:
    (line,) = [
        line for line in story.failures.splitlines() if "here: " in line and "--seeds 1" in line and FAILS in line
    ]
    words = shlex.split(line.partition("here: python -m benchmark.launch ")[2])
    asked = parse(words)
    request = requested(asked, asked.preset)
    assert [cell.key for cell in make(request).cells] == [story.place.of(FAILS)[1].key]
    assert asked.executor == "local"


def test_a_job_that_is_warned_of_its_limit_goes_on_where_it_was(story: Story) -> None:
    for cell in story.place.of(WARNED):
        attempts = attempts_of(story.place.folder(cell))
        assert story.place.ends(cell)[0] == "requeued"
        assert story.place.ends(cell)[-1] == "done"
        starts = starts_of(attempts)
        assert starts[2]["reached"] > 0
        assert starts[1]["slurm_job"] == starts[2]["slurm_job"]
        lines = (story.place.folder(cell) / "metrics.jsonl").read_text().splitlines()
        steps = [line["step"] for line in map(json.loads, lines) if "offline/loss" in line["m"]]
        assert steps == list(range(500, STEPS[WARNED] + 1, 500))


def test_a_job_that_was_cancelled_is_not_started_again_by_itself(story: Story) -> None:
    """It saved when it was told, and waits for the next launch."""
    assert story.tracked[CANCELLED] == {"KILLED"}
    for cell in story.place.of(CANCELLED):
        assert story.place.ends(cell) == ["stopped", "done"]


def test_a_job_that_was_killed_is_lost_until_the_next_launch(story: Story) -> None:
    assert story.tracked[SHOT] == {"KILLED"}
    for cell in story.place.of(SHOT):
        assert story.place.ends(cell) == ["lost", "done"]


def test_status_tells_the_truth(story: Story) -> None:
    found = {line.split()[2]: line.split()[3:] for line in story.told.splitlines() if line.startswith("toy")}
    header = next(line for line in story.told.splitlines() if line.startswith("suite")).split()
    assert header[3] == "done"
    assert {"failed", "lost"} <= set(header)
    assert {"running", "requeued"} & set(header)  # the one that was warned
    assert set(found) == set(ALL)
    assert all(counts == ["2"] for counts in found.values())
    assert story.status == 1
    assert "Cancelled: 2 cells" in story.failures
    assert "Killed: 2 cells" in story.failures


def test_the_same_command_again_sends_what_is_missing_and_no_more(story: Story) -> None:
    assert story.again is not None
    assert "Submitted 6 cells in 3 jobs" in story.again.stdout
    for cell in story.place.cells:
        more = len(starts_of(attempts_of(story.place.folder(cell)))) - story.before[cell.key]
        assert more == (0 if cell.method in (WELL, WARNED) else 1)
    assert story.place.states() == {
        WELL: {"done"},
        WARNED: {"done"},
        FAILS: {"failed"},
        CANCELLED: {"done"},
        SHOT: {"done"},
    }


def test_mlflow_holds_each_cell_once_with_a_complete_history(story: Story) -> None:
    place = story.place
    runs = dict(rows(place, "select value, run_uuid from tags where key = 'bench.key'"))
    assert len(rows(place, "select * from runs")) == len(runs) == 10
    assert statuses(place) == {
        m: {"FAILED" if m == FAILS else "FINISHED"} for m in (WELL, FAILS, WARNED, CANCELLED, SHOT)
    }
    for cell in place.cells:
        if cell.method == FAILS:
            continue
        logged = Counter((step, name) for step, name, _ in tiny.history(place.root, cell))
        query = f"select step, key from metrics where run_uuid = '{runs[cell.key]}'"
        found = Counter((s, k) for s, k in rows(place, query) if not k.endswith("steps_per_second"))
        assert {point for point in found if not point[1].startswith(("final/", "cost/"))} == set(logged)
        assert max(found.values()) == 1
        names = {name for _, name in found}
        assert {"cost/wall_hours", "cost/device_hours", "final/online_success"} <= names


def test_what_was_interrupted_is_what_never_was(story: Story, place: MakePlace) -> None:
    """The same packs by the local executor, undisturbed: equal to the last bit."""
    methods = f"{WELL},{CANCELLED},{SHOT}"
    alone = place(methods, *(f"{method}.offline_steps={STEPS[method]}" for method in (CANCELLED, SHOT)))
    said = alone.command("launch", *alone.words, "--executor", "local", "--jobs", "1")
    assert said.returncode == 0, said.stderr
    cells = [cell for cell in story.place.cells if cell.method in methods.split(",")]
    assert len(cells) == 6
    assert_same(story.place.root, alone.root, cells)
