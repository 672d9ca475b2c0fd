"""Fingerprints: what changes them and what does not, against what really runs, and under every Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import pytest

import methods
from benchmark.planning.plan import make
from benchmark.planning.request import ask
from benchmark.runs.fingerprint import Sources
from benchmark.training import agents, assembly
from benchmark.training.build import build_agent
from methods._contract import Draw

ROOT = Path(__file__).parents[3]
NAMES = methods.names()


@cache
def today() -> Sources:
    return Sources.read()


@cache
def prints() -> dict[str, str]:
    return {name: today().method(name) for name in NAMES}


def edited(module: str, change: Callable[[str], str]) -> Sources:
    """The sources after an edit, which must be one."""
    text = today().texts[module].decode()
    assert change(text) != text
    return Sources(today().texts | {module: change(text).encode()}, today().packages)


def changed(sources: Sources) -> set[str]:
    """The methods whose fingerprint is another after an edit."""
    return {name for name in NAMES if sources.method(name) != prints()[name]}


def replaced(before: str, after: str) -> Callable[[str], str]:
    return lambda text: text.replace(before, after, 1)


# --- what counts


def test_methods_differ() -> None:
    assert len(set(prints().values())) == len(NAMES)
    assert all(len(each) == 16 for each in prints().values())


def test_what_is_added_beside_changes_no_method() -> None:
    more = edited("methods._flow", lambda text: text + "\n\ndef heun(flow, start):\n    return flow(start, 0.5)\n")
    assert changed(more) == set()
    assert more.shared("toy") != today().shared("toy")


@cache
def runs_by_method() -> dict[str, set[tuple[str, str]]]:
    """The functions of `methods` that really run while each method's losses and actions are traced."""
    found: dict[str, set[tuple[str, str]]] = {}
    for name in NAMES:
        seen: set[tuple[str, str]] = set()

        def watch(frame: FrameType, event: str, _: Any, seen: set[tuple[str, str]] = seen) -> None:
            module = frame.f_globals.get("__name__", "")
            if event == "call" and module.startswith("methods."):
                seen.add((module, frame.f_code.co_qualname.split(".")[0]))

        cell = make(ask("toy", "quick", methods=name, tasks=("bandit-v0",), seeds="0")).cells[0]
        assembly.forget()
        before = sys.getprofile()
        sys.setprofile(watch)
        try:
            agent = build_agent(cell)[2]
            jax.eval_shape(lambda key, agent=agent: acted(agent, key), jax.random.PRNGKey(0))
        finally:
            sys.setprofile(before)
        found[name] = seen
    return found


def acted(agent: agents.Agent, key: jax.Array) -> jax.Array:
    state = agents.init_one(agent, key)
    return agents.act(agent, state.parameters, state.slow, jax.numpy.zeros((1, 4)), Draw(key))[0]


@pytest.mark.slow
def test_a_constant_of_the_loop_changes_those_that_call_it() -> None:
    """Whoever really runs the Euler loop, and nobody whose class cannot reach it by a name."""
    found = changed(edited("methods._flow", replaced("velocity / steps", "1.0001 * velocity / steps")))
    running = {name for name, seen in runs_by_method().items() if ("methods._flow", "euler") in seen}
    assert {"flow", "fql", "qpilots_u"} <= running < set(NAMES)
    assert running <= found
    assert not found & {"rebrac", "rlpd"}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_whatever_runs_counts(name: str) -> None:
    """What a method's class reaches is in its fingerprint; what else runs is given to it, and in the shared one."""
    module = f"methods.{name}"
    own = today().reached(today().all_of(module))
    shared = {place for each in today().texts if each.startswith("methods._") for place in today().all_of(each)}
    ran = {place for place in runs_by_method()[name] if not place[1].startswith(("<", "__"))}
    assert len(ran) > 10
    assert ran <= own | shared
    given = {place[0] for place in ran - own}
    # Problem, draws and views; the trainer's best of n; and the rule of a method that states none.
    assert given <= {"methods._given", "methods._critic", "methods._values"}


