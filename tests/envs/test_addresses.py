"""No password of an address is ever shown or written."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from analysis import store
from envs._addresses import blotted, shown

CASES = [
    ("http://me:secret@host:5000/a@b", "http://me:***@host:5000/a@b"),
    ("http://me:se@cret@host:5000", "http://me:***@host:5000"),
    ("http://host:5000/a@b", "http://host:5000/a@b"),
    ("http://host:5000", "http://host:5000"),
    ("postgresql+psycopg2://me:se/cret@host/runs", "postgresql+psycopg2://me:***@host/runs"),
    ("postgresql://me:s%40cret@host/runs", "postgresql://me:***@host/runs"),
    ("postgresql://host/runs?user=me&password=secret&x=1", "postgresql://host/runs?user=me&password=***&x=1"),
    ("mysql://host/runs?ssl_password=secret", "mysql://host/runs?ssl_password=***"),
    ("sqlite:////a/mlflow.db", "sqlite:////a/mlflow.db"),
    ("http://me:h@host", "http://me:***@host"),
    ("https://mlflow:mlflow@mlflow.example.org/mlflow", "https://mlflow:***@mlflow.example.org/mlflow"),
    ("https://token@host/path", "https://***@host/path"),
    ("postgresql://me@host/runs", "postgresql://me@host/runs"),
    ("nonsense://me:secret@host", "nonsense://me:***@host"),
    ("HTTPS://token@host", "HTTPS://***@host"),
    ("https://me:sec/ret@host", "https://me:***@host"),
    ("https://host:5000/me@there", "https://host:5000/me@there"),
    ("https://host/x?token=abc&Password=xyz&y=1", "https://host/x?token=***&Password=***&y=1"),
]


@pytest.mark.parametrize(("uri", "wanted"), CASES)
@pytest.mark.parametrize("form", [shown, store.shown], ids=["envs", "analysis"])
def test_an_address_is_shown_without_its_password(form: Callable[[str], str], uri: str, wanted: str) -> None:
    """Also by the analysis, which imports nobody."""
    assert form(uri) == wanted


def test_what_a_driver_says_is_shown_without_the_password() -> None:
    uri = "postgresql://me:s%40cret@host/runs"
    assert blotted("no way for me with s@cret or s%40cret", uri) == "no way for me with *** or ***"
