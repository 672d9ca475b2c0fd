"""House rules that can be read off the source: who may import whom, and where names may not appear."""

from __future__ import annotations

import ast
import importlib.util
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import methods
from benchmark.execution.executors import EXECUTORS
from envs import load_suite, suites
from slurm.probe import WORKER

ROOT = Path(__file__).parents[2]
OURS = {"analysis", "benchmark", "envs", "methods", "slurm"}
SIMULATORS = {"ogbench", "mujoco", "gymnasium", "dm_control"}
METHOD_FILES = [methods.FOLDER / f"{name}.py" for name in methods.names()]
ROOMS = {
    "planning": {"planning"},
    "runs": {"planning", "runs"},
    "tracking": {"planning", "runs", "tracking"},
    "training": {"planning", "runs", "training"},
    "execution": {"planning", "runs", "training", "execution"},
}
"""The rooms of `benchmark`, each with those whose code it may use; the commands at the door use all."""
COMMANDS = {"__init__", "__main__", "launch", "arguments", "status", "track", "methods", "speed"}
SHARED = [
    path for room in ("planning", "training", "runs", "tracking") for path in (ROOT / "benchmark" / room).glob("*.py")
]
BLIND = [*SHARED, ROOT / "benchmark" / "execution" / "worker.py", *sorted((ROOT / "analysis").glob("*.py"))]
"""Files that must work for any method, task, domain and suite."""


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), path.name)


def imported(path: Path) -> set[str]:
    """Modules in full, wherever in the file they are imported."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = node.module or ""
            whole = module.partition(".")[0] in OURS
            found |= {f"{module}.{alias.name}" if whole else module for alias in node.names}
    return found


def packages(path: Path) -> set[str]:
    """First parts of what is imported, without the standard library."""
    return {name.partition(".")[0] for name in imported(path)} - sys.stdlib_module_names


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def importers(package: str, *folders: str) -> set[str]:
    return {relative(path) for path in sources(*(folders or sorted(OURS))) if package in packages(path)}


@pytest.mark.parametrize(
    ("folder", "known"),
    [
        ("analysis", {"analysis"}),
        ("methods", {"methods"}),
        ("envs", {"envs"}),
        ("benchmark", {"benchmark", "envs", "methods"}),
        ("slurm", {"slurm", "benchmark", "envs", "methods"}),
    ],
)
def test_who_knows_whom(folder: str, known: set[str]) -> None:
    for path in sources(folder):
        assert packages(path) & OURS <= known, relative(path)


def test_every_file_of_the_benchmark_has_its_room() -> None:
    folder = ROOT / "benchmark"
    assert {path.stem for path in folder.glob("*.py")} == COMMANDS
    assert {path.parent.name for path in folder.glob("*/*.py")} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_no_import_runs_backwards_between_rooms(room: str) -> None:
    for path in sources(f"benchmark/{room}"):
        used = {name.split(".")[1] for name in imported(path) if name.startswith("benchmark.")}
        assert used <= ROOMS[room], relative(path)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for(room: str) -> None:
    words = ast.get_docstring(tree(ROOT / "benchmark" / room / "__init__.py")) or ""
    assert words.startswith("In: ")
    assert 0 < words.find(" Out: ") < words.find("\nNever knows: ")
    assert len(tree(ROOT / "benchmark" / room / "__init__.py").body) == 1


def test_what_is_installed_is_what_is_here() -> None:
    """Packages are listed by hand: one that is left out is missing from a wheel only."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    here = {relative(path.parent).replace("/", ".") for path in sources(*sorted(OURS)) if path.name == "__init__.py"}
    assert set(listed["packages"]) == here
    patterns = {(name.replace(".", "/"), each) for name, found in listed["package-data"].items() for each in found}
    shipped = {file for folder, pattern in patterns for file in (ROOT / folder).glob(pattern)}
    data = {
        path for folder in OURS for path in (ROOT / folder).rglob("*") if path.suffix in (".toml", ".npz", ".template")
    }
    assert shipped == {path for path in data if path.name != "pyproject.toml"}  # of a package of its own


def test_modules_that_are_named_in_strings_are_there() -> None:
    names = [*EXECUTORS.values(), WORKER]
    assert all(importlib.util.find_spec(name) for name in names)
    assert f'"{WORKER}"' in (ROOT / "benchmark" / "execution" / "local.py").read_text()


