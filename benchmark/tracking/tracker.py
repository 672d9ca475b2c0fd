"""Copies run folders into MLflow; the folders stay the truth, so whatever a store loses can be sent again.

The only module of the benchmark that imports mlflow, and only inside functions: a plan or a worker never waits for it.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.runs.superseded import LOCK, MARK, locked, others_of
from benchmark.tracking.spool import OPEN, FolderError, Pushed, Spool, note, sha256, stored

if TYPE_CHECKING:
    from mlflow import MlflowClient

FEW = 50
"""Runs that are asked for by name; for more it is cheaper to ask for all that there are."""
METRICS_PER_BATCH, PARAMS_PER_BATCH = 1000, 100  # MLflow's limits
ARTIFACTS = ("config.json", "provenance.json", "attempts.jsonl", "metrics.jsonl", "done.json", "failed.json", MARK)
ENVIRONMENT = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # a push is repeated anyway; MLflow's own seven retries take minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


class TrackingError(Exception):
    """A run could not be sent; the text is one sentence that says how to mend it."""


def default_uri(root: Path) -> str:
    """Where runs under this root are tracked unless the user says otherwise."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve()}/mlflow.db"


def prepare(uri: str, experiment: str, artifacts: Path) -> None:
    """Create database and experiment where they are missing; done once by a launcher, never by a worker."""
    path = _database(uri)
    with _translated(uri):
        if path is None:
            reach(uri)
            _ensure(_client(uri), experiment, None if uri.startswith("http") else artifacts)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(path.name + ".lock")):
            if not path.exists():
                _create(path)
            _ensure(_client(uri), experiment, artifacts)


