"""Copies run folders into MLflow; the folders stay the truth, so whatever a store loses can be sent again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.runs.superseded import LOCK, MARK, locked, others_of
from benchmark.tracking.address import TrackingError
from benchmark.tracking.spool import OPEN, FolderError, Pushed, Spool, note, sha256, stored
from benchmark.tracking.store import client, experiment_of, reach, translated
from envs._addresses import shown

if TYPE_CHECKING:
    from mlflow import MlflowClient

FEW = 50
"""Runs that are asked for by name; for more it is cheaper to ask for all that there are."""
METRICS_PER_BATCH, PARAMS_PER_BATCH = 1000, 100  # MLflow's limits
ARTIFACTS = ("config.json", "provenance.json", "attempts.jsonl", "metrics.jsonl", "done.json", "failed.json", MARK)


class Tracker:
    """Sends run folders to one experiment; sending twice adds nothing."""

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = uri
        self.experiment = experiment

    def push(self, folder: Path) -> None:
        """Send what this run's folder has and MLflow has not."""
        with translated(self.uri), locked(folder / LOCK) as there:
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
            known = self._known([run.run for folder in folders if (run := stored(folder, self.uri))])
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
                    return [*problems, f"The remaining runs were not sent: MLflow at {shown(self.uri)} went away."]
        return problems

    def _problem(self, folder: Path, known: dict[str, str]) -> str | None:
        """What went wrong in pushing this folder, unless ``known`` (run id -> status) shows that nothing is new."""
        try:
            spool = Spool(folder)
            pushed = stored(spool.folder, self.uri)
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
        return client(self.uri)

    @cached_property
    def _experiment_id(self) -> str:
        found = experiment_of(self.uri, self.experiment, self._client)
        if found is None:
            place = shown(self.uri)
            raise TrackingError(f"MLflow at {place} has no experiment {self.experiment}: prepare the store first.")
        return found.experiment_id

    def _known(self, wanted: list[str]) -> dict[str, str]:
        """Run id -> status of these runs, and maybe others, by a few large requests."""
        runs: dict[str, str] = {}
        if not wanted:
            return runs
        named = ", ".join(f"'{run}'" for run in wanted)
        query = f"attributes.run_id IN ({named})" if len(wanted) <= FEW else ""
        with translated(self.uri):
            token: str | None = None
            while token != "":
                page = self._client.search_runs([self._experiment_id], query, max_results=1000, page_token=token)
                runs |= {run.info.run_id: run.info.status for run in page}
                token = page.token or ""
        return runs

    def _open(self, spool: Spool) -> Pushed:
        """This run in MLflow: the one noted in its folder, else the one with its key, else a new one."""
        pushed = stored(spool.folder, self.uri)
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
        taken = {noted.run for folder in others_of(spool.folder) if (noted := stored(folder, self.uri))}
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
