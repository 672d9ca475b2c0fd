"""The command line as processes: wrong commands, plans, and a tiny run that is stopped, killed, resumed and skipped."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import methods
from benchmark import launch
from benchmark.planning.plan import PROTOCOL
from benchmark.runs.attempts import attempts_of, ends_of, starts_of
from benchmark.tracking.address import TrackingError
from benchmark.tracking.store import prepare
from tests.benchmark import tiny
from tests.benchmark.commands import Said, read

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),  # MLflow never closes its connections
]
ROOT = Path(__file__).parents[2]
BLOCKED = ("mlflow", "torch", "ogbench", "mujoco", "gymnasium", "dm_control", "sqlalchemy")


def environment(root: Path = ROOT, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return kept | {"PYTHONPATH": str(root), "COLUMNS": "80"} | more


def said(folder: Path, commands: Sequence[Sequence[str]], root: Path = ROOT) -> list[Said]:
    """What each of these commands says, run in an empty folder."""
    folder.mkdir(exist_ok=True)
    subprocess.run(
        [sys.executable, "-W", "ignore", str(ROOT / "tests" / "benchmark" / "commands.py"), str(folder)],
        input=json.dumps([list(words) for words in commands]),
        cwd=folder,
        env=environment(root),
        text=True,
        check=True,
    )
    return [read(folder, i) for i in range(len(commands))]


# --- wrong commands

TOY = ("--suite", "toy")
WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "nothing": ((), "--suite"),
    "unknown flag": ((*TOY, "--sedes", "0"), "--seeds"),
    "missing value": ((*TOY, "--seeds"), "--seeds"),
    "no number of workers": ((*TOY, "--jobs", "-1"), "--jobs is -1; it must be at least 1"),
    "a number is wanted": ((*TOY, "--jobs", "many"), "--jobs"),
    "unknown suite": (("--suite", "tyo"), "did you mean 'toy'"),
    "all and one": ((*TOY, "--methods", "all,flow"), "all is every method, and stands alone"),
    "no method": ((*TOY, "--methods", ","), "it names nothing"),
    "less than float32 knows of one": ((*TOY, "--set", "run.discount=1.0000000001"), "it must be at most 1"),
    "a rule's number of float32": (
        (*TOY, "--value", "iql", "--set", "value.expectile=0.99999999999"),
        "as the float32 that 0.99999999999 is",
    ),
    "unknown method": ((*TOY, "--methods", "fqll"), "did you mean 'fql'"),
    "unknown task": ((*TOY, "--tasks", "bandot-v0"), "did you mean 'bandit-v0'"),
    "unknown domain": ((*TOY, "--domains", "bandits"), "did you mean 'bandit'"),
    "unknown preset": ((*TOY, "--preset", "quik"), "did you mean 'quick'"),
    "preset of another suite": ((*TOY, "--preset", "paper"), "suite 'toy' has no preset 'paper'"),
    "unknown backbone": ((*TOY, "--backbone", "papr"), "did you mean 'paper'"),
    "unknown value rule": ((*TOY, "--value", "iqll"), "did you mean 'iql'"),
    "unknown data": ((*TOY, "--data", "offical"), "did you mean 'official'"),
    "data that are not there": ((*TOY, "--data", "official"), "no official data"),
    "unknown executor": ((*TOY, "--executor", "lokal"), "did you mean 'local'"),
    "override without a value": ((*TOY, "--set", "fql.alpha"), "METHOD.KEY=VALUE"),
    "override of nothing": ((*TOY, "--set", "run.aplha=1"), "'aplha'"),
    "override of no method": ((*TOY, "--set", "fqll.alpha=1"), "did you mean 'fql'"),
    "override of a wrong type": ((*TOY, "--set", "fql.alpha=much"), "must be a number"),
    "override that is no number": ((*TOY, "--set", "fql.alpha=nan"), "finite number"),
    "seeds": ((*TOY, "--seeds", "0:7"), "0-7"),
    "a limit below nothing": ((*TOY, "--limit", "-3"), "--limit is -3; it must be at least 1"),
    "a limit of nothing": ((*TOY, "--limit", "0"), "--limit is 0; it must be at least 1"),
    "a limit of half a cell": ((*TOY, "--limit", "2.5"), "--limit is '2.5'; it must be an integer"),
    "a budget of nothing": ((*TOY, "--budget-hours", "0"), "it must be more than 0"),
    "a word for a budget": ((*TOY, "--budget-hours=much"), "--budget-hours is 'much'; it must be a number"),
    "one task twice": ((*TOY, "--tasks", "bandit-v0,bandit-v0"), "names bandit-v0 twice"),
    "one domain by two names": (
        ("--suite", "ogbench", "--preset", "quick", "--domains", "cube-double", "cube-double-play"),
        "cube-double and cube-double-play are one domain",
    ),
    "a sweep of data": ((*TOY, "--sweep", "data.seed=1,2"), "launch once for each value, with --set data.seed=VALUE"),
    "online without training": ((*TOY, "--set", "run.online_steps=10"), "nothing would be trained online"),
    "more than float32 holds": ((*TOY, "--set", "run.learning_rate=1e39"), "which float32 does not hold"),
    "less than float32 holds": (
        (*TOY, "--methods", "fql", "--set", "fql.alpha=1e-46"),
        "is 1e-46",
    ),
    "a mirror's password": (
        (*TOY, "--executor", "local", "--mirror", "https://me:secret@host"),
        "--mirror https://me:***@host",
    ),
    "a budget below nothing": ((*TOY, "--budget-hours", "-1"), "--budget-hours"),
    "a budget that is no number": ((*TOY, "--budget-hours", "nan"), "--budget-hours"),
    "unknown order": ((*TOY, "--order", "bredth"), "did you mean 'breadth'"),
    "what to keep": ((*TOY, "--keep", "parameter"), "did you mean 'parameters'"),
    "a sweep without values": ((*TOY, "--sweep", "fql.alpha="), "METHOD.KEY=VALUE,VALUE"),
    "a sweep of nothing": ((*TOY, "--sweep", "fql.alpha=1"), "two values at least"),
    "a learning rate below nothing": ((*TOY, "--set", "run.learning_rate=-1"), "it must be more than 0"),
    "a target rate above one": ((*TOY, "--set", "run.target_rate=5"), "it must be at most 1"),
    "a target rate below nothing": ((*TOY, "--set", "run.target_rate=-0.5"), "it must be more than 0"),
    "a norm below nothing": ((*TOY, "--set", "fql.clip_norm=-1"), "it must be at least 0"),
    "a discount above one": ((*TOY, "--set", "run.discount=1.01"), "it must be at most 1"),
    "a chunk longer than an episode": ((*TOY, "--set", "run.chunk_length=17"), "shorten the chunks"),
    "an expectile that is none": ((*TOY, "--methods", "ifql", "--set", "ifql.expectile=2"), "less than 1"),
    "an expectile of a rule": ((*TOY, "--value", "iql", "--set", "value.expectile=2"), "less than 1"),
    "a coefficient below nothing": ((*TOY, "--set", "fql.alpha=-1"), "it must be at least 0"),
    "a number of many digits": ((*TOY, "--set", f"run.offline_steps={'9' * 5000}"), "offline_steps in command line"),
    "a number of some digits": ((*TOY, "--set", f"run.offline_steps=1{'0' * 400}"), "offline_steps in command line"),
    "more steps than a counter holds": ((*TOY, "--set", "run.offline_steps=4e9"), "it must be less than 2147483648"),
    "half a step": ((*TOY, "--set", "run.offline_steps=1.5"), "it must be an integer"),
    "seeds without end": ((*TOY, "--seeds", "0-99999999999"), "seeds are less than 2^32"),
    "more seeds than anybody wants": ((*TOY, "--seeds", "0-4294967295"), "more than 10,000 seeds"),
    "a seed that is another": ((*TOY, "--seeds", "4294967296"), "seeds are less than 2^32"),
    "a seed of many digits": ((*TOY, "--seeds", "9" * 9999), "seeds are less than 2^32"),
    "a seed of data below nothing": ((*TOY, "--set", "data.seed=-1"), "seed of the data is -1"),
    "data without end": ((*TOY, "--set", "data.episodes=1e15"), "episodes of the data"),
    "a table for a number": ((*TOY, "--set", "fql.alpha={a=1}"), "it must be a number"),
    "one key set twice": ((*TOY, "--set", "fql.alpha=1", "fql.alpha=2"), "'fql.alpha=1' and --set 'fql.alpha=2'"),
    "one key set twice alike": ((*TOY, "--set", "fql.alpha=1", "--set", "fql.alpha=1"), "leave one of them out"),
    "one key set and swept": (
        (*TOY, "--set", "fql.alpha=3", "--sweep", "fql.alpha=1,2"),
        "--set 'fql.alpha=3' and --sweep 'fql.alpha=1,2'",
    ),
    "one key swept twice": ((*TOY, "--sweep", "fql.alpha=1,2", "fql.alpha=3,4"), "leave one of them out"),
    "a sweep of one value": ((*TOY, "--sweep", "fql.alpha=1,1.0"), "1 and 1.0 are one value"),
    "a sweep of one value in other words": ((*TOY, "--sweep", "fql.alpha=1e3,1000"), "1e3 and 1000 are one value"),
    "a setting that another undoes": (
        (*TOY, "--methods", "fql", "--set", "run.heads=2", "fql.heads=3"),
        "--set 'run.heads=2' does nothing beside --set 'fql.heads=3'",
    ),
    "a sweep that a setting undoes": (
        (*TOY, "--methods", "fql", "--sweep", "run.heads=2,4", "--set", "fql.heads=3"),
        "--sweep 'run.heads=2,4' does nothing beside --set 'fql.heads=3'",
    ),
    "a sweep of what a method fixes": ((*TOY, "--methods", "rlpd", "--sweep", "run.sampling=a,b"), "rlpd.sampling"),
    "nothing to set": ((*TOY, "--set"), "--set names nothing"),
    "nothing to sweep": ((*TOY, "--sweep", "--seeds", "0"), "--sweep names nothing"),
    "no tasks": ((*TOY, "--tasks", "--seeds", "0"), "--tasks names nothing"),
    "empty seeds": ((*TOY, "--seeds", ""), "an empty word after --seeds"),
    "an empty preset": ((*TOY, "--preset="), "--preset is empty"),
    "seeds said twice": ((*TOY, "--seeds", "0", "--seeds", "1"), "--seeds 0 and --seeds 1"),
    "two folders": ((*TOY, "--data-dir", "a", "--data_dir=b"), "--data-dir a and --data_dir=b"),
    "a method twice": ((*TOY, "--methods", "fql,flow,fql"), "names fql twice"),
    "a retry on this machine": ((*TOY, "--executor", "local", "--retry"), "--retry"),
    "a mirror of nothing": ((*TOY, "--executor", "local", "--mirror", "http://x"), "--mirror"),
    "a list and a plan": ((*TOY, "--list", "--dry-run"), "leave one of them out"),
    "a profile for this machine": ((*TOY, "--executor", "local", "--profile", "gpu"), "--executor slurm"),
    "a profile that implies slurm": (("--suite", "ogbench", "--profile", "gpuu"), "did you mean 'gpu'"),
    "unknown profile": ((*TOY, "--executor", "slurm", "--profile", "gpus", "--dry-run"), "did you mean 'gpu'"),
}
INFINITE = "an infinite setting"
UNWRITABLE = "a folder that cannot be written"


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "file").write_text("")
    commands = {name: words for name, (words, _) in WRONG.items()}
    commands[INFINITE] = (*TOY, "--set", "run.learning_rate=inf")
    commands[UNWRITABLE] = (*TOY, "--executor", "local", "--out", str(folder / "file" / "out"))
    return dict(zip(commands, said(folder, list(commands.values())), strict=True))


def assert_told(found: Said, word: str) -> None:
    assert found.status not in (0, 1)  # 1 is for what went wrong in a run, and for a traceback
    assert found.out == ""
    assert 1 <= len(found.err.splitlines()) <= 3
    assert found.err.isascii()  # no box
    assert "Traceback" not in found.err
    assert word in found.err


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_command_is_told_in_a_sentence(wrong: dict[str, Said], name: str) -> None:
    assert_told(wrong[name], WRONG[name][1])


def test_an_infinite_setting_is_told(wrong: dict[str, Said]) -> None:
    assert_told(wrong[INFINITE], "learning_rate")


def test_a_folder_that_cannot_be_written_is_named(wrong: dict[str, Said]) -> None:
    found = wrong[UNWRITABLE]
    assert found.status == 2
    assert found.err.startswith("error: cannot write to ")
    assert len(found.err.splitlines()) == 1
    assert "--out" in found.err


def test_a_folder_that_cannot_be_written_is_tried_first(wrong: dict[str, Said]) -> None:
    assert_told(wrong[UNWRITABLE], "--out")


def test_the_module_is_the_command(tmp_path: Path) -> None:
    """From any folder, with nothing but the path to the packages."""
    command = [sys.executable, "-m", "benchmark.launch", "--suite", "tyo"]
    found = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("error: unknown suite 'tyo'")


# --- plans

PLANS = [
    (suite, preset)
    for suite, preset in (("ogbench", "paper"), ("ogbench", "quick"), ("ogbench", "cpu"), ("toy", "quick"))
]
SIZES = {("ogbench", "paper"): 50 * 8, ("ogbench", "quick"): 3, ("ogbench", "cpu"): 2 * 3, ("toy", "quick"): 3 * 4}


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], Said]:
    names = [(*plan, executor) for plan in PLANS for executor in ("local", "slurm")]
    commands = [("--suite", s, "--preset", p, "--executor", e, "--dry-run") for s, p, e in names]
    folder = tmp_path_factory.mktemp("plans")
    found = dict(zip(names, said(folder, commands), strict=True))
    assert not list(folder.glob("**/runs"))  # a plan leaves nothing behind
    return found


@pytest.mark.parametrize("executor", ["local", "slurm"])
@pytest.mark.parametrize("plan", PLANS, ids=":".join)
def test_a_dry_run_prints_the_plan(
    planned: dict[tuple[str, str, str], Said], plan: tuple[str, str], executor: str
) -> None:
    found = planned[*plan, executor]
    assert (found.status, found.err) == (0, "")
    count = len(methods.names()) * SIZES[plan]
    lines = found.out.splitlines()
    assert any(line.startswith(f"{count} cells in ") for line in lines)
    assert any(line.endswith(f"to do {count}") for line in lines)
    assert f"executor {executor}" in found.out
    assert found.out.isascii()


def test_a_dry_run_for_a_cluster_shows_the_script_that_would_be_sent(
    planned: dict[tuple[str, str, str], Said],
) -> None:
    """Of the plain GPU example, on a machine that knows nothing of SLURM; packs of eight seeds, in two arrays."""
    lines = planned["ogbench", "paper", "slurm"].out.splitlines()
    count = len(methods.names()) * 50
    sizes = [1000] * (count // 1000) + [count % 1000]
    assert f"{count} jobs in 2 arrays ({', '.join(map(str, sizes))}); the first one's script:" in lines
    script = lines[lines.index("#!/bin/bash") :]
    asked = {line.removeprefix("#SBATCH --") for line in script if line.startswith("#SBATCH")}
    assert {"array=0-999%128", "partition=gpu", "gres=gpu:1", "cpus-per-task=8", "mem=49152MB", "time=1440"} <= asked
    assert {"requeue", "signal=B:USR2@900", "open-mode=append"} <= asked
    assert any(line.startswith("exec ") and line.split("/slurm/")[0].endswith("results") for line in script)


def test_a_part_of_a_plan(tmp_path: Path) -> None:
    """Ten cells of a thousand, one seed of everything first; what it would cost is told for these."""
    words = ("--suite", "ogbench", "--preset", "paper", "--executor", "local", "--dry-run", "--methods", "flow,fql")
    limited, budget = said(
        tmp_path, [(*words, "--limit", "10", "--order", "breadth"), (*words, "--budget-hours", "100")]
    )
    assert (limited.status, budget.status) == (0, 0)
    assert "800 cells in 100 packs" in limited.out
    assert "left for later 790, to do 10" in limited.out
    days = float(budget.out.split("about ")[1].split(" device-days")[0])
    assert 3 <= days <= 100 / 24


BARE = f"""
import importlib.abc
import sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}")