class Tracker:
    """Sends run folders to one experiment; sending twice adds nothing."""

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = uri
        self.experiment = experiment

    def push(self, folder: Path) -> None:
        """Send what this run's folder has and MLflow has not."""
        with _translated(self.uri), locked(folder / LOCK) as there:
            if not there:
                return
            spool = Spool(folder)
            pushed = self._open(spool)
            self._log(pushed, spool)
            pushed = replace(pushed, offset=len(spool.metrics), sha256=sha256(spool.metrics))
            pushed = replace(pushed, status=spool.status, attempt=spool.attempt, tags=spool.tags_sha256)
            note(folder, self.uri, pushed)
            if spool.status not in OPEN and not pushed.artifacts:
                for name in ARTIFACTS:
                    if (folder / name).exists():
                        self._client.log_artifact(pushed.run, str(folder / name))
                note(folder, self.uri, replace(pushed, artifacts=True))

    def push_all(self, folders: Iterable[Path]) -> list[str]:
        """Push every folder that has something new; returns what went wrong, one sentence each."""
        folders = list(folders)
        try:
            reach(self.uri)
            known = self._known([run.run for folder in folders if (run := stored(folder).get(self.uri))])
        except TrackingError as error:
            return [str(error)]
        problems: list[str] = []
        for folder in folders:
            if self._problem(folder, known) is None:
                continue
            problem = self._problem(folder, known)  # once more: single requests do fail
            if problem is not None:
                problems.append(problem)
                if not self._reachable():
                    return [*problems, f"The remaining runs were not sent: MLflow at {self.uri} went away."]
        return problems

    def _problem(self, folder: Path, known: dict[str, str]) -> str | None:
        """What went wrong in pushing this folder, unless ``known`` (run id -> status) shows that nothing is new."""
        try:
            spool = Spool(folder)
            pushed = spool.pushed.get(self.uri)
            if pushed is None or known.get(pushed.run) != pushed.status or not spool.settled(pushed):
                self.push(folder)
        except (TrackingError, FolderError) as error:
            return str(error) if folder.exists() else None  # it was set aside meanwhile, and is sent from there
        return None

    def _reachable(self) -> bool:
        try:
            reach(self.uri)
        except TrackingError:
            return False
        return True

    @cached_property
    def _client(self) -> MlflowClient:
        reach(self.uri)
        return _client(self.uri)

    @cached_property
    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            raise TrackingError(f"MLflow at {self.uri} has no experiment {self.experiment}: prepare the store first.")
        return found.experiment_id

    def _known(self, wanted: list[str]) -> dict[str, str]:
        """Run id -> status of these runs, and maybe others, by a few large requests."""
        runs: dict[str, str] = {}
        if not wanted:
            return runs
        named = ", ".join(f"'{run}'" for run in wanted)
        query = f"attributes.run_id IN ({named})" if len(wanted) <= FEW else ""
        with _translated(self.uri):
            token: str | None = None
            while token != "":
                page = self._client.search_runs([self._experiment_id], query, max_results=1000, page_token=token)
                runs |= {run.info.run_id: run.info.status for run in page}
                token = page.token or ""
        return runs

    def _open(self, spool: Spool) -> Pushed:
        """This run in MLflow: the one noted in its folder, else the one with its key, else a new one."""
        pushed = spool.pushed.get(self.uri)
        if pushed is not None and self._exists(pushed.run):
            if pushed.sha256 != sha256(spool.metrics[: pushed.offset]):
                # Cut back by a resume: the offset says nothing now. All is sent again; the newest of two values counts.
                pushed = replace(pushed, offset=0)
            same = (pushed.attempt, pushed.tags) == (spool.attempt, spool.tags_sha256)
            return pushed if same else replace(pushed, artifacts=False)
        if found := self._of_key(spool):
            return Pushed(run=found)
        run = self._client.create_run(self._experiment_id, spool.begun, spool.tags, spool.name)
        return Pushed(run=run.info.run_id, attempt=spool.attempt, tags=spool.tags_sha256)

    def _of_key(self, spool: Spool) -> str | None:
        """The run of this folder's key that is superseded if this one is, and is not noted as that of another folder
        of the key, which may not have been able to say yet that it was set aside."""
        taken = {noted.run for folder in others_of(spool.folder) if (noted := stored(folder).get(self.uri))}
        for run in self._client.search_runs([self._experiment_id], f"tags.`bench.key` = '{spool.key}'"):
            hidden = run.data.tags.get("bench.superseded") == "true"
            if hidden == spool.superseded and run.info.run_id not in taken:
                return run.info.run_id
        return None

    def _exists(self, run: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_run(run).info.lifecycle_stage == "active"
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def _log(self, pushed: Pushed, spool: Spool) -> None:
        from mlflow.entities import Metric, Param, RunTag

        if not pushed.status:  # the first time: the parameters of a run never change
            params = [Param(*param) for param in spool.params.items()]
            for start in range(0, len(params), PARAMS_PER_BATCH):
                self._client.log_batch(pushed.run, params=params[start : start + PARAMS_PER_BATCH])
        if pushed.tags != spool.tags_sha256:
            self._client.log_batch(pushed.run, tags=[RunTag(*tag) for tag in spool.tags.items()])
        metrics = [Metric(*point) for point in spool.points(pushed.offset)]
        for start in range(0, len(metrics), METRICS_PER_BATCH):
            self._client.log_batch(pushed.run, metrics=metrics[start : start + METRICS_PER_BATCH])
        if pushed.status != spool.status:
            if spool.status in OPEN:
                self._client.update_run(pushed.run, status=spool.status)
            else:
                self._client.set_terminated(pushed.run, spool.status, spool.ended)


def _database(uri: str) -> Path | None:
    """The file of an SQLite store; None for a server or another database."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def reach(uri: str) -> None:
    """Fail at once if no store is there: MLflow would create a missing database, and wait long for a missing server."""
    import requests

    path = _database(uri)
    if path is not None and not path.exists():
        raise TrackingError(f"There is no MLflow database at {path}: prepare the store first.")
    if uri.startswith("http"):
        try:
            requests.get(f"{uri.rstrip('/')}/health", timeout=4)
        except requests.RequestException as error:
            raise TrackingError(f"No MLflow server answers at {uri}: start it or set MLFLOW_TRACKING_URI.") from error


def _quiet() -> None:
    """Keep MLflow's own lines off the terminal; it reads the environment when it is first imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    # What fails is said in one sentence by us; MLflow would print its whole traceback first.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def _client(uri: str) -> MlflowClient:
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
    _client(f"sqlite:///{partial}").search_experiments()
    os.replace(partial, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def _ensure(client: MlflowClient, experiment: str, artifacts: Path | None) -> None:
    from mlflow.exceptions import MlflowException

    if client.get_experiment_by_name(experiment) is not None:
        return
    place = None if artifacts is None else (artifacts.resolve() / experiment).as_uri()
    try:
        client.create_experiment(experiment, artifact_location=place)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another launcher was faster
            raise


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    """Whatever MLflow and its drivers raise, as one sentence."""
    _quiet()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except FolderError as error:
        raise TrackingError(str(error)) from error
    except ImportError as error:
        mend = "pip install psycopg2-binary and say postgresql+psycopg2://, or name an mlflow server before it."
        raise TrackingError(f"MLflow can't reach {shown(uri)} ({error}): {mend}") from error
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrackingError(f"MLflow at {shown(uri)} failed: {reason}") from error


def shown(uri: str) -> str:
    """An address without its password."""
    return re.sub(r"(//[^:/@]*):[^@/]*@", r"\1:***@", uri)
