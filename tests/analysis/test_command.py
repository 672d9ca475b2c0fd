"""The command as one types it: its files, its options, and its one sentence where something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.command_line import unknown
from analysis.leaderboard import Arguments, command, main, sorted_by
from analysis.tables import tables
from tests.analysis.stores import cost, frame, many, run, write

ROOT = Path(__file__).parents[2]
FILES = ("leaderboard.md", "leaderboard.csv")


def typed(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "analysis.leaderboard", *arguments]
    known = os.environ | environment
    return subprocess.run(line, cwd=ROOT, env=known, capture_output=True, text=True, check=False)


def test_the_same_store_gives_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the order of its runs and the width of the terminal."""
    runs = many()
    write(runs, tmp_path / "mlflow.db")
    write(runs[::-1], tmp_path / "other" / "mlflow.db")
    first = typed("--store", str(tmp_path), COLUMNS="80")
    assert (first.returncode, first.stderr) == (0, "")
    assert "\x1b" not in first.stdout
    files = [(tmp_path / name).read_bytes() for name in FILES]
    out = ("--out", str(tmp_path / "out"))
    again = typed("--store", f"sqlite:///{tmp_path}/other/mlflow.db", *out, COLUMNS="200")
    assert [(tmp_path / "out" / name).read_bytes() for name in FILES] == files
    assert len(again.stdout.splitlines()) < len(first.stdout.splitlines())


