"""No password of an address is ever shown or written."""

from __future__ import annotations

import pytest

from envs._addresses import blotted, shown


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [
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
    ],
)
def test_an_address_is_shown_without_its_password(uri: str, wanted: str) -> None:
    assert shown(uri) == wanted


def test_what_a_driver_says_is_shown_without_the_password() -> None:
    uri = "postgresql://me:s%40cret@host/runs"
    assert blotted("no way for me with s@cret or s%40cret", uri) == "no way for me with *** or ***"
