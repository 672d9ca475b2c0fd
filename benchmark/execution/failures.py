"""Why runs failed: grouped by the class of the reason, with the last lines and the command that runs a cell here."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.execution.executors import fates_of_all
from benchmark.planning.plan import Cell, Pack
from benchmark.planning.words import counted
from benchmark.runs.attempts import attempts_of, starts_of
from benchmark.runs.records import Failure, folder_of
from envs._documents import DocumentError, read

LAST_LINES = 5
SHOWN = 5
"""Cells of one reason that are told one by one."""
LOST = {"CANCELLED": "Cancelled", "OUT_OF_MEMORY": "OutOfMemory", "NODE_FAIL": "NodeFailed", "FAILED": "Killed"}
"""Classes of what left no word itself, by what the scheduler says of its job; else it is Lost."""


def report(root: Path, packs: Sequence[Pack], states: Mapping[str, str]) -> list[str]:
    """Lines for people, the commonest reason first."""
    groups: dict[str, list[tuple[Cell, Pack]]] = defaultdict(list)
    fates = fates_of_all(root)
    for pack in packs:
        for cell in pack.cells:
            if states[cell.key] in ("failed", "lost"):
                groups[_reason(root, cell, states[cell.key], fates)["error"]].append((cell, pack))
    if not groups:
        return ["Nothing failed."]
    lines = []
    for error, members in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(f"{error}: {counted(len(members), 'cell')}")
        for cell, pack in members[:SHOWN]:
            lines += [f"  {each}" for each in _describe(root, cell, pack, states[cell.key], fates)]
        rest = Counter(f"{cell.method} on {cell.task}" for cell, _ in members[SHOWN:])
        lines += [f"  and {count} more of {name}" for name, count in rest.most_common()]
    return lines


def _attempt(root: Path, cell: Cell) -> dict[str, Any]:
    with contextlib.suppress(DocumentError):  # which status tells
        return next(reversed(starts_of(attempts_of(folder_of(root, cell.key))).values()), {})
    return {}


def _describe(root: Path, cell: Cell, pack: Pack, state: str, fates: Mapping[str, str]) -> list[str]:
    reason, attempt = _reason(root, cell, state, fates), _attempt(root, cell)
    where = f" on {attempt['host']}" if attempt.get("host") else ""
    job = f", job {attempt['slurm_job']}" if attempt.get("slurm_job") else ""
    told = [f"{cell.method} on {cell.task}, seed {cell.seed}{where}{job}: {reason['message']}"]
    told += [f"  | {line}" for line in last_lines(root, reason["message"], attempt.get("slurm_job", ""))]
    return [*told, f"  here: {command(pack, cell)}"]


def _reason(root: Path, cell: Cell, state: str, fates: Mapping[str, str]) -> dict[str, str]:
    if state == "lost":
        fate = fates.get(_attempt(root, cell).get("slurm_job", ""), "")
        said = f"SLURM says {fate}" if fate else "it was stopped, killed, or its machine went away"
        return {"error": LOST.get(fate, "Lost"), "message": f"it ended before it was done: {said}"}
    try:
        found = read(folder_of(root, cell.key) / "failed.json", Failure)
        return {"error": found.error, "message": found.message}
    except (FileNotFoundError, DocumentError) as error:
        return {"error": "Unreadable", "message": f"failed.json can't be read ({error})"}


def last_lines(root: Path, message: str, job: str) -> list[str]:
    """The end of the log that a message names, or of the job's."""
    named = re.search(r"see (/\S+\.log)", message)
    logs = [Path(named[1])] if named else sorted(root.glob(f"slurm/*/{job}_*_log.out")) if job else []
    if not logs or not logs[-1].is_file():
        return []
    lines = [line for line in logs[-1].read_text(errors="replace").splitlines() if line.strip()]
    return [line[:200] for line in lines[-LAST_LINES:]]


def command(pack: Pack, cell: Cell) -> str:
    """What runs this cell alone on this machine, in a folder of its own."""
    words = (*pack.words, "--seeds", str(cell.seed), "--executor", "local", "--jobs", "1", "--out", f"debug-{cell.key}")
    return "python -m benchmark.launch " + shlex.join(words)
