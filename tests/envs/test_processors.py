"""Cores that a container's quota pays for."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from envs import _processors
from envs._processors import cores, quota


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


def mine(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "cgroup"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("limit", "wanted"), [("200000 100000", 2.0), ("50000 100000", 0.5), ("max 100000", math.inf), ("", math.inf)]
)
def test_a_quota_of_the_second_version(tmp_path: Path, limit: str, wanted: float) -> None:
    group(tmp_path / "groups" / "job", cpu__max=limit)
    assert quota(tmp_path / "groups", mine(tmp_path, "0::/job")) == wanted


def test_the_least_of_all_groups_counts(tmp_path: Path) -> None:
    group(tmp_path / "groups", cpu__max="max 100000")
    group(tmp_path / "groups" / "a", cpu__max="300000 100000")
    group(tmp_path / "groups" / "a" / "b", cpu__max="800000 100000")
    assert quota(tmp_path / "groups", mine(tmp_path, "0::/a/b")) == 3.0


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("granted", "wanted"), [("150000", 1.5), ("-1", math.inf)])
def test_a_quota_of_the_first_version(tmp_path: Path, controllers: str, granted: str, wanted: float) -> None:
    group(tmp_path / "groups" / controllers / "job", cpu__cfs_quota_us=granted, cpu__cfs_period_us="100000")
    lines = ("3:memory:/other", f"2:{controllers}:/job", "0::/")
    assert quota(tmp_path / "groups", mine(tmp_path, *lines)) == wanted


def test_a_machine_without_groups_has_no_quota(tmp_path: Path) -> None:
    assert quota(tmp_path, tmp_path / "none") == math.inf
    assert quota(tmp_path, mine(tmp_path, "nonsense", "0::/gone")) == math.inf


@pytest.mark.parametrize(("granted", "wanted"), [(math.inf, None), (1.9, 1), (0.2, 1), (10_000.0, None)])
def test_cores_are_what_may_be_used_and_is_paid_for(
    monkeypatch: pytest.MonkeyPatch, granted: float, wanted: int | None
) -> None:
    monkeypatch.setattr(_processors, "quota", lambda *_: granted)
    assert cores() == (len(os.sched_getaffinity(0)) if wanted is None else wanted)
