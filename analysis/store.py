"""Reads runs and histories from MLflow; the only module of the analysis that imports it, and not for SQLite."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import polars as pl

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = re.compile(r"[^/]+/v\d+")  # <suite>/v<protocol>
RUN = {"run_id": pl.String, "experiment": pl.String, "status": pl.String, "started": pl.Int64}
POINT = {"run_id": pl.String, "name": pl.String, "step": pl.Int64, "time": pl.Int64, "value": pl.Float64}
PAIR = {"run_id": pl.String, "name": pl.String, "value": pl.String}
LATEST = {"run_id": pl.String, "name": pl.String, "value": pl.Float64}

SERVERS = ("http://", "https://", "postgresql", "mysql", "mssql", "databricks")
ACTIVE = """from runs r join experiments e using (experiment_id)
    where r.lifecycle_stage = 'active' and e.lifecycle_stage = 'active'"""
SELECT_RUNS = f"select r.run_uuid, e.name, r.status, r.start_time {ACTIVE}"
SELECT_OF_ACTIVE = "select {} from {} where run_uuid in (select r.run_uuid " + ACTIVE + ")"
VALUE = "case when is_nan then null else value end"


class StoreError(Exception):
    """The store could not be read; the text is one sentence that says why."""


@dataclass(frozen=True)
class Results:
    """``runs``: one row per run; ``points``: every value of every metric, the newest where a step was run twice.

    Columns of ``runs``: run_id, experiment, status, started (ms), then ``tags.*`` and ``params.*`` (text) and
    ``metrics.*`` (the value at the largest step). Columns of ``points``: run_id, name, step, value.
    """

    runs: pl.DataFrame
    points: pl.DataFrame


def default_store() -> str:
    """Where the benchmark tracks unless told otherwise."""
    return os.environ.get("MLFLOW_TRACKING_URI") or "./results"


def read(store: str) -> Results:
    """Runs and points of a store: an MLflow URI, or a directory with ``mlflow.db`` in it.

    Points of a server come by one request per run and metric, which takes minutes for thousands of runs.
    """
    path = _database(store)
    if path is not None:
        with closing(_connect(path)) as connection:
            runs = _sql_runs(path, connection)
            columns = f"run_uuid, key, step, timestamp, {VALUE}"
            points = _rows(path, connection, SELECT_OF_ACTIVE.format(columns, "metrics"))
    else:
        runs = _client_runs(store)
        points = _client_points(store, runs)
    return Results(runs, _newest(points).filter(pl.col("run_id").is_in(runs["run_id"].implode())))


def read_runs(store: str) -> pl.DataFrame:
    """Only the runs of `read`, which is fast for every kind of store."""
    path = _database(store)
    if path is None:
        return _client_runs(store)
    with closing(_connect(path)) as connection:
        return _sql_runs(path, connection)


def _database(store: str) -> Path | None:
    """The SQLite file to read; None where MLflow's client has to be asked."""
    if "://" not in store:
        folder = Path(store)
        if not folder.exists() and re.fullmatch(r"[\w.-]+:\d+(/.*)?", store):
            raise StoreError(f"There is no folder {store}: name a server as http://{store}.")
        return folder if folder.is_file() else folder / "mlflow.db"
    if store.startswith("sqlite:///"):
        return Path(store.removeprefix("sqlite:///"))
    if not store.startswith(SERVERS):
        raise StoreError(
            f"{shown(store)} is no store of MLflow's: name a folder with mlflow.db in it, sqlite:////FOLDER/mlflow.db, "
            "a server (http://HOST:PORT) or a database (postgresql+psycopg2://...)."
        )
    return None


def _connect(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise StoreError(f"There is no MLflow database at {path}: run the benchmark first, or name its store.")
    # Even reading a WAL database wants to write files beside it: where that is not allowed, it is read as it is.
    idle = not Path(f"{path}-wal").exists() and not os.access(path.parent, os.W_OK)
    how = "immutable=1" if idle else "mode=ro"
    return sqlite3.connect(f"file:{quote(str(path.resolve()))}?{how}", uri=True, timeout=20)


def _rows(path: Path, connection: sqlite3.Connection, query: str) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(query).fetchall()
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path} cannot be read as an MLflow database ({error}).") from error


def _sql_runs(path: Path, connection: sqlite3.Connection) -> pl.DataFrame:
    runs = _rows(path, connection, SELECT_RUNS)
    tags = _rows(path, connection, SELECT_OF_ACTIVE.format("run_uuid, key, value", "tags"))
    params = _rows(path, connection, SELECT_OF_ACTIVE.format("run_uuid, key, value", "params"))
    latest = _rows(path, connection, SELECT_OF_ACTIVE.format(f"run_uuid, key, {VALUE}", "latest_metrics"))
    return _wide(runs, tags, params, latest)


