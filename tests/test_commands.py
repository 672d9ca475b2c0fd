"""The numbers and words that commands take: each wrong one is a sentence, before anything is done."""

from __future__ import annotations

import importlib
import sys

import pytest

from envs._command_line import carried_out

WRONG: dict[str, tuple[str, tuple[str, ...], str]] = {
    "no rounds": ("benchmark.speed", ("--rounds", "0"), "--rounds is 0; it must be at least 1"),
    "too many rounds": ("benchmark.speed", ("--rounds", "99999999"), "it must be at most 10000"),
    "a seed below nothing": ("envs.ogbench.train_ant", ("--out", "a.npz", "--seed", "-1"), "--seed is -1"),
    "a seed that is another": ("envs.ogbench.train_ant", ("--out", "a.npz", "--seed", "4294967296"), "less than"),
    "no steps": ("envs.ogbench.train_ant", ("--out", "a.npz", "--steps", "0"), "--steps is 0"),
    "runs below nothing": ("envs.ogbench.train_ant", ("--out", "a.npz", "--runs", "-1"), "--runs is -1"),
    "a port that is none": ("slurm.local.__main__", ("status", "--port", "99999999"), "--port is 99999999"),
    "a port of the system's": ("slurm.local.__main__", ("status", "--port", "80"), "it must be at least 1024"),
    "nodes below nothing": ("slurm.local.__main__", ("status", "--nodes", "-3"), "--nodes is -3"),
    "no workers": ("envs.ogbench.generate", ("cube-double", "--jobs", "0"), "--jobs is 0"),
    "data without end": (
        "envs.ogbench.generate",
        ("cube-double", "--transitions", "99999999999999999M"),
        "is no number of transitions",
    ),
    "shards below nothing": ("envs.ogbench.generate", ("cube-double", "--shards", "-1"), "--shards is -1"),
    "shards that there are not": ("envs.ogbench.download", ("puzzle-4x4", "--shards", "9999"), "from 1 to 100"),
    "shards below nothing to download": ("envs.ogbench.download", ("puzzle-4x4", "--shards", "-1"), "--shards is -1"),
    "an option twice": ("benchmark.status", ("--out", "a", "--out=b"), "--out a and --out=b are both given"),
    "an option twice alike": ("benchmark.track", ("--follow", "--follow"), "--follow and --follow are both given"),
    "an empty option": ("benchmark.status", ("--out", ""), "there is an empty word after --out"),
    "an empty option in one word": ("benchmark.methods", ("--suite=",), "--suite is empty"),
    "half a round": ("benchmark.speed", ("--rounds", "1.5"), "--rounds is '1.5'; it must be an integer"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_command_takes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str) -> None:
    module, words, told = WRONG[name]
    command = importlib.import_module(module)
    monkeypatch.setattr(sys, "argv", [module, *words])
    if module.startswith("envs."):
        status = importlib.import_module("envs.ogbench._commands").told(command.Arguments, command.run)
    else:
        status = carried_out(command.run)
    said = capsys.readouterr()
    assert (status, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1
    assert told in said.err
