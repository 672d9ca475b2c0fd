"""What became of the runs under a folder: ``python -m benchmark.status [--out results] [--failed] [--watch]``.

The runs are those of the plans that were launched; one that is not wanted any more is forgotten by deleting its file.

States are computed, never stored: from the runs' own files first, then from one question to the scheduler. Exit status:
0 if every planned cell is done, 1 if some failed or are lost, 3 if some others are still on their way, 4 if nothing is
on its way and something is left.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from rich import box
from rich.console import Console
from rich.table import Table

import methods
from benchmark.execution import failures
from benchmark.execution.executors import Queued, queued_by_all
from benchmark.planning.errors import LaunchError, SettingsError
from benchmark.planning.plan import Cell, Pack
from benchmark.planning.portion import left
from benchmark.planning.words import counted
from benchmark.runs import estimate, plan_file
from benchmark.runs.attempts import METHOD_CODE, Lines, attempts_of, codes_of
from benchmark.runs.changed import SHORT, Changed, by_method, compare, told
from benchmark.runs.estimate import spoken
from benchmark.runs.fingerprint import Sources
from benchmark.runs.lease import holder
from benchmark.runs.plan_file import PlanFileError
from benchmark.runs.records import LEASE, REFUSED, Refused, folder_of, state_of
from envs._command_line import carried_out, option, parsed, place
from envs._documents import DocumentError, read

STATES = ("done", "running", "queued", "requeued", "failed", "lost", "stale", "planned")
"""``lost``: begun, and neither done nor failed, and nobody is at it; the launch command takes it up again. ``stale``:
made, or sent to be made, by other code of its method than today's, and nobody is at it; the launch command decides."""
BAD, MOVING = ("failed", "lost"), ("running", "queued", "requeued")
LEFT = (*BAD, "stale", "planned")
"""What the launch command takes up."""
WATCH_SECONDS = 60.0


@dataclass(frozen=True)
class Arguments:
    """Tell what became of the planned runs under a folder.

    Exit status: 0 if all are done, 1 if some failed or are lost, 3 if some others are still on their way, 4 if nothing
    is and something is left. A plan that is not wanted any more is forgotten by deleting its file under plans/.
    """

    out: Annotated[Path, option("DIR", "results")] = Path("results")
    """folder of the runs"""
    failed: Annotated[bool, option(usual="no")] = False
    """list what failed: why, the last lines of its log, and the command that runs the cell here"""
    watch: Annotated[bool, option(usual="no")] = False
    """look again every minute until nothing is on its way"""


@dataclass(frozen=True)
class Standing:
    """Every planned cell under a root: its pack, its state; and what the scheduler has."""

    packs: list[Pack]
    states: dict[str, str]
    queued: dict[str, Queued]
    attempts: dict[str, Lines]
    changed: Changed
    commands: list[str] = field(default_factory=list)
    """The launch commands of plans of which something is left."""
    unheard: str = ""
    """Why the scheduler could not be asked."""
    damaged: list[str] = field(default_factory=list)
    """Plans, and attempts of runs, that can't be read, each with a sentence."""

    @property
    def moves(self) -> bool:
        """Whether anything is on its way."""
        return bool(set(self.states.values()) & set(MOVING))

    @property
    def exit_status(self) -> int:
        found = set(self.states.values())
        if found & set(BAD) or self.damaged:
            return 1
        # Without the scheduler's word nobody knows that nothing is on its way.
        return 0 if found <= {"done"} else 3 if self.moves or self.unheard else 4


def cell_state(root: Path, key: str, queued: Mapping[str, Queued], stale: bool = False, refused: bool = False) -> str:
    """One of STATES; ``stale``: whether other code of its method made it; ``refused``: whether a job that was sent for
    it found other code than it was sent with, and so does whoever looks now."""
    folder = folder_of(root, key)
    state = state_of(folder)
    if state == "done":
        return "stale" if stale else state
    if state == "failed":  # a job that runs has been at it, and goes on with others
        return "queued" if key in queued and not queued[key].running else "stale" if stale else state
    if holder(folder / LEASE):
        return "running"
    if key in queued and not (queued[key].ending and _left_for_good(folder)):
        return "requeued" if state == "begun" else "queued"
    if stale or refused:
        return "stale"
    return "lost" if state == "begun" else state


