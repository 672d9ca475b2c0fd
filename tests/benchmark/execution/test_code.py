"""A worker runs what it was sent, by the code that it was sent with, or leaves it as it is."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.execution.code import Code, left_as_sent
from benchmark.execution.serving import run_pack
from benchmark.planning.plan import Cell
from benchmark.runs.attempts import METHOD_CODE, SHARED_CODE
from benchmark.runs.fingerprint import Sources
from benchmark.runs.records import REFUSED, folder_of, state_of
from tests.benchmark import pretend, tiny
from tests.benchmark.pretend import OTHER

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def code() -> Code:
    return Code(Sources.read())


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != REFUSED}


def test_what_was_sent_with_this_code_is_run(tmp_path: Path, code: Code) -> None:
    cells = pretend.plan("flow").cells
    for codes in ({}, {"fql": OTHER}, {"flow": code.about(cells[0])[METHOD_CODE]}):
        assert left_as_sent(tmp_path, cells, codes, code, edited=False) == []
    assert list(tmp_path.iterdir()) == []


def test_what_was_sent_with_other_code_is_left(tmp_path: Path, code: Code) -> None:
    cells = pretend.plan("flow").cells
    done = pretend.run(tmp_path, cells[0])
    before = kept(done)
    ((cell, text),) = left_as_sent(tmp_path, cells, {"flow": OTHER}, code, edited=False)
    assert cell == cells[1]
    assert text.startswith(f"the code of flow is another than it was sent with ({OTHER[:8]}, now ")
    assert kept(done) == before
    assert not (done / REFUSED).exists()
    noted = json.loads((folder_of(tmp_path, cell.key) / REFUSED).read_text())
    assert (noted["sent"], noted["found"]) == (OTHER, pretend.today("flow"))
    assert state_of(folder_of(tmp_path, cell.key)) == "planned"
    ((_, text), _) = left_as_sent(tmp_path, pretend.plan("fql").cells, {}, code, edited=True)
    assert "was edited while its worker started" in text


def test_an_attempt_notes_both_codes(code: Code) -> None:
    cell = pretend.plan("fql").cells[0]
    about = code.about(cell) | code.shared(cell)
    assert about == {METHOD_CODE: pretend.today("fql"), SHARED_CODE: code.sources.shared("toy")}


@pytest.mark.slow
def test_what_other_code_began_is_left_unless_it_is_kept(tmp_path: Path) -> None:
    """One of two members was begun by other code; the other one is run."""
    cells = tiny.cells()
    begun: Cell = cells[1]
    before = kept(pretend.run(tmp_path, begun, how="stopped"))
    site = tiny.site(tmp_path)
    site = dataclasses.replace(site, about=site.about | {METHOD_CODE: pretend.today("flow"), SHARED_CODE: "s"})
    result = run_pack(site, cells, lambda event: None, tiny.never)
    assert (result.failed, result.held) == ([], [])
    ((cell, text),) = result.changed
    assert cell == begun
    assert text.startswith(f"it was begun by other code of its method ({OTHER[:8]}, now ")
    assert kept(folder_of(tmp_path, begun.key)) == before
    assert state_of(folder_of(tmp_path, cells[0].key)) == "done"
    shutil.rmtree(folder_of(tmp_path, begun.key) / "checkpoint")
    result = run_pack(dataclasses.replace(site, keep_stale=True), cells, lambda event: None, tiny.never)
    assert (result.failed, result.changed) == ([], [])
    assert state_of(folder_of(tmp_path, begun.key)) == "done"
    assert not (folder_of(tmp_path, begun.key) / REFUSED).exists()


EDITING = """
from pathlib import Path
from benchmark.execution.code import Code
from benchmark.runs.fingerprint import Sources

def edit(name):
    path = Path("methods") / name
    path.write_text(path.read_text() + "\\n\\nMORE = 1\\n")

code = Code(Sources.read())
found = [code.was_edited("bon")]
edit("bon.py")                        # imported before: this process goes on with what it has
found += [code.was_edited("bon")]
edit("qam.py")                        # a parent that is imported with its child
found += [code.was_edited("qam_e"), code.was_edited("dsrl")]
edit("_diffusion.py")                 # what no method of this process has imported
found += [code.was_edited("fql"), code.was_edited("dac")]
before = Sources.read()
edit("cgql.py")                       # while a process imports what it is made of
code = Code(before)
found += [code.was_edited("bon"), code.was_edited("rebrac")]
print(found)
"""


@pytest.mark.slow
def test_a_method_that_is_edited_before_it_is_imported_is_noticed(tmp_path: Path) -> None:
    for package in ("benchmark", "envs", "methods"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", EDITING], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == str([False, False, True, False, False, True, True, True])
