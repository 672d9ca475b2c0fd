"""Records that somebody or something damaged: every command says which, and how to mend it, and loses nothing else."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark import status, track
from benchmark.execution import failures
from benchmark.execution.work import RERUN, Portion, look
from benchmark.planning.plan import Plan
from benchmark.planning.portion import DEPTH
from benchmark.runs import plan_file
from benchmark.runs.lease import holder
from envs._command_line import carried_out, what_is_wrong
from envs._documents import DocumentError
from tests.benchmark import pretend
from tests.benchmark.tracking.test_tracker import empty

__all__ = ["empty"]  # a fixture

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),  # MLflow never closes its connections
]
NONSENSE = ["", "{", "[]", "3", "null", '"text"', "[[[", "\x00", '{"a": NaN}']
START = {"attempt": 1, "start": 1000, "host": "n", "versions": {}}
LINES: dict[str, Any] = {
    "a start in words": START | {"start": "at noon"},
    "a start that is none": START | {"start": None},
    "an end in words": {"attempt": 1, "end": "later", "how": "done"},
    "a share in words": START | {"device_share": "half"},
    "an attempt in words": START | {"attempt": "first"},
    "an attempt below nothing": START | {"attempt": -1},
    "a step in words": {"attempt": 1, "reached": "far"},
    "how as a number": {"attempt": 1, "end": 2000, "how": 3},
    "code as a list": START | {"method_fingerprint": ["a"]},
    "versions as a word": START | {"versions": "many"},
}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    made = pretend.plan("flow", "0-1")
    plan_file.save(tmp_path, made)
    return made


@pytest.fixture
def folders(tmp_path: Path, plan: Plan, empty: Path) -> list[Path]:
    """One that failed, one that is done, both by today's code; and a store for them."""
    shutil.copy(empty / "mlflow.db", tmp_path / "mlflow.db")
    hows = ("failed", "done")
    return [pretend.run(tmp_path, cell, pretend.today("flow"), how) for cell, how in zip(plan.cells, hows, strict=True)]


