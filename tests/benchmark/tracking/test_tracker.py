"""Run folders into a real MLflow store: nothing is sent twice or lost, and the reader finds what was written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from analysis.store import Results, read, read_runs
from benchmark.runs.lease import Lease
from benchmark.tracking.address import TrackingError, default_uri
from benchmark.tracking.spool import Spool, stored
from benchmark.tracking.store import prepare
from benchmark.tracking.tracker import Tracker

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),  # MLflow never closes its connections
]
EXPERIMENT = "toy/v1"
KEY = "ab12cd34ef567890"
ROOT = Path(__file__).parents[3]


class Run:
    """A run folder, written as the benchmark writes it."""

    def __init__(self, root: Path, key: str = KEY, method: str = "walk", seed: int = 0) -> None:
        self.folder = root / "runs" / key[:2] / key
        self.folder.mkdir(parents=True)
        config = {
            **{"protocol": 1, "suite": "toy", "task": "door-open", "domain": "door", "method": method, "seed": seed},
            **{"preset": "quick", "backbone": "reference", "value": "own"},
            "data": {
                "source": "generated",
                "name": "door",
                "procedure": "play",
                "version": 1,
                "seed": 0,
                "episodes": 60,
            },
            "settings": {"episodes": 50, "offline_steps": 100, "online_steps": 50, "widths": [64, 64], "clip": True},
            "hyperparameters": {"alpha": 0.3},
        }
        self.write("config.json", config)
        self.write("provenance.json", {"settings.episodes": "preset quick [toy]"})
        self.lease: Lease | None = None

    def write(self, name: str, content: Any) -> None:
        (self.folder / name).write_text(json.dumps(content))

    def add(self, name: str, line: Any) -> None:
        with (self.folder / name).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def attempt(self, number: int, **more: Any) -> None:
        start = {"attempt": number, "start": 1000 * number, "host": f"h{number}", "gpu": "cpu", "git_dirty": False}
        self.add("attempts.jsonl", start | {"plan": "p", "versions": {"mujoco": "3.3.7"}, **more})
        self.lease = self.lease or Lease(self.folder / "lease.json")

    def log(self, step: int, time: int, **values: float) -> None:
        self.add("metrics.jsonl", {"t": time, "step": step, "m": values})
        self.save()

    def save(self) -> None:
        """There is a checkpoint with all that was logged."""
        self.write("saved.json", {"offset": (self.folder / "metrics.jsonl").stat().st_size})

    def end(self, number: int, how: str) -> None:
        self.add("attempts.jsonl", {"attempt": number, "end": 1000 * number + 500, "how": how})
        self.leave()

    def leave(self) -> None:
        """Its process ends."""
        if self.lease:
            self.lease.release()
        self.lease = None

    def finish(self, **final: float) -> None:
        self.add("attempts.jsonl", {"attempt": 1, "end": 9000, "how": "done"})
        self.leave()
        self.write("done.json", {"final": final or {"offline_success": 0.5, "online_success": 0.75}})


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a prepared store; creating one takes seconds, so tests copy it."""
    root = tmp_path_factory.mktemp("store")
    prepare(f"sqlite:///{root}/mlflow.db", EXPERIMENT, root / "artifacts")
    return root