EDITS: dict[str, tuple[str, Callable[[str], str], set[str]]] = {
    "a number of its own file": ("methods.fql", replaced("self.alpha", "2.0 * self.alpha"), {"fql"}),
    "a field": (
        "methods.fql",
        replaced("    alpha: NonNegative\n", "    alpha: NonNegative\n    beta: float = 0.0\n"),
        {"fql"},
    ),
    "a comment": ("methods._flow", replaced("    steps =", "    # so many\n    steps ="), set()),
    "a docstring": ("methods._flow", replaced("Noise is t", "Rauschen t"), set()),
    "the docstring of a function": ("methods._flow", replaced("Follow the flow", "Walk along the flow"), set()),
    "a line break": (
        "methods._flow",
        replaced("noise + t * data", "noise + (\n t\n * data)"),
        set(),
    ),
    "the hint of an argument": ("methods._flow", replaced("theory: bool = False", "theory: int = False"), set()),
    "the hint of a result": ("methods._flow", replaced("t: Array) -> Array:", "t: Array) -> object:"), set()),
    "an import that is not used": ("methods.fql", replaced("import jax\n", "import json\nimport jax\n"), set()),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_changes_whom_it_concerns(what: str) -> None:
    module, change, wanted = EDITS[what]
    assert changed(edited(module, change)) == wanted


def test_an_edit_of_a_parent_changes_its_children() -> None:
    assert {"qam", "qam_e", "qam_f"} <= changed(edited("methods.qam", replaced("self.", "+self.")))


def test_an_edit_undone_is_no_edit() -> None:
    there = edited("methods.fql", replaced("self.alpha", "2.0 * self.alpha"))
    back = Sources(there.texts | {"methods.fql": today().texts["methods.fql"]}, there.packages)
    assert changed(back) == set()


# --- small worlds


def world(**texts: str) -> Sources:
    """Sources of a method called m, and of what it uses."""
    names = {f"methods.{name}": text.encode() for name, text in texts.items()}
    return Sources({"methods": b"", "benchmark.training": b"", **names}, {"methods", "benchmark.training"})


PART = "def one(x):\n    return x + 1\n\n\ndef two(x):\n    return x + 2\n"
WAYS = {
    "by name": "from methods._part import one\n\nclass M:\n    def act(self):\n        return one(0)\n",
    "by another name": "from methods._part import one as uno\n\nclass M:\n    def act(self):\n        return uno(0)\n",
    "through its module": "from methods import _part\n\nclass M:\n    def act(self):\n        return _part.one(0)\n",
    "through the whole name": "import methods._part\n\nclass M:\n    act = methods._part.one\n",
    "beside it": "from ._part import one\n\nclass M:\n    def act(self):\n        return one(0)\n",
    "inside a function": "class M:\n    def act(self):\n        from methods._part import one\n        return one(0)\n",
    "with all others": "from methods._part import *\n\nclass M:\n    def act(self):\n        return one(0)\n",
    "as an attribute": "from methods._part import one\n\nclass M:\n    act = one\n",
    "as a parent": "from methods._part import one\n\nclass M(one):\n    pass\n",
    "as a decorator": "from methods._part import one\n\nclass M:\n    @one\n    def act(self):\n        pass\n",
    "by way of a helper": "from methods._part import one\n\nhelp = [one]\n\nclass M:\n    act = help[0]\n",
    "on condition": "try:\n    from methods._part import one\nfinally:\n    pass\n\nclass M:\n    act = one\n",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_definition_is_reached(way: str) -> None:
    before = world(m=WAYS[way], _part=PART).method("m")
    assert world(m=WAYS[way], _part=PART.replace("x + 1", "x - 1")).method("m") != before
    assert world(m=WAYS[way], _part=PART.replace("x + 2", "x - 2")).method("m") == before
    assert world(m=WAYS[way], _part=PART + "\n\nTHREE = 3\n").method("m") == before


def test_a_module_as_a_value_is_all_that_is_in_it() -> None:
    text = "from methods import _part\n\nclass M:\n    parts = vars(_part)\n"
    before = world(m=text, _part=PART).method("m")
    assert world(m=text, _part=PART.replace("x + 2", "x - 2")).method("m") != before


def test_names_that_change_places_are_noticed() -> None:
    text = "from methods._part import one as a, two as b\n\nclass M:\n    act = a, b\n"
    swapped = "from methods._part import two as a, one as b\n\nclass M:\n    act = a, b\n"
    assert world(m=text, _part=PART).method("m") != world(m=swapped, _part=PART).method("m")
    numpy, jax_ = (f"import {each} as np\n\nclass M:\n    act = np.tanh\n" for each in ("numpy", "jax.numpy"))
    assert world(m=numpy).method("m") != world(m=jax_).method("m")


MISSED = {
    "two of one name change places": (
        {"m": "from methods._a import f as x\nfrom methods._b import f as y\n\nclass M:\n    act = x, y\n"},
        {"m": "from methods._b import f as x\nfrom methods._a import f as y\n\nclass M:\n    act = x, y\n"},
    ),
    "one that a function imports by the same name": (
        {"m": "from methods._a import f\n\nclass M:\n    act = f\n\ndef other():\n    from methods._b import f\n"},
        {"_a": "def f(x):\n    return x + 9\n"},
    ),
    "one that stands in where an import fails": (
        {"m": "try:\n    from methods._a import f\nexcept ImportError:\n    f = None\n\nclass M:\n    act = f\n"},
        {"_a": "def f(x):\n    return x + 9\n"},
    ),
    "what a loop fills": (
        {"m": "TABLE = {}\nfor n in (1, 2):\n    TABLE[n] = n\n\nclass M:\n    act = TABLE\n"},
        {"m": "TABLE = {}\nfor n in (1, 3):\n    TABLE[n] = n\n\nclass M:\n    act = TABLE\n"},
    ),
    "what is bound where nothing checks types": (
        {"m": "if TYPE_CHECKING:\n    f = 0\nelse:\n    f = 1\n\nclass M:\n    act = f\n"},
        {"m": "if TYPE_CHECKING:\n    f = 0\nelse:\n    f = 2\n\nclass M:\n    act = f\n"},
    ),
    "what a module does when it is imported": (
        {"m": "import methods._c\n\nclass M:\n    act = 1\n", "_c": "register(1)\n"},
        {"_c": "register(2)\n"},
    ),
    "a dictionary in another one": (
        {"m": "class M:\n    act = {**{1: 2}}\n"},
        {"m": "class M:\n    act = {None: {1: 2}}\n"},
    ),
}


@pytest.mark.parametrize("what", MISSED)
def test_a_change_is_noticed(what: str) -> None:
    texts, change = MISSED[what]
    texts = {"_a": "def f(x):\n    return x + 1\n", "_b": "def f(x):\n    return x + 2\n"} | texts
    assert world(**texts).method("m") != world(**(texts | change)).method("m")


def test_what_an_editor_leaves_beside_a_file_is_none(tmp_path: Path) -> None:
    for folder in ("methods", "envs", "benchmark/training", "benchmark/planning"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "methods" / "m.py").write_text("class M:\n    pass\n")
    before = Sources.read(tmp_path).texts
    (tmp_path / "methods" / ".#m.py").symlink_to("somebody@somewhere")
    (tmp_path / "methods" / ".hidden.py").write_text("1")
    assert Sources.read(tmp_path).texts == before
    assert set(before) == {"methods.m"}


def test_a_method_that_is_not_there_has_no_code() -> None:
    assert today().method("nobody") == ""
    assert today().files_of("nobody") == set()


def test_where_a_definition_stands_does_not_count() -> None:
    here = "def one(x):\n    return x + 1\n\n\nclass M:\n    act = one\n"
    assert world(m=here).method("m") == world(m=WAYS["as an attribute"], _part=PART).method("m")


def test_what_runs_when_a_module_is_imported_counts() -> None:
    register = "\nregister(one)\n"
    before = world(m=WAYS["by name"], _part=PART + register).method("m")
    assert world(m=WAYS["by name"], _part=PART + register.replace("one", "two")).method("m") != before


def test_what_only_type_checkers_import_does_not() -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from methods._part import two\n" + WAYS["by name"]
    before = world(m=text, _part=PART).method("m")
    assert world(m=text, _part=PART.replace("x + 2", "x - 2")).method("m") == before


def test_a_file_that_is_not_python_changes_with_its_text() -> None:
    texts = [world(m=WAYS["by name"], _part=text).method("m") for text in ("def (", "def ((", PART)]
    assert len(set(texts)) == 3


# --- the shared path


def test_training_is_shared_by_all_suites_and_a_suite_by_none_other() -> None:
    trainer = edited("benchmark.training.trainer", replaced("updates, 1)", "updates, 2)"))
    toy = edited("envs.toy._worlds", replaced("SIDE, NOISE, STRIDE = 0.6", "SIDE, NOISE, STRIDE = 0.7"))
    rule = edited("methods._values", replaced("self.expectile - (", "self.expectile + ("))
    backbones = edited("benchmark.planning.settings", replaced('"activation": "silu"', '"activation": "gelu"'))
    words = edited(
        "benchmark.training.endings", replaced('"""The run was asked to pause', '"""Somebody asked to pause')
    )
    ours = {suite: today().shared(suite) for suite in ("toy", "ogbench")}
    for sources, differ in (
        (trainer, {"toy", "ogbench"}),
        (toy, {"toy"}),
        (rule, {"toy", "ogbench"}),
        (backbones, {"toy", "ogbench"}),
        (words, set()),
    ):
        assert {suite for suite, before in ours.items() if sources.shared(suite) != before} == differ


# --- every Python

TRICKY = '''
"""A docstring of ünusual letters."""
import numpy as np
from methods._part import one

LABEL = f"{1!r:>{10}} {{x}}" "plain" f"{np.pi:.3f}" f"{np.e=}" f"" f"{2:}"
TEXT = "\\N{SNOWMAN}\\u00e4\\ud800 \\U0001FAE8"

@one
class M(one, key=None):
    """Says what it is."""

    factor: float = 1e-3
    """Says what it is."""
    pair: tuple[int, ...] = (1, None, ...)

    async def act(self, x, /, y=1, *, z: int = 2, **more) -> None:
        """Nothing."""
        match x:
            case {"a": [1, *rest], **others} if (n := len(rest)) > 1:
                return lambda q=n: q**-1 if q else ~q
            case M(factor=0) | None:
                pass
        try:
            with open(f"{x}") as file, file:
                yield [*(a for a in file if not a), {**more}, {1, 2}, x[1:2, ::3], -1_000j]
        except* (OSError, ValueError) as error:
            raise RuntimeError from error
        finally:
            del x; global type_; assert True, "never"
'''
PINNED = "a7314f3a3b8a3ede"
"""As each of them said; whoever changes the form makes all runs of before stale."""
PROGRAM = """
import json, sys
from benchmark.runs.fingerprint import Sources
sources = Sources.read()
texts = {"methods": b"", "methods._part": b"def one(x): return x", "methods.m": json.loads(sys.argv[1]).encode()}
world = Sources(texts, {"methods"})
names = sorted(n.removeprefix("methods.") for n in sources.texts if n.startswith("methods.") and "._" not in n)
found = {name: sources.method(name) for name in names} | {suite: sources.shared(suite) for suite in ("toy", "ogbench")}
print(json.dumps([sys.version_info[:2], found, world.method("m")]))
"""


def interpreters() -> dict[str, str]:
    """The Pythons of this machine by version."""
    found = {}
    for version in ("3.11", "3.12", "3.13"):
        beside = sorted(Path(sys.base_prefix).parent.glob(f"{version}*/bin/python{version}"))
        if path := str(beside[-1]) if beside else shutil.which(f"python{version}"):
            found[version] = path
    return found


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_python_finds_the_same(version: str) -> None:
    """Nothing but the standard library is needed; a dump of the syntax tree differs between each two of these."""
    python = interpreters().get(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    command = [python, "-S", "-c", PROGRAM, json.dumps(TRICKY)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    said = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    found_by, found, tricky = json.loads(said.stdout)
    assert found_by == [int(part) for part in version.split(".")]
    assert found == prints() | {suite: today().shared(suite) for suite in ("toy", "ogbench")}
    assert tricky == PINNED