def test_what_methods_are_made_of() -> None:
    for path in sources("methods"):
        own = {"_modules.py": {"flax"}, "_ranges.py": {"annotated_types"}}
        allowed = {"methods", "jax", "numpy"} | own.get(path.name, set())
        assert packages(path) <= allowed, relative(path)


@pytest.mark.parametrize("path", METHOD_FILES, ids=lambda path: path.stem)
def test_a_method_file(path: Path) -> None:
    """Short, built from the shared pieces, with no hand on optimiser, averages or gradient stops."""
    text = path.read_text()
    assert packages(path) <= {"methods", "jax"}
    assert len(text.splitlines()) <= 85
    assert "stop_gradient" not in text
    for word in ("optax", "adam", "apply_updates"):
        assert word not in text.lower()
    assert path.with_suffix(".toml").exists()
    parents = {
        ast.unparse(base) for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef) for base in node.bases
    }
    for name in {name.split(".")[1] for name in imported(path) if name.startswith("methods.")}:
        if not name.startswith("_"):  # another method, which may be subclassed and not called
            classes = {
                cls.name for cls in ast.walk(tree(methods.FOLDER / f"{name}.py")) if isinstance(cls, ast.ClassDef)
            }
            assert parents & classes, f"{relative(path)} uses {name}"


@pytest.mark.parametrize("path", METHOD_FILES, ids=lambda path: path.stem)
def test_a_method_says_what_it_is(path: Path) -> None:
    """One line in plain words, then the reference, then every known difference."""
    words = ast.get_docstring(tree(path)) or ""
    first = words.splitlines()[0]
    assert first.endswith(".")
    assert 0 < words.find("\nReference:") < words.find("\nDiffers from the paper:")


def test_one_home_for_each_package() -> None:
    assert importers("flax") == {"methods/_modules.py"}
    assert importers("mlflow") == {f"benchmark/tracking/{each}.py" for each in ("store", "tracker")} | {
        "analysis/store.py"
    }
    assert importers("torch") == {"envs/_torch.py", "envs/toy/_torch_base.py"}
    assert importers("submitit") <= {relative(path) for path in sources("slurm")}
    for simulator in SIMULATORS:
        assert importers(simulator, "analysis", "benchmark", "methods", "slurm") == set()
    assert importers("ogbench", "envs")


def test_mlflow_is_imported_only_where_it_is_used() -> None:
    """Importing the tracker costs seconds, so no module does it when it is itself imported."""
    for path in (*(ROOT / "benchmark" / "tracking").glob("*.py"), ROOT / "analysis" / "store.py"):
        for node in tree(path).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "mlflow" not in ast.unparse(node)


def names_of_things() -> dict[str, str]:
    found = {name: "method" for name in methods.names()} | {name: "suite" for name in suites()}
    for suite in suites():
        for task in load_suite(suite).tasks().values():
            found |= {task.name: "task", task.domain: "domain"}
    return found


def written(path: Path) -> Iterator[tuple[int, str]]:
    """Every string, name and attribute of a file but its docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg


@pytest.mark.parametrize("path", BLIND, ids=relative)
def test_what_serves_all_names_none(path: Path) -> None:
    names = names_of_things()
    found = [f"line {line}: the {names[word]} {word!r}" for line, word in written(path) if word in names]
    assert found == []


def test_no_domain_is_named_outside_its_suite() -> None:
    """Nor is any task or its environment, in code, comment or docstring; the toy worlds' names are plain words."""
    tasks = load_suite("ogbench").tasks().values()
    names = {task.domain for task in tasks} | {task.name for task in tasks}
    names |= {task.name.partition("-singletask")[0] for task in tasks}
    names |= {name.rsplit("-", 1)[0] for name in names if name.endswith(("-play", "-navigate"))}
    assert len(names) > 70
    for path in sources("analysis", "benchmark", "methods", "slurm"):
        text = path.read_text()
        assert [name for name in names if name in text] == [], relative(path)


def test_no_file_has_300_lines_and_no_function_40() -> None:
    found: set[str] = set()
    for path in sources(*sorted(OURS)):
        if len(path.read_text().splitlines()) >= 300:
            found.add(relative(path))
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 39:
                found.add(f"{relative(path)}:{node.name}")
    assert not found


def test_nothing_is_caught_that_was_not_meant() -> None:
    for path in sources(*sorted(OURS)):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler):
                kind = ast.unparse(node.type) if node.type else "everything"
                if relative(path) != "methods/__init__.py":  # where a stranger's file is imported
                    assert kind not in ("everything", "Exception", "BaseException"), f"{relative(path)}: {node.lineno}"