@pytest.fixture
def root(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(empty, tmp_path / "root")
    with closing(sqlite3.connect(tmp_path / "root" / "mlflow.db")) as connection:
        place = f"file://{tmp_path}/root/artifacts/{EXPERIMENT}"
        connection.execute("update experiments set artifact_location = ? where name = ?", (place, EXPERIMENT))
        connection.commit()
    return tmp_path / "root"


@pytest.fixture
def tracker(root: Path) -> Tracker:
    return Tracker(default_uri(root), EXPERIMENT)


def count(root: Path, table: str) -> int:
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        return connection.execute(f"select count(*) from {table}").fetchone()[0]


def only(root: Path) -> dict[str, Any]:
    (run,) = read_runs(str(root)).to_dicts()
    return run


def values(root: Path, name: str) -> dict[int, float]:
    points = read(str(root)).points.filter(pl.col("name") == name)
    return dict(points.select("step", "value").rows())


def finished(root: Path, key: str = KEY, **more: Any) -> Run:
    run = Run(root, key, **more)
    run.attempt(1)
    for step in (10, 20, 30):
        run.log(step, 1000 + step, loss=1 / step, success=0.5)
    run.finish()
    return run


def test_a_finished_run_has_everything(root: Path, tracker: Tracker) -> None:
    run = finished(root)
    tracker.push(run.folder)
    row = only(root)
    assert row["status"] == "FINISHED"
    assert row["experiment"] == EXPERIMENT
    tags = {"bench.key": KEY, "bench.plan": "p", "suite": "toy", "task": "door-open", "domain": "door", "seed": "0"}
    tags |= {
        "method": "walk",
        "preset": "quick",
        "backbone": "reference",
        "value": "own",
        "protocol": "1",
        "host": "h1",
    }
    tags |= {"data_source": "generated:play/v1/seed0/60 trajectories"}
    tags |= {"score": "success", "score_meaning": "share of the episodes that succeed"}
    tags |= {"mujoco": "3.3.7", "git_dirty": "false", "attempt": "1", "pack": ""}
    assert {name: row[f"tags.{name}"] for name in tags} == tags
    assert "tags.config_hash" in row
    assert json.loads(row["tags.bench.provenance"]) == {"settings.episodes": "preset quick [toy]"}
    assert row["params.settings.widths"] == "[64, 64]"
    assert row["params.settings.clip"] == "true"
    assert row["params.hyperparameters.alpha"] == "0.3"
    assert row["params.data.episodes"] == "60"
    assert (row["metrics.final/offline_success"], row["metrics.final/online_success"]) == (0.5, 0.75)
    assert values(root, "final/online_success") == {30: 0.75}
    assert values(root, "loss") == {step: 1 / step for step in (10, 20, 30)}
    names = {path.name for path in (root / "artifacts").rglob("*") if path.is_file()}
    assert names == {"config.json", "provenance.json", "attempts.jsonl", "metrics.jsonl", "done.json"}


def test_a_run_of_a_preset_that_is_gone_ranks_by_success(root: Path) -> None:
    run = finished(root)
    run.write("config.json", json.loads((run.folder / "config.json").read_text()) | {"preset": "of before"})
    assert Spool(run.folder).tags["score"] == "success"


def test_a_preset_says_what_its_runs_rank_by(root: Path) -> None:
    run = finished(root)
    config = json.loads((run.folder / "config.json").read_text())
    data = {"source": "generated", "name": "puzzle-3x3-noisy-v0", "procedure": "noisy"}
    data |= {"version": 2, "seed": 0, "episodes": 40}
    run.write("config.json", config | {"suite": "ogbench", "data": data})
    tags = Spool(run.folder).tags
    assert tags["score"] == "above_control"
    assert tags["score_meaning"].startswith("best reward of an episode, less what random presses")


def test_configurations_that_differ_only_in_the_seed_share_their_hash(root: Path) -> None:
    first, second = (Spool(Run(root, f"ab{seed}", seed=seed).folder).tags for seed in (0, 1))
    other = Spool(Run(root, "ac", method="run").folder).tags
    assert first["config_hash"] == second["config_hash"] != other["config_hash"]


def test_pushing_twice_adds_nothing(root: Path, tracker: Tracker) -> None:
    run = finished(root)
    tracker.push(run.folder)
    before = [count(root, table) for table in ("runs", "metrics", "params", "tags")]
    tracker.push(run.folder)
    (run.folder / "mlflow.json").unlink()  # as if it had died between creating the run and noting it
    Tracker(tracker.uri, EXPERIMENT).push(run.folder)
    assert [count(root, table) for table in ("runs", "metrics", "params", "tags")] == before
    assert before[0] == 1


def test_only_what_is_new_is_sent(root: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(root)
    run.attempt(1)
    run.log(10, 1010, loss=1.0)
    tracker.push(run.folder)
    sent: list[Any] = []
    original = tracker._client.log_batch
    monkeypatch.setattr(tracker._client, "log_batch", lambda *a, **k: (sent.append(k), original(*a, **k)))
    tracker.push(run.folder)
    assert sent == []
    for step in range(20, 2520):
        run.log(step, 1000 + step, loss=2.0)
    tracker.push(run.folder)
    assert [len(batch["metrics"]) for batch in sent] == [1000, 1000, 500]
    assert only(root)["status"] == "RUNNING"
    assert values(root, "loss")[2519] == 2.0


def test_a_finished_run_whose_tags_are_new_is_tagged_again(root: Path, tracker: Tracker) -> None:
    """As after an upgrade that says more of where data come from."""
    run = Run(root)
    run.finish()
    assert tracker.push_all([run.folder]) == []
    config = json.loads((run.folder / "config.json").read_text())
    config["data"]["episodes"] = 61
    run.write("config.json", config)
    assert tracker.push_all([run.folder]) == []
    assert only(root)["tags.data_source"] == "generated:play/v1/seed0/61 trajectories"


def test_a_half_written_line_waits(root: Path, tracker: Tracker) -> None:
    run = Run(root)
    run.attempt(1)
    run.log(10, 1010, loss=1.0)
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"t": 1020, "step": 20, "m": {"lo')
    run.save()
    tracker.push(run.folder)
    assert values(root, "loss") == {10: 1.0}
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('ss": 0.5}}\n')
    run.save()
    tracker.push(run.folder)
    assert values(root, "loss") == {10: 1.0, 20: 0.5}


def test_what_an_interruption_may_take_back_is_not_sent(root: Path, tracker: Tracker) -> None:
    run = Run(root)
    run.attempt(1)
    run.log(10, 1010, loss=1.0)
    run.add("metrics.jsonl", {"t": 1020, "step": 20, "m": {"loss": 0.5}})  # behind the checkpoint
    tracker.push(run.folder)
    assert values(root, "loss") == {10: 1.0}
    run.finish()
    tracker.push(run.folder)
    assert values(root, "loss") == {10: 1.0, 20: 0.5}


@pytest.mark.parametrize("steps_after", [1, 5])
def test_metrics_that_were_cut_back(root: Path, tracker: Tracker, steps_after: int) -> None:
    """The last checkpoint was damaged, and the run goes back further than was sent: its later values replace those."""
    run = Run(root)
    run.attempt(1)
    for step in (10, 20, 30):
        run.log(step, 1000 + step, loss=1.0)
    tracker.push(run.folder)
    kept = (run.folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)[:1]
    (run.folder / "metrics.jsonl").write_bytes(b"".join(kept))
    run.attempt(2)
    for step in range(20, 20 + 10 * steps_after, 10):
        run.log(step, 2000 + step, loss=0.25)
    tracker.push(run.folder)
    later = {step: 0.25 for step in range(20, 20 + 10 * steps_after, 10)}
    assert values(root, "loss") == {10: 1.0, 20: 1.0, 30: 1.0} | later
    assert only(root)["tags.attempt"] == "2"
    assert only(root)["tags.host"] == "h2"


def test_status_follows_the_folder(root: Path, tracker: Tracker) -> None:
    run = Run(root)
    run.attempt(1)
    seen = []

    def push() -> None:
        tracker.push(run.folder)
        seen.append(only(root)["status"])

    push()
    run.end(1, "stopped")
    push()
    run.attempt(2)
    push()
    run.end(2, "failed")
    run.write("failed.json", {"error": "ValueError", "message": "no", "attempt": 2})
    push()
    (run.folder / "failed.json").unlink()
    run.attempt(3)
    push()
    run.end(3, "requeued")
    push()
    run.attempt(4)
    push()
    run.leave()  # killed: it could not say how it ended
    push()
    run.attempt(5)
    run.finish()
    push()
    assert seen == [
        *("RUNNING", "KILLED", "RUNNING", "FAILED", "RUNNING", "SCHEDULED", "RUNNING", "KILLED", "FINISHED")
    ]
    (attempts,) = (root / "artifacts").rglob("attempts.jsonl")
    assert attempts.read_bytes() == (run.folder / "attempts.jsonl").read_bytes()


def test_a_run_deleted_from_the_store_is_created_anew(root: Path, tracker: Tracker) -> None:
    run = finished(root)
    tracker.push(run.folder)
    tracker._client.delete_run(only(root)["run_id"])
    assert len(read_runs(str(root))) == 0
    assert tracker.push_all([run.folder]) == []
    assert values(root, "loss") == {step: 1 / step for step in (10, 20, 30)}


@pytest.mark.slow
def test_a_lost_database_is_rebuilt(root: Path, tracker: Tracker) -> None:
    runs = [finished(root, f"ab{seed}", seed=seed) for seed in range(3)]
    assert tracker.push_all([run.folder for run in runs]) == []
    before = read(str(root))
    for file in root.glob("mlflow.db*"):
        file.unlink()
    with pytest.raises(TrackingError, match="no MLflow database"):
        Tracker(tracker.uri, EXPERIMENT).push(runs[0].folder)
    assert not (root / "mlflow.db").exists()
    again = root / "again"  # MLflow keeps the deleted file open in this process
    again.mkdir()
    uri = default_uri(again)
    prepare(uri, EXPERIMENT, again / "artifacts")
    assert Tracker(uri, EXPERIMENT).push_all([run.folder for run in runs]) == []
    assert_same_but_ids(before, read(str(again)))


def assert_same_but_ids(first: Results, second: Results) -> None:
    """Equal apart from what MLflow makes up itself."""

    def cleaned(results: Results) -> list[pl.DataFrame]:
        keys = results.runs.select("run_id", "tags.bench.key")
        runs = results.runs.drop("run_id").sort("tags.bench.key")
        points = results.points.join(keys, on="run_id").drop("run_id")
        return [runs, points.sort("tags.bench.key", "name", "step")]

    for one, other in zip(cleaned(first), cleaned(second), strict=True):
        assert_frame_equal(one, other, check_column_order=False)


def test_the_prepared_database_is_fast_and_whole(root: Path, tracker: Tracker) -> None:
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        assert connection.execute("pragma journal_mode").fetchone()[0] == "wal"
    assert not list(root.glob("*.partial*"))
    with tracker._client._tracking_client.store.engine.connect() as inside:  # type: ignore[attr-defined]
        assert inside.exec_driver_sql("pragma synchronous").scalar() == 1
    prepare(tracker.uri, EXPERIMENT, root / "artifacts")
    assert len(tracker._client.search_experiments()) == 2  # MLflow's own "Default" and ours


def test_push_all_sends_only_what_changed(root: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    done = [finished(root, f"ab{seed}", seed=seed) for seed in range(2)]
    folders = [run.folder for run in done]
    assert tracker.push_all(folders) == []
    pushed: list[str] = []
    push = tracker.push
    monkeypatch.setattr(tracker, "push", lambda folder: (pushed.append(folder.name), push(folder)))
    running = Run(root, "cd0")
    running.attempt(1)
    assert tracker.push_all([*folders, running.folder]) == []
    assert pushed == ["cd0"]
    run_id = found.run if (found := stored(folders[0], tracker.uri)) else ""
    tracker._client.update_run(run_id, status="KILLED")  # changed behind our back
    assert tracker.push_all(folders) == []
    assert pushed == ["cd0", "ab0"]


def test_a_failing_push_is_tried_again_and_told(root: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException

    folders = [finished(root, f"ab{seed}", seed=seed).folder for seed in range(2)]
    (Run(root, "ff0").folder / "config.json").write_text("{")
    failures = iter([True])
    original: Callable[..., Any] = tracker._client.log_batch

    def flaky(*arguments: Any, **named: Any) -> Any:
        if next(failures, False):
            raise MlflowException("try later")
        return original(*arguments, **named)

    monkeypatch.setattr(tracker._client, "log_batch", flaky)
    problems = tracker.push_all([root / "runs" / "ff" / "ff0", *folders])
    assert len(problems) == 1
    assert "not a readable run folder" in problems[0]
    assert set(read_runs(str(root))["status"]) == {"FINISHED"}
    assert len(read_runs(str(root))) == 2


def test_a_server_that_is_not_there_is_told_at_once(root: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    run = finished(root)
    began = time.monotonic()
    with pytest.raises(TrackingError, match="No MLflow server answers"):
        prepare(uri, EXPERIMENT, root)
    with pytest.raises(TrackingError, match="No MLflow server answers"):
        Tracker(uri, EXPERIMENT).push(run.folder)
    problems = Tracker(uri, EXPERIMENT).push_all([run.folder] * 50)
    assert len(problems) == 1
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_importing_is_cheap_and_quiet(root: Path) -> None:
    run = finished(root)
    code = f"""
import sys
import benchmark.tracking.store as s
import benchmark.tracking.tracker as t
assert not {{"mlflow", "sqlalchemy", "requests"}} & set(sys.modules)
from pathlib import Path
s.prepare({default_uri(root)!r}, {EXPERIMENT!r}, Path({str(root)!r}))
t.Tracker({default_uri(root)!r}, {EXPERIMENT!r}).push(Path({str(run.folder)!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def server(root: Path) -> Iterator[str]:
    """A real server on the same database."""
    with serving(root) as uri:
        yield uri


@contextmanager
def serving(root: Path, port: int = 0) -> Iterator[str]:
    """A real server for as long as it is wanted, at a free port if none is said."""
    if not port:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    place = ["--backend-store-uri", default_uri(root), "--artifacts-destination", str(root / "served")]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        *place,
    ]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (root / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True, cwd=root)
        uri = f"http://127.0.0.1:{port}"
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"{uri}/health", timeout=1).close()
                    break
                except (urllib.error.URLError, OSError):
                    time.sleep(0.25)
            else:
                pytest.fail((root / "server.log").read_text())
            yield uri
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


@pytest.mark.slow
def test_a_server_takes_and_gives_the_same(root: Path, tracker: Tracker, server: str) -> None:
    local = [finished(root, f"ab{seed}", seed=seed) for seed in range(2)]
    assert tracker.push_all([run.folder for run in local]) == []
    prepare(server, "toy/v2", root / "unused")
    prepare(server, EXPERIMENT, root / "unused")
    served = Tracker(server, "toy/v2")
    remote = finished(root, "cd0")
    assert served.push_all([remote.folder]) == []
    assert served.push_all([remote.folder]) == []
    by_sql, by_http = read(str(root)), read(server)
    assert len(by_sql.runs) == 3
    assert_frame_equal(by_sql.runs, by_http.runs)
    assert_frame_equal(by_sql.points, by_http.points)
    assert {path.name for path in (root / "served").rglob("*.json*")} >= {"config.json", "metrics.jsonl", "done.json"}


def test_the_leaderboard_reads_what_was_pushed(root: Path, tracker: Tracker) -> None:
    assert tracker.push_all([finished(root, f"ab{seed}", seed=seed).folder for seed in range(2)]) == []
    shutil.rmtree(root / "runs")  # the store is all it needs
    command = [sys.executable, "-m", "analysis.leaderboard", "--store", str(root)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "walk" in done.stdout
    assert "50 [50,50] -> 75 [75,75]" in done.stdout
    assert (root / "leaderboard.csv").exists()


WRITER = """
import os, sys
from pathlib import Path
import mlflow.tracking, sqlalchemy
from benchmark.tracking.tracker import Tracker
uri, experiment, root = sys.argv[1:]
folders = sorted(path.parent for path in Path(root).glob("runs/*/*/config.json"))
children = []
for number in range(8):
    if not (child := os.fork()):
        mine = [folder for folder in folders if int(folder.name[-1]) in (number, (number + 1) % 8)]
        problems = Tracker(uri, experiment).push_all(mine)
        print(*problems, sep="\\n", file=sys.stderr, flush=True)
        os._exit(len(problems))
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


@pytest.mark.slow
def test_eight_writers_at_once_lose_nothing(root: Path, server: str) -> None:
    """Of sixteen runs, each of which two of them want to send at the same time, to a real server."""
    runs = [finished(root, f"ab{seed:02}{seed % 8}", seed=seed) for seed in range(16)]
    for run in runs:
        (run.folder / "done.json").unlink()
        for step in range(40, 540, 10):
            run.log(step, 1000 + step, loss=1 / step, success=0.5)
        run.write("done.json", {"final": {"online_success": 0.75}})
    prepare(server, EXPERIMENT, root / "unused")
    command = [sys.executable, "-W", "ignore", "-c", WRITER, server, EXPERIMENT, str(root)]
    said = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert json.loads(said.stdout) == [0] * 8, said.stderr
    found = read(str(root))
    assert sorted(found.runs["tags.seed"].to_list(), key=int) == [str(seed) for seed in range(16)]
    assert set(found.runs["status"]) == {"FINISHED"}
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        points = connection.execute("select run_uuid, key, step, value from metrics").fetchall()
    assert len(points) == len(set(points)) == 16 * (2 * 53 + 1 + 2)  # losses and successes, a final, two costs


@pytest.mark.slow
def test_a_tracker_that_goes_away_and_comes_back_has_everything(root: Path, tmp_path: Path) -> None:
    """Runs do not notice; what was sent is not sent again, what was not is sent then."""
    run = Run(root)
    run.attempt(1)
    run.log(10, 1010, loss=1.0)
    with serving(root) as uri:
        prepare(uri, EXPERIMENT, root / "unused")
        port = int(uri.rpartition(":")[2])
        assert Tracker(uri, EXPERIMENT).push_all([run.folder]) == []
    run.log(20, 1020, loss=0.5)
    started = time.monotonic()
    (problem,) = Tracker(uri, EXPERIMENT).push_all([run.folder])
    assert "No MLflow server answers" in problem
    assert time.monotonic() - started < 30  # it says so, and does not wait for ever
    run.finish(online_success=0.5)
    with serving(root, port) as again:
        assert again == uri
        assert Tracker(uri, EXPERIMENT).push_all([run.folder]) == []
    assert values(root, "loss") == {10: 1.0, 20: 0.5}
    assert count(root, "runs") == 1
    assert only(root)["status"] == "FINISHED"