def _was_refused(folder: Path, today: str) -> bool:
    try:
        return read(folder / REFUSED, Refused).sent != today
    except FileNotFoundError:
        return False
    except DocumentError:  # whatever it said, it was written by a job that refused
        return True


def _left_for_good(folder: Path) -> bool:
    """Whether a job that is ending will not begin again with this run: it did not go back into the queue by itself."""
    with contextlib.suppress(DocumentError):
        return next(reversed(attempts_of(folder)), {}).get("how") != "requeued"
    return True


def _distinct(plans: Iterable[plan_file.Stored]) -> list[Pack]:
    """The packs of several plans, each cell once."""
    packs: list[Pack] = []
    seen: set[str] = set()
    for pack in (pack for plan in plans for pack in plan.packs):
        new = [cell for cell in pack.cells if cell.key not in seen]
        packs += [pack.of(new)] if new else []
        seen |= {cell.key for cell in new}
    return packs


def look(root: Path) -> Standing:
    """Read every plan under a root. Raises PlanFileError, or LaunchError where there is none."""
    plans, damaged = plan_file.load_all(root)
    packs = _distinct(plans)
    if not packs:
        raise LaunchError(
            damaged[0]
            if damaged
            else f"there is no plan under {root}; launch something with --out {root}, or name another folder"
        )
    queued, unheard = {}, ""
    try:
        queued = queued_by_all(root)
    except LaunchError as error:
        unheard = str(error)
    cells = [cell for pack in packs for cell in pack.cells]
    attempts, illegible = _attempts(root, cells)
    there = set(methods.names())
    known = [cell for cell in cells if cell.method in there]
    changed = compare(root, known, attempts, {c.key: state_of(folder_of(root, c.key)) for c in cells}, Sources.read())
    no = {cell.key for cell in known if _was_refused(folder_of(root, cell.key), changed.today[cell.method])}
    states = {cell.key: cell_state(root, cell.key, queued, cell.key in changed.stale, cell.key in no) for cell in cells}
    left_over = [plan for plan in plans if any(states[c.key] in LEFT for pack in plan.packs for c in pack.cells)]
    commands = list(dict.fromkeys(plan.command for plan in left_over if plan.command))
    return Standing(packs, states, queued, attempts, changed, commands, unheard, damaged + illegible)


def _attempts(root: Path, cells: Iterable[Cell]) -> tuple[dict[str, Lines], list[str]]:
    """Those of each run by its key, none where they can't be read; and a sentence for each of these."""
    found: dict[str, Lines] = {}
    damaged = []
    for cell in cells:
        try:
            found[cell.key] = attempts_of(folder_of(root, cell.key))
        except DocumentError as error:
            found[cell.key] = []
            damaged.append(str(error))
    return found, damaged


