"""Somebody edits their method and launches again; and takes the edit back. With real runs, in a copy of the project."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from analysis.store import read_runs
from benchmark.runs.attempts import METHOD_CODE
from tests.benchmark.test_launch import environment, words

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),  # MLflow never closes its connections
]
ROOT = Path(__file__).parents[2]
Done = subprocess.CompletedProcess[str]


@dataclass
class Checkout:
    """A copy of the project, and a folder that its commands are run in."""

    root: Path

    def edit(self, before: str, after: str) -> None:
        path = self.root / "methods" / "flow.py"
        text = path.read_text()
        assert text.count(before) == 1
        path.write_text(text.replace(before, after))

    def command(self, module: str, *more: str) -> Done:
        command = [sys.executable, "-W", "ignore", "-m", module, *more]
        return subprocess.run(
            command, cwd=self.root, env=environment(self.root), capture_output=True, text=True, check=False
        )

    def launch(self, *more: str) -> Done:
        return self.command("benchmark.launch", *words(), *more)

    def codes(self, where: str) -> list[str]:
        """Of all runs in a folder, the code that each attempt notes."""
        lines = [path.read_text().splitlines() for path in sorted((self.root / "out" / where).rglob("attempts.jsonl"))]
        return [line[METHOD_CODE] for each in lines for line in map(json.loads, each) if METHOD_CODE in line]

    def hidden(self) -> list[tuple[str, str]]:
        rows = read_runs(str(self.root / "out")).to_dicts()
        return sorted((row["tags.bench.superseded"], row[f"tags.{METHOD_CODE}"]) for row in rows)


@dataclass
class Story:
    first: Done
    comment: Done
    edited: Done
    kept: Done
    told: Done
    again: Done
    undone: Done
    codes: list[tuple[list[str], list[str]]]
    hidden: list[list[tuple[str, str]]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    root = tmp_path_factory.mktemp("checkout")
    for package in ("analysis", "benchmark", "envs", "methods"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    here = Checkout(root)
    codes, hidden = [], []

    def note() -> None:
        codes.append((here.codes("runs"), here.codes("superseded")))
        hidden.append(here.hidden())

    first = here.launch()
    note()
    here.edit("class Flow(Method):", "class Flow(Method):  # the cloned flow")
    comment = here.launch()
    here.edit("flow_action(", "0.5 * flow_action(")
    edited, kept, told = (
        here.launch("--dry-run"),
        here.launch("--stale", "keep"),
        here.command("benchmark.status", "--out", "out"),
    )
    again = here.launch()
    note()
    here.edit("0.5 * flow_action(", "flow_action(")
    undone = here.launch()
    note()
    return Story(first, comment, edited, kept, told, again, undone, codes, hidden)


def test_a_method_that_is_edited_while_others_run_is_left_and_the_rest_are_run(tmp_path: Path) -> None:
    """One worker: it has read the old file when the new one is imported, so it leaves, and another takes what waits."""
    for package in ("analysis", "benchmark", "envs", "methods"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    command = words()
    command[command.index("--methods") + 1] = "bon,fql,flow"
    command[command.index("--seeds") + 1] = "0"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "benchmark.launch", *command],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    seen = ""
    while ": offline" not in seen:
        seen = process.stdout.readline()
        assert process.poll() is None
    first = seen.split(" on ")[0]
    edited = next(name for name in ("fql", "flow") if name != first)
    path = tmp_path / "methods" / f"{edited}.py"
    path.write_text(path.read_text() + "\n\nMORE = 1\n")
    _, err = process.communicate(timeout=300)
    done = {json.loads(each.with_name("config.json").read_text())["method"] for each in tmp_path.rglob("done.json")}
    assert not list(tmp_path.rglob("failed.json"))
    assert process.returncode == 1
    assert "1 cell left, since code changed" in err
    assert f"{edited} on bandit-v0, seed 0: methods/{edited}.py, or what it uses, was edited" in err
    assert done == {"bon", "fql", "flow"} - {edited}


def test_nothing_is_done_twice_for_a_comment(story: Story) -> None:
    assert (story.first.returncode, story.first.stderr) == (0, "")
    assert "Nothing to do: every cell is done." in story.comment.stdout
    assert "shared code" not in story.comment.stdout


def test_an_edit_is_told_before_anything_is_done(story: Story) -> None:
    assert "by other code of their method: 2 runs (flow 2); made anew" in story.edited.stdout
    assert story.edited.stdout.count("to do 2") == 1
    assert "kept (--stale keep)" in story.kept.stdout
    assert "Nothing to do: every cell is done." in story.kept.stdout
    assert story.told.returncode == 4
    assert "2 cells: stale 2" in story.told.stdout


def test_an_edit_is_run(story: Story) -> None:
    assert (story.again.returncode, story.again.stderr) == (0, "")
    assert "set aside, under" in story.again.stdout
    (before, none), (after, aside), _ = story.codes
    assert none == []
    assert aside == before
    assert len(set(before)) == len(set(after)) == 1
    assert set(before) != set(after)
    assert story.hidden[1] == sorted([("false", after[0])] * 2 + [("true", before[0])] * 2)
    assert "2 finished" in story.again.stdout


def test_an_edit_undone_costs_nothing(story: Story) -> None:
    assert (story.undone.returncode, story.undone.stderr) == (0, "")
    assert "taken back: flow 2" in story.undone.stdout
    assert "Nothing to do: every cell is done." in story.undone.stdout
    (before, _), (after, _), (now, aside) = story.codes
    assert (now, aside) == (before, after)
    assert story.hidden[2] == sorted([("false", before[0])] * 2 + [("true", after[0])] * 2)
