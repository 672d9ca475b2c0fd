"""Addresses of stores as text: which there are, and what the notes of one are kept under."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from urllib.parse import urlsplit

from envs._addresses import shown

SERVERS, DATABASES = ("http", "https"), ("postgresql", "mysql", "mssql")
PLACES = "a server (http://HOST:PORT), a file (sqlite:////FOLDER/mlflow.db) or a database (postgresql+psycopg2://...)"
OWN = "mlflow.db"
"""The store that lies beside the runs themselves, wherever they are moved to."""


class TrackingError(Exception):
    """A run could not be sent; the text is one sentence that says how to mend it."""


def default_uri(root: Path) -> str:
    """Where runs under this root are tracked unless the user says otherwise."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve()}/{OWN}"


def database(uri: str) -> Path | None:
    """The file of an SQLite store; None for a server or another database."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def check(uri: str) -> None:
    """Raise TrackingError for what is no address of a store that MLflow keeps runs in."""
    kind, _, place = uri.partition("://")
    kind = kind.partition("+")[0]
    named = kind == "databricks" or (kind in DATABASES and bool(place))  # a database may be there without a host
    if kind in SERVERS:
        with contextlib.suppress(ValueError):  # half a bracket
            named = bool(urlsplit(uri).hostname)
    if kind == "sqlite":
        file = uri.removeprefix("sqlite:///")  # nobody fills in a home, and a parameter would be part of the name
        named = file != uri and Path(file).name not in ("", ":memory:") and file[0] != "~" and "?" not in file
    if not named:
        raise TrackingError(f"{shown(uri)} is no store of MLflow's: set MLFLOW_TRACKING_URI to {PLACES}.")


def name_of(uri: str, root: Path) -> str:
    """What the notes of runs under a root call a store: its own alike wherever it lies, none with its password."""
    path = database(uri)
    return OWN if path is not None and path.resolve() == (root / OWN).resolve() else shown(uri)
