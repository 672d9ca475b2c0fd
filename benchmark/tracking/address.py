"""Addresses of stores as text: which there are, what people may see of one, and what its notes are kept under."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

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
        named = uri.startswith("sqlite:///") and Path(uri.removeprefix("sqlite:///")).name not in ("", ":memory:")
    if not named:
        raise TrackingError(f"{shown(uri)} is no store of MLflow's: set MLFLOW_TRACKING_URI to {PLACES}.")


def name_of(uri: str, root: Path) -> str:
    """What the notes of runs under a root call a store: its own alike wherever it lies, none with its password."""
    path = database(uri)
    return OWN if path is not None and path.resolve() == (root / OWN).resolve() else shown(uri)


def shown(uri: str) -> str:
    """An address without its password; two that differ in that alone are the same store."""
    for start, end in reversed(_passwords(uri)):
        uri = f"{uri[:start]}***{uri[end:]}"
    return uri


def blotted(text: str, uri: str) -> str:
    """A text in which an address stands without its password, and that nowhere else either, however it is written."""
    text = text.replace(uri, shown(uri))
    for start, end in _passwords(uri):
        for written in {uri[start:end], unquote(uri[start:end])}:
            text = text.replace(written, "***")
    return text


def _passwords(uri: str) -> list[tuple[int, int]]:
    """Where they stand: between the user and the host, where that of a database may hold a slash; or among the
    parameters."""
    end = "/" if uri.startswith(SERVERS) else "?"
    found = re.match(rf"[^/]*//[^:/@]*:([^{end}]+)@", uri)
    return [*([found.span(1)] if found else []), *(m.span(1) for m in re.finditer(r"[?&]\w*password=([^&]+)", uri))]
