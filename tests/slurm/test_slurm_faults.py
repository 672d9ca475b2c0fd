"""What a real cluster does to jobs, one fault at a time: preemption, a node that goes away, no memory, a worker that is
killed; and launches that race."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.store import read_runs
from benchmark.execution.executors import Order
from benchmark.planning.plan import Plan, make
from benchmark.planning.request import ask
from benchmark.runs import plan_file
from benchmark.runs.attempts import attempts_of, starts_of
from benchmark.runs.lease import holder
from benchmark.runs.records import LEASE
from benchmark.tracking.store import prepare
from slurm import submit
from slurm.cluster import SlurmError
from tests.benchmark.test_launch import environment
from tests.benchmark.tracking.test_tracker import serving
from tests.slurm.conftest import MakePlace, Place, slurm, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),  # MLflow never closes its connections
]
LONG = "flow.offline_steps=100000"
LONGER = "flow.offline_steps=300000"
"""Not over before the scheduler has done what it takes its time for."""


def begun(place: Place, cells: int = 1) -> list[str]:
    """The jobs of a launch, once they train."""
    wait_for(lambda: sum(place.trains(cell) for cell in place.cells) >= cells, place.root)
    return sorted({place.job(cell) for cell in place.cells if place.trains(cell)})


def assert_complete(place: Place) -> None:
    """All are done, with every line of metrics once."""
    assert place.states() == {"flow": {"done"}}
    for cell in place.cells:
        lines = map(json.loads, (place.folder(cell) / "metrics.jsonl").read_text().splitlines())
        steps = [line["step"] for line in lines if "offline/loss" in line["m"]]
        assert steps == list(range(500, cell.configuration["settings"]["offline_steps"] + 1, 500))


def test_a_preempted_job_saves_and_goes_on_elsewhere(place: MakePlace) -> None:
    here = place("flow", LONGER, seeds="0", partition="low", extra={"nodelist": "n4"})
    assert here.launch().returncode == 0
    begun(here)
    options = ("--partition=main", "--nodelist=n4", "--exclusive", "--output=/dev/null", "--parsable")
    other = slurm("sbatch", *options, "--wrap=sleep 5").strip()
    (cell,) = here.cells
    wait_for(lambda: "requeued" in here.ends(cell), here.root)
    here.settle()
    assert slurm("sacct", "-X", "-n", "-j", other, "-o", "State").strip() == "COMPLETED"
    assert here.ends(cell) == ["requeued", "done"]
    assert_complete(here)


def test_a_job_whose_node_went_away_goes_on_elsewhere_and_the_node_is_left_out(place: MakePlace) -> None:
    here = place("flow", LONGER, seeds="0", exclude_after=1, extra={"nodelist": "n3"})
    assert here.launch().returncode == 0
    begun(here)
    (cell,) = here.cells
    try:
        slurm("scontrol", "update", "nodename=n3", "state=down", "reason=test")
        wait_for(lambda: any("PENDING" in line for line in here.queue()), here.root)
        slurm("scontrol", "update", f"jobid={here.job(cell)}", "nodelist=n2")
        here.settle()
    finally:
        slurm("scontrol", "update", "nodename=n3", "state=resume")
    assert here.ends(cell) in (["lost", "done"], ["stopped", "done"])  # TERM comes first, and may be heard in time
    assert {line["host"] for line in attempts_of(here.folder(cell)) if "start" in line} == {"n2", "n3"}
    assert_complete(here)
    more = Place(here.root, tuple("1" if word == "0" else word for word in here.words), here.profile | {"extra": {}})
    said = more.launch()
    assert "left out, since they broke 1 job: n3" in said.stdout
    assert "ExcNodeList=n3" in slurm("scontrol", "show", "job", more.queue()[0].split("|")[0])
    more.settle()


def test_a_pack_without_memory_is_halved(place: MakePlace) -> None:
    here = place("flow", LONG)
    assert "Submitted 2 cells in 1 job" in here.launch(memory_gb=0.4).stdout
    here.settle()
    (job,) = {here.job(cell) for cell in here.cells}
    assert "Exceeded job memory limit" in next(here.root.glob(f"slurm/*/{job}_*_log.out")).read_text()
    assert here.command("status").returncode == 1
    assert "Submitted 2 cells in 2 jobs" in here.launch().stdout
    here.settle()
    assert_complete(here)


def sent_with(place: Place, code: str) -> None:
    """The jobs of a folder as if they had been sent with this code of their method."""
    for path in place.root.glob("slurm/*/jobs.json"):
        stored = json.loads(path.read_text())
        stored["site"]["codes"] = dict.fromkeys(stored["site"]["codes"], code)
        path.write_text(json.dumps(stored))


def assert_left(place: Place, job: str, before: dict[str, bytes]) -> None:
    """One sentence in the job's log, nothing trained, nothing deleted; and the cell is stale until the next launch."""
    (log,) = place.root.glob(f"slurm/*/{job}_*_log.out")
    told = [
        line for line in log.read_text().splitlines() if "the code of flow is another than it was sent with" in line
    ]
    assert len(told) == 1
    (cell,) = place.cells
    now = contents(place.folder(cell))
    assert json.loads(now.pop("refused.json"))["sent"] == "0123456789abcdef"
    assert now == before
    said = place.command("status")
    assert said.returncode == 4
    assert "1 cell: stale 1" in said.stdout


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_job_that_starts_under_other_code_trains_nothing(place: MakePlace) -> None:
    here = place("flow", seeds="0")
    assert here.launch(extra={"begin": "now+6"}).returncode == 0
    (job,) = (line.split("|")[0] for line in here.queue())
    sent_with(here, "0123456789abcdef")
    here.settle()
    assert_left(here, job, {})
    assert "Submitted 1 cell in 1 job" in here.launch().stdout  # the next launch decides
    here.settle()
    assert here.states() == {"flow": {"done"}}
    assert not (here.folder(here.cells[0]) / "refused.json").exists()


