"""The store that runs are sent to: its address, whether it answers, and what it needs before the first run.

With `tracker` the only module of the benchmark that imports mlflow, and only inside functions: a plan or a worker never
waits for it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from benchmark.runs.superseded import locked
from benchmark.tracking.address import TrackingError, check, database
from benchmark.tracking.spool import FolderError
from envs._addresses import blotted, shown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

ENVIRONMENT = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # a push is repeated anyway; MLflow's own seven retries take minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
DRIVERS = {
    "psycopg2": "psycopg2-binary",
    "psycopg": "'psycopg[binary]'",
    "MySQLdb": "mysqlclient",
    "pymysql": "pymysql",
    "pyodbc": "pyodbc",
    "pymssql": "pymssql",
}
"""Modules that speak with a database -> the packages that bring them."""
CHECKED_BYTES = 256 * 2**20
"""Of a database file that is read as a whole before it is used: a larger one would take seconds."""


def prepare(uri: str, experiment: str, artifacts: Path) -> None:
    """Create database and experiment where they are missing; done once by a launcher, never by a worker.

    Artifacts of an SQLite store lie beside it, a server's where it keeps them, another database's in ``artifacts``.
    """
    check(uri)
    path = database(uri)
    with translated(uri):
        if path is None:
            reach(uri)
            _ensure(uri, experiment, None if uri.startswith("http") else artifacts)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(path.name + ".lock")):
            if not path.exists():
                _create(path)
            _check_file(path)
            _ensure(uri, experiment, path.parent / "artifacts")
            _settle(path, experiment)


def reach(uri: str) -> None:
    """Fail at once if no store is there: MLflow would create a missing database, and wait for minutes for a server."""
    check(uri)
    path = database(uri)
    if path is not None:
        if not path.exists():
            raise TrackingError(f"There is no MLflow database at {path}: prepare the store first.")
        _check_header(path)
    elif uri.startswith("http"):
        _ask_server(uri)
    elif not uri.startswith("databricks"):
        with translated(uri):
            from sqlalchemy import create_engine

            engine = create_engine(uri)
            try:
                engine.connect().close()
            finally:
                engine.dispose()


def _ask_server(uri: str) -> None:
    import requests

    try:
        said = requests.get(f"{uri.rstrip('/')}/health", timeout=4)
    except (requests.RequestException, ValueError) as error:
        raise TrackingError(
            f"No MLflow server answers at {shown(uri)}: start it or set MLFLOW_TRACKING_URI."
        ) from error
    if said.status_code == requests.codes.not_found:
        raise TrackingError(f"What answers at {shown(uri)} is no MLflow server: set MLFLOW_TRACKING_URI to one.")


def _check_header(path: Path) -> None:
    if path.is_dir():
        raise TrackingError(f"{path} is a folder where a database should be: move it away.")
    with path.open("rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            raise TrackingError(f"{path} is no database: move it away, and what it held is sent anew from the runs.")


def _check_file(path: Path) -> None:
    """Raise TrackingError for a file that is damaged or somebody else's, which MLflow would try for minutes."""
    _check_header(path)
    mend = "move it away, and what it held is sent anew from the runs"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=20)) as connection:
            tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
            whole = path.stat().st_size > CHECKED_BYTES or connection.execute("pragma quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise TrackingError(f"{path} is a damaged database ({error}): {mend}.") from error
    if whole not in (True, "ok"):
        raise TrackingError(f"{path} is a damaged database ({' '.join(str(whole).split())[:100]}): {mend}.")
    if not {"experiments", "runs", "alembic_version"} <= tables:
        raise TrackingError(f"{path} is a database of something else than MLflow: {mend}.")


def _quiet() -> None:
    """Keep MLflow's own lines off the terminal; it reads the environment when it is first imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    # What fails is said in one sentence by us; MLflow would print its whole traceback first.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def client(uri: str) -> MlflowClient:
    from mlflow import MlflowClient
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    if not event.contains(Engine, "connect", _relax):
        event.listen(Engine, "connect", _relax)
    return MlflowClient(tracking_uri=uri)


def _relax(connection: object, _: object) -> None:
    """WAL stays with the file, this belongs to each connection; together they make writing several times faster."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=NORMAL")


def _create(path: Path) -> None:
    """Build the database aside and move it in: one that Ctrl-C left half-built would fail everybody for ever."""
    partial = path.with_name(path.name + ".partial")
    for leftover in path.parent.glob(f"{partial.name}*"):
        leftover.unlink()
    client(f"sqlite:///{partial}").search_experiments()
    os.replace(partial, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def experiment_of(uri: str, name: str, at: MlflowClient) -> Experiment | None:
    """An experiment by its name, if there is one. Raises TrackingError if somebody deleted it in MLflow."""
    found = at.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage != "active":
        command = f"MLFLOW_TRACKING_URI={shown(uri)} mlflow experiments restore --experiment-id {found.experiment_id}"
        raise TrackingError(f"The experiment {name} was deleted in MLflow; bring it back with {command}")
    return found


def _ensure(uri: str, experiment: str, artifacts: Path | None) -> None:
    from mlflow.exceptions import MlflowException

    at = client(uri)
    if experiment_of(uri, experiment, at) is not None:
        return
    place = None if artifacts is None else (artifacts.resolve() / experiment).as_uri()
    try:
        at.create_experiment(experiment, artifact_location=place)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another launcher was faster
            raise


def _settle(path: Path, experiment: str) -> None:
    """Let artifacts lie beside this database, where it was moved or copied since MLflow noted their places in full."""
    home = (path.resolve().parent / "artifacts" / experiment).as_uri()
    with closing(sqlite3.connect(path, timeout=20)) as connection, connection:
        found = "select experiment_id, artifact_location from experiments where name = ?"
        number, place = connection.execute(found, (experiment,)).fetchone()
        if place == home or not (place.startswith("file:") and place.endswith(f"/artifacts/{experiment}")):
            return
        connection.execute("update experiments set artifact_location = ? where experiment_id = ?", (home, number))
        connection.execute(
            "update runs set artifact_uri = ? || substr(artifact_uri, ?) "
            "where experiment_id = ? and substr(artifact_uri, 1, ?) = ?",
            (home, len(place) + 1, number, len(place) + 1, f"{place}/"),
        )


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Whatever MLflow and its drivers raise, as one sentence."""
    _quiet()
    try:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise TrackingError(f"MLflow can't be imported ({error}): install this project's packages again.") from error
    try:
        yield
    except FolderError as error:
        raise TrackingError(str(error)) from error
    except ImportError as error:
        package = DRIVERS.get(error.name or "")
        mend = f"pip install {package}, or name an mlflow server before it" if package else "install its packages again"
        raise TrackingError(f"MLflow can't reach {shown(uri)} ({error}): {mend}.") from error
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrackingError(f"MLflow at {shown(uri)} failed: {blotted(reason, uri)}") from error
