"""Addresses of stores: which there are, and what their notes are kept under."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.tracking.address import TrackingError, check, default_uri, name_of

SECRET = "pa:ss"
RIGHT = [
    "http://127.0.0.1:5000",
    "https://mlflow.example.org/team/",
    "http://me:secret@host:5000",
    "sqlite:////results/mlflow.db",
    "sqlite:///relative/mlflow.db",
    "postgresql://me:secret@host/runs",
    "postgresql+psycopg2://me@host:5432/runs",
    "postgresql:///runs",
    "mysql+pymysql://host/runs",
    "mssql+pyodbc:///?odbc_connect=DRIVER",
    "databricks",
    "databricks://profile",
]
WRONG = [
    *("nonsense://", "nonsense://host", "file:///tmp/mlruns", "./mlruns", "/tmp/mlruns", "mlflow.db", " "),
    *("sqlite://relative.db", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:relative.db"),
    *("sqlite:///~/mlflow.db", "sqlite:////results/mlflow.db?mode=ro"),
    *("http://", "https:///path", "http://[::1", "postgresql://", "htp://host:5000"),
]


@pytest.mark.parametrize("uri", RIGHT)
def test_stores(uri: str) -> None:
    check(uri)


@pytest.mark.parametrize("uri", WRONG)
def test_what_is_no_store_is_told(uri: str) -> None:
    with pytest.raises(TrackingError, match="set MLFLOW_TRACKING_URI to a server") as caught:
        check(uri)
    assert "\n" not in str(caught.value)


def test_a_changed_password_is_the_same_store(tmp_path: Path) -> None:
    old, new = (f"https://me:{word}@host/mlflow" for word in ("mlflow", "new"))
    assert name_of(old, tmp_path) == name_of(new, tmp_path) == "https://me:***@host/mlflow"
    assert name_of(new.replace("host", "other"), tmp_path) != name_of(new, tmp_path)


def test_the_own_store_has_one_name_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    one, other = tmp_path / "one", tmp_path / "other"
    assert name_of(default_uri(one), one) == name_of(default_uri(other), other) == "mlflow.db"
    assert name_of(default_uri(one), other) == default_uri(one)