def table(standing: Standing) -> Table:
    """A row for each suite, preset and method."""
    counts: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for key, cell in _cells(standing).items():
        counts[cell.configuration["suite"], cell.configuration["preset"], cell.method][standing.states[key]] += 1
    shown = [state for state in STATES if any(count[state] for count in counts.values())]
    grid = Table("suite", "preset", "method", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for state in shown:
        grid.add_column(state, justify="right")
    for name, count in sorted(counts.items()):
        grid.add_row(*name, *(str(count[state] or "") for state in shown))
    return grid


def _cells(standing: Standing) -> dict[str, Cell]:
    return {cell.key: cell for pack in standing.packs for cell in pack.cells}


def summary(root: Path, standing: Standing) -> list[str]:
    """Counts, what the rest will cost, and what somebody has to do."""
    counts = Counter(standing.states.values())
    lines = [
        f"{counted(counts.total(), 'cell')}: "
        + ", ".join(f"{state} {counts[state]}" for state in STATES if counts[state])
    ]
    free = standing.changed.back
    if rest := left(standing.packs, lambda cell: standing.states[cell.key] != "done" and cell.key not in free):
        cells = _cells(standing)
        done = (
            (cell, standing.attempts[key]) for key, cell in cells.items() if standing.states[key] in ("done", "stale")
        )
        lines.append(
            f"the rest takes {spoken(estimate.estimate(rest, estimate.measured(done)).device_seconds, 'device')}"
        )
    if counts["failed"]:
        lines.append(f"why they failed: python -m benchmark.status --out {root} --failed")
    if any(counts[state] for state in LEFT):
        mend = [f"  {command}" for command in standing.commands] or ["  their launch command, given again"]
        lines += [f"what is {' or '.join(state for state in LEFT if counts[state])} is taken up by", *mend]
    lines += code_lines(standing)
    if standing.unheard:
        lines.append(f"the scheduler can't be asked, so that what it has seems planned or lost: {standing.unheard}")
    lines += standing.damaged
    reasons = Counter(
        standing.queued[key].reason for key, state in standing.states.items() if state in ("queued", "requeued")
    )
    if reasons:
        told_of = ", ".join(f"{reason} ({counted(count, 'cell')})" for reason, count in reasons.most_common())
        lines.append(f"they wait for: {told_of}")
    held = {each.job: each.reason for each in standing.queued.values() if "held" in each.reason.lower()}
    lines += [f"job {job} is held ({reason}): scontrol release {job}" for job, reason in sorted(held.items())]
    return lines


def code_lines(standing: Standing) -> list[str]:
    """What other code made, and where runs that are done were made by several."""
    cells, lines = _cells(standing), []
    if standing.changed.back:
        back = by_method(standing.changed.back, cells)
        lines.append(f"set aside, and by today's code: {back}; the launch command takes them back")
    refused = [key for key, state in standing.states.items() if state == "stale" and key not in standing.changed.stale]
    if refused:
        why = "their jobs found other code of their method than they were sent with, and left them"
        lines.append(f"stale, since {why}: {by_method(refused, cells)}")
    others = standing.changed.stale.keys() - standing.changed.back
    if stale := [key for key in sorted(others) if standing.states[key] == "stale"]:
        mend = "the launch command with --stale rerun makes them anew, with --stale keep counts them as they are"
        lines.append(f"stale, by other code of their method: {by_method(stale, cells)}; {mend}")
    made: dict[str, Counter[str]] = defaultdict(Counter)
    for key, cell in cells.items():
        if standing.states[key] in ("done", "stale") and (codes := codes_of(standing.attempts[key], METHOD_CODE)):
            made[cell.method]["+".join(code[:SHORT] for code in codes)] += 1
    lines += [
        f"mixed code of {name}: "
        + ", ".join(f"{code} ({counted(count, 'run')})" for code, count in counts.most_common())
        for name, counts in sorted(made.items())
        if len(counts) > 1 or any("+" in code for code in counts)
    ]
    return lines + told(standing.changed)


def show(root: Path, arguments: Arguments, console: Console) -> Standing:
    """Print it once."""
    standing = look(root)
    if arguments.failed:
        for line in failures.report(root, standing.packs, standing.states):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(table(standing))
        for line in summary(root, standing):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    return standing


def run(words: list[str]) -> int:
    arguments = parsed(Arguments, "python -m benchmark.status", words)
    root, console = place(arguments.out), Console()
    while (standing := show(root, arguments, console)).moves and arguments.watch:
        time.sleep(WATCH_SECONDS)
    return standing.exit_status


if __name__ == "__main__":
    sys.exit(carried_out(run, LaunchError, PlanFileError, SettingsError))