def shown(uri: str) -> str:
    """An address without its password: between user and host (where it may hold a slash, if it is no port), in the
    place of a server's user, or among the parameters."""
    for place in (r"^([^/]*//[^:/@]*:)[^/?]+@", r"^([^/]*//[^:/@]*:)(?!\d*/)[^?]+@", r"^((?i:https?)://)[^:/@]+@"):
        uri, found = re.subn(place, r"\1***@", uri)
        if found:
            break
    return re.sub(r"(?i)([?&]\w*(?:password|token|secret|signature|key)=)[^&]+", r"\1***", uri)


def _client(uri: str) -> MlflowClient:
    """A client that gives up in seconds; MLflow's own seven retries would take minutes."""
    for name in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"):
        os.environ.setdefault(name, "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    if uri.startswith("http"):
        import requests

        try:
            requests.get(f"{uri.rstrip('/')}/health", timeout=4)
        except (requests.RequestException, ValueError) as error:
            raise StoreError(f"No MLflow server answers at {shown(uri)}: start it or name another store.") from error
    from mlflow import MlflowClient

    try:
        return MlflowClient(tracking_uri=uri)
    except ImportError as error:
        raise StoreError(f"MLflow lacks the driver of this store ({error}): install it, or name a server.") from error


def _client_runs(uri: str) -> pl.DataFrame:
    client = _client(uri)
    from mlflow.exceptions import MlflowException

    try:
        experiments = {e.experiment_id: e.name for e in _pages(client.search_experiments)}
        names = {key: name for key, name in experiments.items() if EXPERIMENT.fullmatch(name)}
        found = list(_pages(client.search_runs, list(names))) if names else []
    except MlflowException as error:
        raise StoreError(f"MLflow at {shown(uri)} failed: {str(error).splitlines()[0]}") from error
    runs = [(r.info.run_id, names[r.info.experiment_id], r.info.status, r.info.start_time) for r in found]
    tags = [(r.info.run_id, *item) for r in found for item in r.data.tags.items()]
    params = [(r.info.run_id, *item) for r in found for item in r.data.params.items()]
    latest = [(r.info.run_id, *item) for r in found for item in r.data.metrics.items()]
    return _wide(runs, tags, params, latest)


def _client_points(uri: str, runs: pl.DataFrame) -> list[tuple[Any, ...]]:
    client = _client(uri)
    from mlflow.exceptions import MlflowException

    names = [column for column in runs.columns if column.startswith("metrics.")]
    wanted = [
        (row["run_id"], name.removeprefix("metrics."))
        for row in runs.to_dicts()
        for name in names
        if row[name] is not None
    ]
    try:
        return [
            (run, name, point.step, point.timestamp, point.value)
            for run, name in wanted
            for point in client.get_metric_history(run, name)
        ]
    except MlflowException as error:
        raise StoreError(f"MLflow at {shown(uri)} failed: {str(error).splitlines()[0]}") from error


def _pages(search: Any, *arguments: Any) -> Iterable[Any]:
    token = None
    while token != "":
        page = search(*arguments, max_results=1000, page_token=token)
        yield from page
        token = page.token or ""


def _newest(points: list[tuple[Any, ...]]) -> pl.DataFrame:
    """A run that was cut back and resumed has some steps twice: those of the largest timestamp are its own."""
    frame = pl.DataFrame(points, schema=POINT, orient="row").with_columns(pl.col("value").fill_nan(None))
    key = ["run_id", "name", "step"]
    return frame.sort(*key, "time", "value").unique(key, keep="last", maintain_order=True).drop("time")


def _wide(runs: list[Any], tags: list[Any], params: list[Any], latest: list[Any]) -> pl.DataFrame:
    """One row per run of this project, sorted; what a run has not is null."""
    frame = pl.DataFrame(runs, schema=RUN, orient="row")
    frame = frame.filter(pl.col("experiment").str.contains(f"^{EXPERIMENT.pattern}$")).sort("run_id")
    values = pl.DataFrame(latest, schema=LATEST, orient="row").with_columns(pl.col("value").fill_nan(None))
    for prefix, pairs in (
        ("tags", pl.DataFrame(tags, schema=PAIR, orient="row")),
        ("params", pl.DataFrame(params, schema=PAIR, orient="row")),
        ("metrics", values),
    ):
        pairs = pairs.filter(pl.col("run_id").is_in(frame["run_id"].implode()))
        if len(pairs):
            wide = pairs.pivot(on="name", index="run_id", values="value", sort_columns=True)
            frame = frame.join(wide.rename({n: f"{prefix}.{n}" for n in wide.columns[1:]}), on="run_id", how="left")
    return frame