sys.meta_path.insert(0, Missing())
from benchmark import launch
launch.main()
"""


@pytest.mark.parametrize("words", [("--help",), ("--suite", "ogbench", "--preset", "paper", "--dry-run")])
def test_help_and_plans_need_neither_simulator_nor_tracker(tmp_path: Path, words: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", BARE, *words]
    found = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout


# --- methods that are dropped in

NEW = '''"""The flow, looked at twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from methods.flow import Flow


@dataclass(frozen=True)
class Twice(Flow):
    beta: float

    known_failures: ClassVar = {}
'''


@pytest.fixture(scope="module")
def dropped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    """A copy of the packages with two more methods, one of which cannot be imported."""
    root = tmp_path_factory.mktemp("copy")
    for package in ("analysis", "benchmark", "envs", "methods"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "methods" / "broken.py").write_text("import there_is_no_such_package\n")
    (root / "methods" / "broken.toml").write_text("[default]\n")
    (root / "methods" / "worse.py").write_text("import os\n\nKEY = os.environ['NO_SUCH_VARIABLE']\n")
    (root / "methods" / "twice.py").write_text(NEW)
    (root / "methods" / "twice.toml").write_text("[default]\nbeta = 0.5\n")
    commands = {
        "help": ("--help",),
        "all": (*TOY, "--preset", "quick", "--executor", "local", "--dry-run"),
        "new": (*TOY, "--methods", "twice", "--seeds", "0", "--set", "twice.beta=1", "--dry-run"),
        "broken": (*TOY, "--methods", "broken", "--dry-run"),
    }
    return dict(zip(commands, said(root / "said", list(commands.values()), root), strict=True))


REASON = "methods/broken.py cannot be imported: ModuleNotFoundError: No module named 'there_is_no_such_package'"


def test_a_method_is_two_files(dropped: dict[str, Said]) -> None:
    assert dropped["help"].status == 0
    assert "twice" in dropped["help"].out
    assert dropped["new"].status == 0
    assert "3 cells in 3 packs" in dropped["new"].out


def test_a_method_that_cannot_be_imported_is_listed_with_the_reason(dropped: dict[str, Said]) -> None:
    unwrapped = " ".join(dropped["help"].out.replace("│", " ").split())
    assert f"Unavailable: {REASON}." in unwrapped
    assert dropped["all"].status == 0
    assert f"unavailable: {REASON}" in dropped["all"].out
    assert "unavailable: methods/worse.py cannot be imported: KeyError: 'NO_SUCH_VARIABLE'" in dropped["all"].out
    assert f"{(len(methods.names()) + 1) * 3 * 4} cells" in dropped["all"].out
    assert_told(dropped["broken"], REASON)


# --- runs

LONG = {"offline_steps": 10_000, "evaluate_every": 10_000, "log_every": 500}
"""Some seconds of updates, between which nothing is saved unless it is asked for."""


def words(tasks: Sequence[str] = ("bandit-v0",), **changes: Any) -> list[str]:
    chosen = ("--methods", "flow", "--tasks", *tasks, "--seeds", "0-1", "--preset", "quick")
    return [*TOY, *chosen, "--executor", "local", "--jobs", "1", "--out", "out", "--set", *tiny.words(**changes)]


@dataclass
class Place:
    """A folder in which commands are run; programs are kept from one to the next."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def start(self, **changes: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "benchmark.launch", *words(**changes)]
        # No Ctrl-C of the terminal that the tests run in, and SIGINT as a shell would leave it.
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, **changes: Any) -> Said:
        return end(self.start(**changes))

    def lines(self) -> int:
        """Lines of metrics so far, over all runs."""
        return sum(len(path.read_bytes().splitlines()) for path in self.out.glob("runs/*/*/metrics.jsonl"))

    def tracked(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.out / "mlflow.db")) as connection:
            return connection.execute(query).fetchall()


def end(process: subprocess.Popen[str]) -> Said:
    started = time.monotonic()
    out, err = process.communicate(timeout=300)
    return Said(process.returncode, out, err, time.monotonic() - started)


def wait_for(what: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def workers_of(parent: int) -> list[int]:
    """Worker processes of a launcher, from /proc."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = status.read_text().rpartition(")")[2].split()
            command = (status.parent / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(after_name[1]) == parent and b"benchmark.execution.worker" in command:
            found.append(int(status.parent.name))
    return found


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared database; creating one takes seconds, so places copy it."""
    root = tmp_path_factory.mktemp("store")
    prepare(f"sqlite:///{root}/mlflow.db", f"toy/v{PROTOCOL}", root / "artifacts")
    return root / "mlflow.db"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


def make_place(folder: Path, store: Path, programs: Path) -> Place:
    (folder / "out").mkdir(parents=True)
    (folder / "out" / "cache").symlink_to(programs)
    shutil.copy(store, folder / "out" / "mlflow.db")
    with closing(sqlite3.connect(folder / "out" / "mlflow.db")) as connection:
        where = f"file://{folder}/out/artifacts/toy/v{PROTOCOL}"
        connection.execute("update experiments set artifact_location = ? where experiment_id > 0", (where,))
        connection.commit()
    return Place(folder)


RUNS = "select status from runs order by status"
POINTS = "select run_uuid, key, step, value from metrics order by 1, 2, 3, 4"


def stop_all(place: Place) -> None:
    for process in place.started:
        if process.poll() is None:
            process.kill()
            process.communicate()


@dataclass
class Twice:
    """A run from nothing to its end, and the same command again."""

    place: Place
    first: Said
    points: list[tuple[Any, ...]]
    again: Said


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory, store: Path, programs: Path) -> Twice:
    place = make_place(tmp_path_factory.mktemp("twice"), store, programs)
    first = place.run()
    points = place.tracked(POINTS) if first.status == 0 else []
    return Twice(place, first, points, place.run())


def test_a_tiny_run_end_to_end(twice: Twice) -> None:
    assert (twice.first.status, twice.first.err) == (0, "")
    assert "2 cells in 1 pack" in twice.first.out
    assert "[1/1] flow on bandit-v0: done" in twice.first.out
    assert len(list(twice.place.out.glob("runs/*/*/done.json"))) == 2
    assert (twice.place.out / "leaderboard.md").exists()
    assert twice.place.tracked(RUNS) == [("FINISHED",)] * 2
    assert {key for _, key, *_ in twice.points} >= {"offline/loss", "evaluation/success", "final/online_success"}
    attempt = starts_of(attempts_of(next(twice.place.out.glob("runs/*/*"))))[1]
    assert {"host", "git_commit", "git_dirty", "lock_hash", "versions", "dataset_sha256", "gpu"} <= set(attempt)


def test_the_same_command_again_does_nothing(twice: Twice) -> None:
    assert (twice.again.status, twice.again.err) == (0, "")
    assert "done 2, begun 0, failed before 0, to do 0" in twice.again.out
    assert "Nothing to do: every cell is done." in twice.again.out
    assert twice.again.seconds < max(30.0, twice.first.seconds)
    assert twice.place.tracked(RUNS) == [("FINISHED",)] * 2
    assert twice.place.tracked(POINTS) == twice.points


@dataclass
class Raced:
    """Two launches of the same cells at once."""

    place: Place
    both: list[Said]


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory, store: Path, programs: Path, twice: Twice) -> Raced:
    place = make_place(tmp_path_factory.mktemp("raced"), store, programs)
    try:
        started = [place.start(offline_steps=2000) for _ in range(2)]
        return Raced(place, [end(process) for process in started])
    finally:
        stop_all(place)


def test_two_launches_at_once_run_each_cell_once(raced: Raced) -> None:
    assert [each.status for each in raced.both] == [0, 0], raced.both
    for path in raced.place.out.glob("runs/*/*/attempts.jsonl"):
        attempts = attempts_of(path.parent)
        assert [end["how"] for end in ends_of(attempts).values()] == ["done"]
        assert len(starts_of(attempts)) == 1
    assert raced.place.tracked(RUNS) == [("FINISHED",)] * 2


def test_who_came_second_says_who_was_first(raced: Raced) -> None:
    """Unless it came so late that there was nothing left to do."""
    told = "\n".join(each.out + each.err for each in raced.both)
    assert "left to other processes" in told or "Nothing to do" in told
    if "left to other processes" in told:
        assert "is being worked on by" in told


@dataclass
class Story:
    """A run that Ctrl-C stopped, that lost its launcher, and that was then left alone."""

    place: Place
    stopped: Said
    states: list[tuple[Any, ...]]
    orphans: list[int]
    last: Said


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, store: Path, programs: Path, twice: Twice) -> Story:
    place = make_place(tmp_path_factory.mktemp("story"), store, programs)
    try:
        process = place.start(**LONG)
        wait_for(lambda: place.lines() > 0 or process.poll() is not None, 200.0)
        process.send_signal(signal.SIGINT)
        stopped = end(process)
        states = place.tracked(RUNS)

        reached, process = place.lines(), place.start(**LONG)
        wait_for(lambda: place.lines() > reached or process.poll() is not None, 200.0)
        orphans = workers_of(process.pid)
        process.kill()
        process.communicate()
        wait_for(lambda: not any(map(alive, orphans)), 30.0)
        return Story(place, stopped, states, orphans, place.run(**LONG))
    finally:
        stop_all(place)


def test_ctrl_c_saves_and_says_how_to_go_on(story: Story) -> None:
    assert story.stopped.status == 130
    assert story.stopped.err == "Stopped. Run the same command again to go on from the last checkpoints.\n"
    assert story.states == [("KILLED",)] * 2
    for path in story.place.out.glob("runs/*/*/attempts.jsonl"):
        assert ends_of(attempts_of(path.parent))[1]["how"] == "stopped"


def test_workers_end_with_their_launcher(story: Story) -> None:
    assert len(story.orphans) == 1
    assert not any(map(alive, story.orphans))


def test_what_was_interrupted_is_completed_once(story: Story) -> None:
    assert (story.last.status, story.last.err) == (0, "")
    assert "done 0, begun 2" in story.last.out
    assert story.place.tracked(RUNS) == [("FINISHED",)] * 2
    double = "select run_uuid, key, step from metrics group by 1, 2, 3 having count(distinct value) > 1"
    logged = [row for row in story.place.tracked(double) if not row[1].endswith("steps_per_second")]
    assert logged == []  # a step that was taken twice gave the same numbers twice
    for path in story.place.out.glob("runs/*/*/metrics.jsonl"):
        steps = [line["step"] for line in map(json.loads, path.read_text().splitlines()) if "offline/loss" in line["m"]]
        assert steps == list(range(500, 10_001, 500))
        attempts = [json.loads(line) for line in (path.parent / "attempts.jsonl").read_text().splitlines()]
        assert [each["attempt"] for each in attempts if "start" in each] == [1, 2, 3]


def test_a_tracker_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmark.launch", *words()]
    variables = environment(MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    started = time.monotonic()
    found = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert (
        found.stderr == "error: No MLflow server answers at http://127.0.0.1:9: start it or set MLFLOW_TRACKING_URI.\n"
    )
    assert time.monotonic() - started < 60.0
    assert not list(tmp_path.glob("out/runs/*/*"))


def test_a_worker_that_is_told_to_leave_saves_and_the_others_go_on(
    tmp_path: Path, store: Path, programs: Path, twice: Twice
) -> None:
    """Its pack is not failed, and the one that waits is not handed to it."""
    place = make_place(tmp_path / "place", store, programs)
    try:
        process = place.start(tasks=("bandit-v0", "corridor-v0"), **LONG)
        wait_for(lambda: place.lines() > 0 or process.poll() is not None, 200.0)
        (worker,) = workers_of(process.pid)
        os.kill(worker, signal.SIGTERM)
        found = end(process)
    finally:
        stop_all(place)
    assert found.status == 130
    assert "Stopped. Run the same command again" in found.err
    ends = [ends_of(attempts_of(folder)) for folder in place.out.glob("runs/*/*")]
    assert sorted(end["how"] for each in ends for end in each.values()) == ["done", "done", "stopped", "stopped"]
    assert not list(place.out.glob("runs/*/*/failed.json"))


def test_a_tracker_that_is_away_keeps_no_jobs_from_being_sent(tmp_path: Path) -> None:
    """Their records wait for it; a launch that runs packs itself says so and stops."""
    text = io.StringIO()
    away = ("http://127.0.0.1:9", "toy/v1", tmp_path)
    launch.prepare_tracking(*away, Console(file=text, width=200))
    assert "No MLflow server answers" in text.getvalue()
    with pytest.raises(TrackingError):
        launch.prepare_tracking(*away, None)