@pytest.mark.parametrize("name", LINES)
def test_attempts_with_words_for_numbers(
    tmp_path: Path, plan: Plan, folders: list[Path], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = folders[0] / "attempts.jsonl"
    with path.open("a") as file:
        file.write(json.dumps(LINES[name]) + "\n")
    with pytest.raises(DocumentError, match=f"{path}, line 3") as caught:
        look(tmp_path, plan, Portion(DEPTH), RERUN)
    assert f"mend that line, or delete {folders[0]}" in str(caught.value)
    assert status.run(["--out", str(tmp_path)]) == 1
    assert f"{path}, line 3" in capsys.readouterr().out
    assert status.run(["--out", str(tmp_path), "--failed"]) == 1
    assert "Diverged: 1 cell" in capsys.readouterr().out
    assert track.run(["--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert f"{folders[0]} is not a readable run folder" in said
    assert str(folders[1]) not in said


@pytest.mark.parametrize("content", NONSENSE)
def test_failures_that_can_not_be_read(tmp_path: Path, plan: Plan, folders: list[Path], content: str) -> None:
    (folders[0] / "failed.json").write_text(content)
    lines = failures.report(tmp_path, plan.packs, {plan.cells[0].key: "failed", plan.cells[1].key: "done"})
    assert lines[0] == "Unreadable: 1 cell"
    assert "failed.json can't be read" in lines[1]


@pytest.mark.parametrize("name", ["config.json", "provenance.json", "done.json", "metrics.jsonl"])
@pytest.mark.parametrize("content", NONSENSE)
def test_records_that_can_not_be_sent(
    tmp_path: Path, folders: list[Path], capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    (folders[1] / name).write_text(content + "\n")
    assert track.run(["--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert str(folders[1]) in said
    assert "delete" in said
    assert str(folders[0]) not in said


def test_a_run_of_a_suite_that_there_is_not(
    tmp_path: Path, folders: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((folders[0] / "config.json").read_text())
    (folders[0] / "config.json").write_text(json.dumps(config | {"suite": "tyo"}))
    assert track.run(["--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "there is no suite 'tyo'" in said
    assert str(folders[1]) not in said


@pytest.mark.parametrize("content", [*NONSENSE, '{"offset": -1}', '{"offset": "all"}'])
def test_what_was_saved_that_can_not_be_read(
    tmp_path: Path, folders: list[Path], capsys: pytest.CaptureFixture[str], content: str
) -> None:
    """Also where the run was sent before, and is looked at again."""
    assert track.run(["--out", str(tmp_path)]) == 0
    (folders[0] / "saved.json").write_text(content)
    assert track.run(["--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert f"{folders[0]} is not a readable run folder" in said
    assert str(folders[1]) not in said


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.ENOSPC, "make room there"),
        (errno.EDQUOT, "make room there"),
        (errno.EACCES, "allow it, or name another folder"),
        (errno.EROFS, "allow it, or name another folder"),
        (errno.ENOTDIR, "something else lies where this should"),
        (errno.ELOOP, "something else lies where this should"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EIO, "mend that disk"),
        (errno.EPROTO, "mend that"),
    ],
)
def test_a_fault_of_the_system_says_what_would_mend_it(number: int, word: str) -> None:
    said = what_is_wrong(OSError(number, os.strerror(number), "/results/x"))
    assert said.startswith(f"/results/x: {os.strerror(number)}; ")
    assert word in said


def test_results_that_are_laid_out_in_another_way(
    tmp_path: Path, plan: Plan, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").write_text("")
    monkeypatch.setattr(sys, "argv", ["status", "--out", str(tmp_path)])
    assert carried_out(status.run) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path}/runs/" in said
    assert "something else lies where this should" in said


@pytest.mark.parametrize("content", NONSENSE)
def test_a_lease_that_can_not_be_read_is_nobodys(folders: list[Path], content: str) -> None:
    (folders[0] / "lease.json").write_text(content)
    assert holder(folders[0] / "lease.json") is None
    (folders[0] / "lease.json").write_text(json.dumps({"host": 3, "machine": [], "pid": "x", "restart": "y"}))
    assert holder(folders[0] / "lease.json") is None


def without(name: str, pack: dict[str, Any]) -> dict[str, Any]:
    return pack | {"configuration": {key: value for key, value in pack["configuration"].items() if key != name}}


def setting(key: str, value: Any, pack: dict[str, Any]) -> dict[str, Any]:
    configuration = pack["configuration"]
    return pack | {"configuration": configuration | {"settings": configuration["settings"] | {key: value}}}


PACKS = {
    "no settings": lambda pack: without("settings", pack),
    "no method": lambda pack: without("method", pack),
    "no task": lambda pack: without("task", pack),
    "a setting in words": lambda pack: setting("offline_steps", "many", pack),
    "a setting below nothing": lambda pack: setting("offline_steps", -1, pack),
    "a task of another version": lambda pack: pack | {"configuration": pack["configuration"] | {"task": "bandit-v9"}},
    "a suite of another version": lambda pack: pack | {"configuration": pack["configuration"] | {"suite": "tyo"}},
    "a preset of another version": lambda pack: pack | {"configuration": pack["configuration"] | {"preset": "x"}},
    "no seeds": lambda pack: pack | {"seeds": []},
    "seeds in words": lambda pack: pack | {"seeds": ["one"]},
    "a seed below nothing": lambda pack: pack | {"seeds": [-1]},
    "a seed that is another": lambda pack: pack | {"seeds": [2**32]},
    "another protocol": lambda pack: pack | {"configuration": pack["configuration"] | {"protocol": 0}},
    "words that are none": lambda pack: pack | {"words": 3},
    "settings that are none": lambda pack: pack | {"configuration": pack["configuration"] | {"settings": {}}},
    "no pack": lambda pack: 3,
}


@pytest.mark.parametrize("name", PACKS)
def test_a_plan_of_another_kind(tmp_path: Path, plan: Plan, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """It is told, and the other plan is looked at all the same."""
    path = plan_file.path_of(tmp_path, plan.name)
    stored = json.loads(path.read_text())
    (tmp_path / "plans" / "other.json").write_text(json.dumps(stored | {"packs": [PACKS[name](stored["packs"][0])]}))
    assert status.run(["--out", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "plans/other.json" in said.replace("\n", "")
    assert "delete it, or give its launch command again" in said
    assert "2 cells: planned 2" in said


def test_a_plan_whose_link_leads_nowhere(tmp_path: Path, plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("round", "away"):
        (tmp_path / "plans" / f"{name}.json").symlink_to(f"{name}.json" if name == "round" else "nowhere")
    assert status.run(["--out", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "plans/round.json" in said.replace("\n", "")
    assert "plans/away.json" in said.replace("\n", "")
    assert "2 cells: planned 2" in said


def test_attempts_that_are_a_folder(
    tmp_path: Path, plan: Plan, folders: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[0] / "attempts.jsonl").unlink()
    (folders[0] / "attempts.jsonl").mkdir()
    assert status.run(["--out", str(tmp_path)]) == 1
    said = capsys.readouterr().out.replace("\n", "")
    assert f"attempts.jsonl is a folder; delete {folders[0]}" in said


def test_metrics_that_are_not_those_that_the_run_ended_with(
    tmp_path: Path, folders: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = (folders[1] / "metrics.jsonl").read_bytes()
    done = {"final": {}, "metrics_sha256": hashlib.sha256(metrics).hexdigest()}
    (folders[1] / "done.json").write_text(json.dumps(done))
    (folders[1] / "metrics.jsonl").write_bytes(metrics.replace(b"0.5", b"0.9"))
    assert track.run(["--out", str(tmp_path)]) == 1
    assert "metrics.jsonl is not what it was when the run ended" in capsys.readouterr().err
    (folders[1] / "metrics.jsonl").write_bytes(metrics)
    assert track.run(["--out", str(tmp_path)]) == 0


@pytest.mark.parametrize("content", [*NONSENSE, '{"suite": "toy"}', '{"suite": "tyo", "packs": []}'])
def test_a_plan_that_is_none(tmp_path: Path, plan: Plan, capsys: pytest.CaptureFixture[str], content: str) -> None:
    (tmp_path / "plans" / "other.json").write_text(content)
    assert status.run(["--out", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "plans/other.json" in said.replace("\n", "")
    assert "2 cells: planned 2" in said