def test_several_stores_give_the_bytes_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named after one option or after one each; the first that is a directory gets the files."""
    runs = many()
    for name, part in (("all", runs), ("a", runs[:40]), ("b", runs[30:])):
        write(part, tmp_path / name / "mlflow.db")
    a, b = str(tmp_path / "a"), f"sqlite:///{tmp_path}/b/mlflow.db"
    assert command(["--store", str(tmp_path / "all")]) == 0
    expected = [(tmp_path / "all" / name).read_bytes() for name in FILES]
    for words in (["--store", a, b], ["--store", b, "--store", a], ["--store", b, a, a]):
        assert command(words) == 0
        assert [(tmp_path / "a" / name).read_bytes() for name in FILES] == expected
        for name in FILES:
            (tmp_path / "a" / name).unlink()
    monkeypatch.chdir(tmp_path)
    assert command(["--store", b]) == 0
    assert all((tmp_path / name).exists() for name in FILES)


def test_a_store_that_cannot_be_read_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = Arguments(((str(tmp_path),),))
    assert main(arguments) == 1
    write([], tmp_path / "mlflow.db")
    assert main(arguments) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 2
    assert f"There are no runs in {tmp_path} that count yet" in output.err


def test_what_stores_share_of_other_code_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, code in (("a", "1" * 16), ("b", "2" * 16)):
        write([run(0.5, key="k", method_fingerprint=code)], tmp_path / name / "mlflow.db")
    assert command(["--store", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    output = capsys.readouterr()
    assert (output.out, len(output.err.splitlines())) == ("", 1)
    assert not (tmp_path / "a" / "leaderboard.md").exists()


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["--stroe", "x"], 2, "error: Unrecognized options: --stroe, x, perhaps --store; see --help"),
        (["--store"], 2, "error: --store needs the address or the folder of a store"),
        (["--store", "STORE", "--methods"], 2, "error: --methods names nothing; leave it out for all"),
        (["--store", "STORE", "--methods="], 2, "error: --methods names nothing; leave it out for all"),
        (["--store", "STORE", "--methods", ""], 2, "error: --methods names nothing; leave it out for all"),
        (["--store", ""], 2, "error: --store needs the address or the folder of a store"),
        (["--out"], 2, "error: Missing value for argument '--out'. Expected 1 values; see --help"),
        (
            ["--store", "STORE", "--sort", "dor"],
            2,
            "error: --sort dor is unknown, the nearest is door: choose among mean, name, success, door, maze, "
            "wall_time, device_time, presses",
        ),
        (
            ["--store", "STORE", "--methods", "wlak"],
            1,
            "There is no run of method wlak in STORE: there is method walk.",
        ),
    ],
)
def test_a_wrong_command_line_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, expected: str
) -> None:
    domains = ("door", "maze")
    runs = [run(0.5, domain=name, task=name, final={"presses": 1.0}) | cost(1.0, 1.0) for name in domains]
    write(runs, tmp_path / "mlflow.db")
    assert command([word.replace("STORE", str(tmp_path)) for word in words]) == status
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == f"{expected.replace('STORE', str(tmp_path))}\n"
    assert not (tmp_path / "leaderboard.md").exists()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_parser_draws_no_box(encoding: str) -> None:
    found = typed("--stroe", "x", "--methdos", "y", PYTHONIOENCODING=encoding, COLUMNS="40")
    expected = "error: Unrecognized options: --stroe, x, --methdos, y, perhaps --methods or --store; see --help\n"
    assert (found.returncode, found.stdout, found.stderr) == (2, "", expected)


def test_a_nearest_choice_is_named_however_far() -> None:
    expected = "--sort zz is unknown, the nearest is mean: choose among mean, name"
    assert str(unknown("--sort", "zz", ["mean", "name"])) in (expected, expected.replace("is mean", "is name"))


def test_help_is_printed() -> None:
    found = typed("--help")
    assert (found.returncode, found.stderr) == (0, "")
    for option in ("--store", "--out", "--suite", "--preset", "--methods", "--sort"):
        assert option in found.stdout


def test_a_part_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [run(0.5, method=method, suite=suite) for method in ("walk", "run", "hop") for suite in ("toy", "big")]
    write(runs, tmp_path / "mlflow.db")
    store = ["--store", str(tmp_path)]
    assert command([*store, "--suite", "toy", "--preset", "quick", "--methods", "walk, run"]) == 0
    text = (tmp_path / "leaderboard.md").read_text()
    assert text.startswith("# Leaderboard\n\nOnly suite toy; preset quick; methods walk, run.\n\n## toy, ")
    assert text.count("\n## ") == 1
    assert [line.split(" | ")[0] for line in text.splitlines() if line[:2] == "| "][2:] == ["| run", "| walk"]
    said = " ".join(capsys.readouterr().out.split())
    assert "leaderboard.csv (only suite toy; preset quick; methods walk, run) to" in said
    assert command(store) == 0
    assert "Only" not in (tmp_path / "leaderboard.md").read_text()
    assert "(only" not in capsys.readouterr().out


# Method, success on door and maze, presses, hours; walk-10 has no run on the maze and tells no cost.
SORTED = [
    *[("walk-9", 0.1, 0.9, 3.0, 2.0), ("hop", 0.4, 0.2, 1.0, 0.5), ("run", 0.3, 0.8, 2.0, 10.0)],
    ("walk-10", 1.0, None, 9.0, None),
]
WORDS = {
    "mean": "rows by mean online success, best first; a row that lacks a run of some task behind the others",
    "name": "rows by name",
    "door": "rows by online success on door, best first",
    "maze": "rows by online success on maze, best first; a row that lacks a run of some task behind the others",
    "device_time": "rows by device_time, least first; a row that tells none behind the others",
    "presses": "rows by presses, largest first; a row that lacks a run of some task behind the others",
}


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("mean", ["run", "walk-9", "hop", "walk-10"]),
        ("name", ["hop", "run", "walk-9", "walk-10"]),
        ("door", ["walk-10", "hop", "run", "walk-9"]),
        ("maze", ["walk-9", "run", "hop", "walk-10"]),
        ("device_time", ["hop", "walk-9", "run", "walk-10"]),
        ("presses", ["walk-9", "run", "hop", "walk-10"]),
    ],
)
def test_the_order_of_the_rows(tmp_path: Path, order: str, expected: list[str]) -> None:
    runs = []
    for method, door, maze, presses, hours in SORTED:
        for domain, online in (("door", door), ("maze", maze)):
            tags = {"method": method, "domain": domain, "task": domain, "final": {"presses": presses}}
            spent = {} if hours is None else cost(hours, hours)
            runs += [] if online is None else [run(0.0, online, **tags) | spent]
    write(runs, tmp_path / "mlflow.db")
    assert command(["--store", str(tmp_path), "--sort", order]) == 0
    text = (tmp_path / "leaderboard.md").read_text()
    rows = [line.split(" | ")[0].strip("| ") for line in text.splitlines() if line[:2] == "| "]
    assert rows == ["method", "---", *expected, "mean of final", "---", *expected, "mean of a run", "---", *expected]
    assert f"; {WORDS[order]}\n" in text
    lines = (tmp_path / "leaderboard.csv").read_text().splitlines()[1:]
    assert list(dict.fromkeys(line.split(",")[7] for line in lines)) == expected


@pytest.mark.parametrize("words", [["walk", "run"], ["walk,run"], ["walk,", "run"]])
def test_methods_may_have_commas_or_spaces(tmp_path: Path, words: list[str]) -> None:
    write([run(0.5, method=name) for name in ("walk", "run", "hop")], tmp_path / "mlflow.db")
    assert command(["--store", str(tmp_path / "mlflow.db"), "--out", str(tmp_path), "--methods", *words]) == 0
    lines = (tmp_path / "leaderboard.csv").read_text().splitlines()[1:]
    assert {line.split(",")[7] for line in lines} == {"walk", "run"}


def test_a_folder_may_be_of_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write([run(0.5)], tmp_path / "results" / "mlflow.db")
    assert command(["--store", "~/results"]) == 0
    assert command(["--store", "~/results", "--out", "~/tables"]) == 0
    files = [(tmp_path / folder / "leaderboard.csv").read_bytes() for folder in ("results", "tables")]
    assert files[0] == files[1]


def test_a_table_without_the_column_is_ordered_by_the_mean() -> None:
    scores = {"a": (0.1, 0.9), "b": (0.9, 0.1)}
    runs = [
        run(0.0, online, method=m, suite=s) for m, two in scores.items() for s, online in zip("xy", two, strict=True)
    ]
    runs = [one | {"tags.domain": {"x": "door", "y": "maze"}[one["tags.suite"]]} for one in runs]
    runs += [run(0.0, 0.5, suite="x", domain="hall", task="h", method=m) for m in scores]
    found = sorted_by("maze", tables(frame(runs)))
    assert [(table.order, table.rows) for table in found] == [("mean", ["b", "a"]), ("maze", ["a", "b"])]
