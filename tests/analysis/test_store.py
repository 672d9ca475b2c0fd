"""Reading MLflow back: by SQL and through its client, what counts and what does not."""

from __future__ import annotations

import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from analysis import store

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),  # MLflow never closes its connections
]


def log(client: MlflowClient, experiment: str, key: str, metrics: list[tuple[Any, ...]]) -> str:
    from mlflow.entities import Metric, Param

    run = client.create_run(experiment, 1000, {"bench.key": key, "method": "walk"}).info.run_id
    client.log_batch(run, [Metric(*metric) for metric in metrics], [Param(f"settings.{key}", "1")])
    client.set_terminated(run, "FINISHED", 2000)
    return run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of ours, one of them resumed; a deleted one; somebody else's; an experiment that was deleted."""
    root = tmp_path_factory.mktemp("store")
    client = store._client(f"sqlite:///{root}/mlflow.db")
    ours = client.create_experiment("toy/v1")
    steps = [("loss", 1 / step, 1000 + step, step) for step in range(1, 1205)]
    log(
        client,
        ours,
        "a",
        [("loss", 0.5, 1010, 10), ("loss", 0.25, 3010, 10), ("loss", 0.125, 2010, 10), ("x", 2.0, 1, 0)],
    )
    long = log(client, ours, "b", steps[:1000])
    from mlflow.entities import Metric

    client.log_batch(long, [Metric(*step) for step in steps[1000:]] + [Metric("odd", float("nan"), 5, 5)])
    client.delete_run(log(client, ours, "c", []))
    log(client, client.create_experiment("somebody else's"), "d", [])
    gone = client.create_experiment("toy/v2")
    log(client, gone, "e", [])
    client.delete_experiment(gone)
    return root


def test_only_runs_of_this_project_that_were_not_deleted(root: Path) -> None:
    runs = store.read_runs(str(root))
    assert sorted(runs["tags.bench.key"]) == ["a", "b"]
    assert set(runs["experiment"]) == {"toy/v1"}
    assert set(runs["status"]) == {"FINISHED"}
    by_key = {run["tags.bench.key"]: run for run in runs.to_dicts()}
    assert by_key["a"]["params.settings.a"] == "1"
    assert by_key["b"]["params.settings.a"] is None
    assert by_key["b"]["metrics.loss"] == 1 / 1204
    assert by_key["b"]["metrics.odd"] is None


def test_of_two_values_for_one_step_the_later_one_counts(root: Path) -> None:
    results = store.read(str(root))
    names = dict(results.runs.select("run_id", "tags.bench.key").rows())
    points = results.points.with_columns(pl.col("run_id").replace_strict(names))
    assert points.filter(run_id="a").drop("run_id").rows() == [("loss", 10, 0.25), ("x", 0, 2.0)]
    assert points.filter(run_id="b", name="loss").height == 1204
    assert points.columns == ["run_id", "name", "step", "value"]


def test_both_readers_agree(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_sql = store.read(str(root))
    by_uri = store.read(f"sqlite:///{root}/mlflow.db")
    monkeypatch.setattr(store, "_database", lambda _: None)
    by_client = store.read(f"sqlite:///{root}/mlflow.db")
    for other in (by_uri, by_client):
        assert_frame_equal(by_sql.runs, other.runs)
        assert_frame_equal(by_sql.points.drop_nulls(), other.points.drop_nulls())


def test_nothing_else_in_the_folder_matters_and_nothing_is_written(root: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "config.json").write_text("not even JSON")
    with (
        closing(sqlite3.connect(root / "mlflow.db")) as source,
        closing(sqlite3.connect(tmp_path / "mlflow.db")) as copy,
    ):
        source.backup(copy)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert_frame_equal(store.read_runs(str(root)), store.read_runs(str(tmp_path)))
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_folder_that_may_not_be_written(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, who may write everywhere: the question is answered for them."""
    with (
        closing(sqlite3.connect(root / "mlflow.db")) as source,
        closing(sqlite3.connect(tmp_path / "mlflow.db")) as copy,
    ):
        source.backup(copy)
        copy.execute("pragma journal_mode=wal")
    monkeypatch.setattr("os.access", lambda *_: False)
    assert_frame_equal(store.read_runs(str(root)), store.read_runs(str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_stores_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(store.StoreError, match="There is no MLflow database"):
        store.read_runs(str(tmp_path))
    assert not list(tmp_path.iterdir())
    (tmp_path / "mlflow.db").write_text("a text, and a long one at that, so that SQLite looks at it" * 20)
    with pytest.raises(store.StoreError, match="cannot be read as an MLflow database"):
        store.read_runs(str(tmp_path))
    (tmp_path / "mlflow.db").unlink()
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as other:
        other.execute("create table runs (a)")
    with pytest.raises(store.StoreError, match="cannot be read as an MLflow database"):
        store.read(str(tmp_path))
    with pytest.raises(store.StoreError, match=r"name a server as http://127\.0\.0\.1:5000"):
        store.read_runs("127.0.0.1:5000")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(store.StoreError, match="No MLflow server answers"):
        store.read_runs(uri)


@pytest.mark.parametrize(
    "address", ["nonsense://me:secret@host", "file:///tmp/mlruns", "sqlite://relative.db", "htp://host:5000"]
)
def test_an_address_of_no_store_is_told_without_its_password(address: str) -> None:
    for reader in (store.read, store.read_runs):
        with pytest.raises(store.StoreError, match="is no store of MLflow's: name a folder") as caught:
            reader(address)
        assert "secret" not in str(caught.value)


def test_the_default_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    assert store.default_store() == "http://elsewhere"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert store.default_store() == "./results"


def test_reading_sqlite_needs_no_mlflow(root: Path) -> None:
    import subprocess

    code = f"""
import sys
import analysis.leaderboard
from analysis.store import read
read({str(root)!r})
assert not {{"mlflow", "jax", "sqlalchemy", "benchmark", "methods", "envs"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
