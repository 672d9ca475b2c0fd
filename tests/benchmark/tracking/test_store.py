"""Stores that are damaged, foreign, deleted from, moved or copied: told at once, or set right."""

from __future__ import annotations

import builtins
import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from analysis.store import read_runs
from benchmark.tracking import spool, store
from benchmark.tracking.address import TrackingError, default_uri
from benchmark.tracking.store import prepare
from benchmark.tracking.tracker import Tracker
from tests.benchmark.tracking.test_tracker import (
    EXPERIMENT,
    Run,
    empty,
    finished,
    root,
    server,
    tracker,
)

__all__ = ["empty", "root", "server", "tracker"]  # fixtures

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),  # MLflow never closes its connections
]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])


def scribbled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8192:40_000] = b"x" * (40_000 - 8192)
    path.write_bytes(content)


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table guests (name)")


def settled(path: Path) -> None:
    """All of it in one file, as after everybody has left."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
        connection.execute("pragma journal_mode=delete")


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is no database"),
    "a text": (lambda path: path.write_text("runs\n" * 999), "is no database"),
    "cut short": (cut, "is a damaged database"),
    "scribbled over": (scribbled, "is a damaged database"),
    "of something else": (foreign, "is a database of something else"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_database_that_is_none_is_told_at_once(root: Path, name: str) -> None:
    path, (damage, word) = root / "mlflow.db", DAMAGED[name]
    settled(path)
    damage(path)
    before, began = path.read_bytes(), time.monotonic()
    with pytest.raises(TrackingError, match=word) as caught:
        prepare(default_uri(root), EXPERIMENT, root / "artifacts")
    assert "move it away, and what it held is sent anew" in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert time.monotonic() - began < 30  # MLflow itself tries for minutes


def test_a_folder_in_the_place_of_a_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").mkdir()
    with pytest.raises(TrackingError, match="is a folder where a database should be: move it away"):
        prepare(default_uri(tmp_path), EXPERIMENT, tmp_path / "artifacts")


def test_what_was_moved_away_is_sent_anew(root: Path) -> None:
    finished(root)
    (root / "mlflow.db").unlink()
    prepare(default_uri(root), EXPERIMENT, root / "artifacts")
    assert Tracker(default_uri(root), EXPERIMENT).push_all([root / "runs" / "ab" / "ab12cd34ef567890"]) == []
    assert len(read_runs(str(root))) == 1


def test_an_experiment_that_was_deleted_says_how_to_bring_it_back(root: Path, tracker: Tracker) -> None:
    run = finished(root)
    found = tracker._client.get_experiment_by_name(EXPERIMENT)
    assert found is not None
    tracker._client.delete_experiment(found.experiment_id)
    command = f"mlflow experiments restore --experiment-id {found.experiment_id}"
    with pytest.raises(TrackingError, match="was deleted in MLflow") as caught:
        prepare(default_uri(root), EXPERIMENT, root / "artifacts")
    assert f"MLFLOW_TRACKING_URI={default_uri(root)} {command}" in str(caught.value)
    (problem,) = Tracker(default_uri(root), EXPERIMENT).push_all([run.folder])
    assert command in problem
    tracker._client.restore_experiment(found.experiment_id)
    prepare(default_uri(root), EXPERIMENT, root / "artifacts")
    assert Tracker(default_uri(root), EXPERIMENT).push_all([run.folder]) == []


@pytest.mark.parametrize(
    ("missing", "uri", "mend"),
    [
        ("psycopg2", "postgresql+psycopg2://me:secret@127.0.0.1/runs", "pip install psycopg2-binary"),
        ("pymysql", "mysql+pymysql://me:secret@127.0.0.1/runs", "pip install pymysql"),
        ("mlflow.exceptions", "sqlite:////nowhere/mlflow.db", "install this project's packages again"),
    ],
)
def test_what_can_not_be_imported_is_told_for_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, uri: str, mend: str
) -> None:
    original = builtins.__import__

    def without(name: str, *more: Any, **named: Any) -> Any:
        if name == missing or name.startswith(f"{missing}."):
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return original(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(TrackingError) as caught:
        prepare(uri, EXPERIMENT, tmp_path)
    assert mend in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_database_that_nobody_can_speak_with_is_told_at_once(tmp_path: Path) -> None:
    """MLflow would try ten times, with longer and longer pauses."""
    began = time.monotonic()
    with pytest.raises(TrackingError) as caught:
        store.reach("mysql+nosuchdriver://me:secret@127.0.0.1:9/runs")
    assert "secret" not in str(caught.value)
    assert time.monotonic() - began < 30


# --- moved and copied


def artifacts_of(root: Path) -> list[str]:
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        places = connection.execute("select artifact_location from experiments where name = ?", (EXPERIMENT,))
        return [place for (place,) in places] + [
            place for (place,) in connection.execute("select artifact_uri from runs order by artifact_uri")
        ]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("carry", [shutil.move, shutil.copytree], ids=["moved", "copied"])
def test_artifacts_lie_beside_the_store_that_is_used(root: Path, tracker: Tracker, carry: Callable[..., Any]) -> None:
    first = finished(root, "ab1", seed=1)
    assert tracker.push_all([first.folder]) == []
    there = root.with_name("elsewhere")
    carry(root, there)
    before = files(root) if root.exists() else None
    second = finished(there, "ab2", seed=2)
    uri = default_uri(there)
    prepare(uri, EXPERIMENT, there / "artifacts")
    assert Tracker(uri, EXPERIMENT).push_all([there / "runs" / "ab" / "ab1", second.folder]) == []
    home = (there / "artifacts" / EXPERIMENT).as_uri()
    assert [place.startswith(home) for place in artifacts_of(there)] == [True] * 3
    assert len(list((there / "artifacts").rglob("done.json"))) == 2
    assert (files(root) if root.exists() else None) == before


def test_what_moved_with_its_store_is_not_sent_again(root: Path, tracker: Tracker) -> None:
    assert tracker.push_all([finished(root, "ab1", seed=1).folder]) == []
    there = root.with_name("elsewhere")
    shutil.move(root, there)
    prepare(default_uri(there), EXPERIMENT, there / "artifacts")
    again = Tracker(default_uri(there), EXPERIMENT)
    sent: list[Path] = []
    again.push = sent.append  # type: ignore[method-assign]
    assert again.push_all([there / "runs" / "ab" / "ab1"]) == []
    assert sent == []


def test_a_place_that_somebody_chose_stays(root: Path) -> None:
    with closing(sqlite3.connect(root / "mlflow.db")) as connection, connection:
        connection.execute(
            "update experiments set artifact_location = 's3://bucket/mine' where name = ?", (EXPERIMENT,)
        )
    prepare(default_uri(root), EXPERIMENT, root / "artifacts")
    assert artifacts_of(root) == ["s3://bucket/mine"]


def test_a_store_elsewhere_has_its_artifacts_there(empty: Path, tmp_path: Path) -> None:
    shutil.copy(empty / "mlflow.db", tmp_path / "mlflow.db")
    prepare(f"sqlite:///{tmp_path}/mlflow.db", EXPERIMENT, tmp_path / "of" / "the" / "runs")
    assert artifacts_of(tmp_path) == [(tmp_path / "artifacts" / EXPERIMENT).as_uri()]


# --- passwords


@pytest.mark.slow
def test_no_password_is_written_or_asked_for_again(root: Path, server: str) -> None:
    """The server takes any; what is noted beside a run names the store without it, and a new one finds it again."""
    run = finished(root)
    old, new = (server.replace("//", f"//me:{word}@") for word in ("old-secret", "new-secret"))
    prepare(old, EXPERIMENT, root / "unused")
    assert Tracker(old, EXPERIMENT).push_all([run.folder]) == []
    note = run.folder / "mlflow.json"
    assert "secret" not in note.read_text()
    noted = note.read_text()
    assert Tracker(new, EXPERIMENT).push_all([run.folder]) == []
    assert note.read_text() == noted
    assert len(read_runs(str(root))) == 1


def test_a_note_with_a_password_is_rewritten(root: Path) -> None:
    run = Run(root)
    pushed = {"run": "1", "offset": 3, "sha256": "", "status": "FINISHED", "attempt": 1, "tags": "", "artifacts": True}
    (run.folder / "mlflow.json").write_text(json.dumps({"http://me:secret@host": pushed}))
    found = spool.stored(run.folder, "http://me:another@host")
    assert found is not None
    assert found.offset == 3
    assert "secret" not in (run.folder / "mlflow.json").read_text()


@pytest.mark.parametrize("content", ["[]", "{", "3", '{"http://host": []}', '{"http://host": {"run": 3}}'])
def test_a_note_that_can_not_be_read_is_none(root: Path, tracker: Tracker, content: str) -> None:
    """The run is also found by its key."""
    run = finished(root)
    assert tracker.push_all([run.folder]) == []
    (run.folder / "mlflow.json").write_text(content)
    assert tracker.push_all([run.folder]) == []
    assert len(read_runs(str(root))) == 1