def test_a_job_that_comes_back_under_other_code_leaves_what_it_had_begun(place: MakePlace) -> None:
    here = place("flow", LONG, seeds="0")
    assert here.launch().returncode == 0
    (job,) = begun(here)
    slurm("scontrol", "requeuehold", job)
    wait_for(lambda: any("PENDING" in line for line in here.queue()), here.root)
    wait_for(lambda: holder(here.folder(here.cells[0]) / LEASE) is None, here.root)
    sent_with(here, "0123456789abcdef")
    before = contents(here.folder(here.cells[0]))
    assert "checkpoint/state.npz" in before
    slurm("scontrol", "release", job)
    here.settle()
    assert_left(here, job, before)


def job_names(place: Place) -> str:
    return ",".join(f"bench-{path.parent.name}" for path in place.root.glob("slurm/*/jobs.json"))


def test_a_worker_that_is_killed_is_followed_by_halves_in_the_same_job(place: MakePlace) -> None:
    here = place("flow", LONG)
    assert here.launch().returncode == 0
    begun(here, cells=2)
    owner = holder(here.folder(here.cells[0]) / LEASE)
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    here.settle()
    assert_complete(here)
    for cell in here.cells:
        assert here.ends(cell) == ["lost", "done"]
        starts = starts_of(attempts_of(here.folder(cell))).values()
        assert [line["device_share"] for line in starts] == [0.5, 1.0]
        assert len({line["slurm_job"] for line in starts}) == 1


def test_jobs_that_reach_a_server_send_their_records_themselves(place: MakePlace) -> None:
    """And when it goes away they train on; what it missed is collected later."""
    here = place("flow", LONG)
    prepare(f"sqlite:///{here.root}/mlflow.db", "toy/v1", here.root / "artifacts")
    with serving(here.root) as uri:
        here.variables["MLFLOW_TRACKING_URI"] = uri
        assert "sends what a server that was away did not get" in here.launch().stdout
        begun(here)
        here.settle()
        runs = read_runs(str(here.root))
        assert sorted(runs["tags.seed"]) == ["0", "1"]
        assert set(runs["status"]) == {"FINISHED"}
        more = Place(here.root, tuple("2" if word == "0-1" else word for word in here.words), variables=here.variables)
        assert more.launch().returncode == 0
        wait_for(lambda: more.trains(more.cells[-1]), here.root)
    more.settle()
    assert more.states() == {"flow": {"done"}}
    log = next(path for path in here.root.glob("slurm/*/*_log.out") if "tracking: " in path.read_text())
    assert "No MLflow server answers" in log.read_text()
    here.variables.clear()
    assert here.command("track").returncode == 0
    runs = read_runs(str(here.root))
    assert sorted(runs["tags.seed"]) == ["0", "1", "2"]
    assert set(runs["status"]) == {"FINISHED"}


