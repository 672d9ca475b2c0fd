"""Whether the code that a worker runs is the code that a run was begun, or sent, with."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import methods
from benchmark.planning.plan import Cell
from benchmark.runs.attempts import METHOD_CODE, SHARED_CODE, attempts_of, code_of
from benchmark.runs.fingerprint import Sources
from benchmark.runs.lease import holder
from benchmark.runs.records import LEASE, folder_of, refuse, state_of
from methods import UnavailableMethod

Left = list[tuple[Cell, str]]
"""Cells that are left as they are, each with a sentence."""


class Code:
    """The code of this process: what its files were before any of them was imported."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._torn = Sources.read().texts != sources.texts
        """Whether one changed while this process imported them."""

    def about(self, cell: Cell) -> dict[str, str]:
        """What the attempts of a cell's pack note as they begin."""
        return {METHOD_CODE: self.sources.method(cell.method)}

    def shared(self, cell: Cell) -> dict[str, str]:
        """What they note later, since it takes a moment to find."""
        return {SHARED_CODE: self.sources.shared(cell.configuration["suite"])}

    def was_edited(self, name: str) -> bool:
        """Whether files were imported that are not those that were read, so that nobody knows the method's code."""
        if self._torn or f"methods.{name}" in sys.modules:
            return self._torn
        with contextlib.suppress(UnavailableMethod):  # which its packs tell
            methods.load(name)
        now, modules = Sources.read(), self.sources.files_of(name)
        return any(now.texts.get(module) != self.sources.texts[module] for module in modules)


def left_as_sent(root: Path, cells: Sequence[Cell], codes: Mapping[str, str], code: Code, edited: bool) -> Left:
    """All cells of a pack that is not to be run, since its method is not the one that it was sent with."""
    method = cells[0].method
    found = code.about(cells[0])[METHOD_CODE]
    sent = codes.get(method, found)
    if edited:
        text = f"methods/{method}.py, or what it uses, was edited while its worker started"
    elif sent != found:
        text = f"the code of {method} is another than it was sent with ({sent[:8]}, now {found[:8] or 'none'})"
    else:
        return []
    left = [cell for cell in cells if state_of(folder_of(root, cell.key)) != "done"]
    for cell in left:
        if holder(folder_of(root, cell.key) / LEASE) is None:  # else it is somebody's who goes on with it
            refuse(root, cell, sent, found)
    return [(cell, text) for cell in left]


def left_as_begun(root: Path, cells: Sequence[Cell], mine: str) -> Left:
    """The cells that other code of their method began."""
    left: Left = []
    for cell in cells:
        code = code_of(attempts_of(folder_of(root, cell.key)), METHOD_CODE)
        if code and code != mine:
            refuse(root, cell, code, mine)
            left.append((cell, f"it was begun by other code of its method ({code[:8]}, now {mine[:8]})"))
    return left