def test_of_two_launches_at_once_each_cell_is_sent_by_one(place: MakePlace) -> None:
    here = place("flow,bon,fql,ifql", seeds="0-3", seeds_per_pack=1, extra={"begin": "now+1hour"})
    here.launch("--dry-run")  # writes the profile
    words = [*here.words, "--executor", "slurm", "--profile", str(here.root / "profile.toml"), "--out", str(here.root)]
    command = [sys.executable, "-W", "ignore", "-m", "benchmark.launch", *words]
    variables = environment(SLURM_CONF=os.environ["SLURM_CONF"])
    both = [subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    try:
        # The second finds everything in the queue, or is told to come back.
        assert 0 in [process.returncode for process in both], said
        sent = [key for path in here.root.glob("slurm/*/jobs.json") for key in keys(path)]
        assert sorted(sent) == sorted(cell.key for cell in here.cells)
        assert len(here.queue()) == 16
        third = here.launch()
        assert "with the scheduler 16, to do 0" in third.stdout
        assert len(here.queue()) == 16
        assert here.command("status").returncode == 3
    finally:
        slurm("scancel", f"--name={job_names(here)}")


def keys(path: Path) -> list[str]:
    return [key for packs in json.loads(path.read_text())["jobs"] for pack in packs for key in pack]


def doctor(place: Place) -> subprocess.CompletedProcess[str]:
    words = ["--profile", str(place.root / "profile.toml"), "--out", str(place.root)]
    variables = environment(SLURM_CONF=os.environ["SLURM_CONF"])
    command = [sys.executable, "-m", "slurm.doctor", *words]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def test_the_doctor_finds_this_cluster_fit(place: MakePlace) -> None:
    here = place("flow")
    here.launch("--dry-run")
    found = doctor(here)
    assert (found.returncode, found.stderr) == (0, "")
    assert all(line.startswith("ok ") for line in found.stdout.splitlines())
    words = ("partition main", "time", "gres", "limits", "request", "preemption: REQUEUE", "sacct", "python", "store")
    assert [word for word in (*words, "probe job") if word not in found.stdout] == []


def test_the_doctor_says_what_does_not_fit(place: MakePlace) -> None:
    here = place("flow")
    here.launch("--dry-run", partition="gpus")
    found = doctor(here)
    assert (found.returncode, len(found.stdout.splitlines())) == (1, 1)  # the rest would fail for the same reason
    assert "fail there is no partition gpus: set partition in the profile to " in found.stdout
    here.launch("--dry-run", gres="tpu:1", cpus=999)
    found = doctor(here)
    assert found.returncode == 1
    assert "fail no node offers gres tpu:1: set gres in the profile to one of gpu, shard" in found.stdout
    assert "fail request can't be looked at: sbatch failed" in found.stdout


def order_of(plan: Plan, root: Path, line: str) -> Order:
    """A whole plan to submit, with one more line in its profile."""
    profile = root / "profile.toml"
    profile.write_text(f"time_minutes = 60\ncpus = 1\nmemory_gb = 1\n{line}\n")
    plan_file.save(root, plan)
    return Order(plan, plan.packs, {"root": str(root), "about": {}}, 1, str(profile))


def test_the_papers_grid_is_a_handful_of_calls(cluster: object, tmp_path: Path) -> None:
    """50 tasks x 22 methods x 8 seeds; its data are not needed to send it, so that the executor is called alone."""
    plan = make(ask("ogbench", "paper"))
    order = order_of(plan, tmp_path, 'extra = {begin = "now+1hour"}')
    try:
        started = time.monotonic()
        outcome = submit.run(order, lambda pack, event: None)
        print(f"{len(plan.cells)} cells were sent in {time.monotonic() - started:.1f} s")
        assert [line.split(":")[0] for line in outcome.submitted[:2]] == [
            *("Submitted 8000 cells in 1000 jobs", "Submitted 800 cells in 100 jobs")
        ]
        assert len(list(tmp_path.glob("slurm/*/jobs.json"))) == 2
        assert set(submit.queued(tmp_path)) == {cell.key for cell in plan.cells}
        again = submit.run(order, lambda pack, event: None)
        assert again.submitted == ["Nothing to submit: the rest is in the queue, or failed."]
    finally:
        names = [f"bench-{path.parent.name}" for path in tmp_path.glob("slurm/*/jobs.json")]
        slurm("scancel", f"--name={','.join(names)}")


def test_what_sbatch_refuses_is_told_and_leaves_nothing(cluster: object, tmp_path: Path) -> None:
    order = order_of(make(ask("toy", "quick", methods="flow", seeds="0")), tmp_path, 'partition = "gpus"')
    with pytest.raises(SlurmError, match=r"sbatch refused the jobs .*invalid partition.*; mend the profile"):
        submit.run(order, lambda pack, event: None)
    assert list(tmp_path.glob("slurm/*")) == []
