"""A plan as it stands under a root: what is done, what others have, what other code made, and what a launch takes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmark.execution.executors import Queued, queued_by_all
from benchmark.planning.data_files import available
from benchmark.planning.errors import LaunchError, in_short
from benchmark.planning.plan import Pack, Plan, identities
from benchmark.planning.portion import left, ordered, taken
from benchmark.planning.words import counted
from benchmark.runs import estimate
from benchmark.runs.attempts import attempts_of
from benchmark.runs.changed import Changed, by_method, compare, told
from benchmark.runs.estimate import spoken
from benchmark.runs.fingerprint import Sources
from benchmark.runs.lease import LeaseHeld, holder
from benchmark.runs.records import LEASE, folder_of, state_of
from benchmark.runs.superseded import place_of, set_aside, take_back
from envs import load_suite

RERUN, KEEP, REFUSE = STALE = ("rerun", "keep", "refuse")
"""What becomes of runs that other code of their method made."""
MUCH = 2**27
"""Bytes of one pack from which on they are worth a word."""


@dataclass(frozen=True)
class Portion:
    """How much of what is left a launch takes, in which order; 0 is no limit."""

    order: str
    limit: int = 0
    budget_seconds: float = 0.0


@dataclass(frozen=True)
class Work:
    """``states``: of each cell by its key, as it is once runs of other code are settled; ``packs``: what this launch
    takes, in order, with the device seconds that each is ``expected`` to take."""

    states: dict[str, str]
    queued: dict[str, Queued]
    changed: Changed
    stale: str
    busy: frozenset[str]
    """Runs of other code, or to take back, that somebody works on, or that a scheduler has or may have."""
    packs: list[Pack] = field(default_factory=list)
    expected: dict[str, float] = field(default_factory=dict)
    cost: estimate.Estimate = estimate.NOTHING
    later: int = 0
    """Cells that a limit or budget leaves for another launch."""
    lost: float = 0.0
    """Device seconds that it would take to make what is ``undecided`` anew."""

    @property
    def again(self) -> list[str]:
        """Runs to set aside and make anew: those of other code that this launch takes."""
        mine = [cell.key for pack in self.packs for cell in pack.cells]
        stale = self.changed.stale.keys() - self.back
        return [key for key in mine if key in stale] if self.stale == RERUN else []

    @property
    def back(self) -> frozenset[str]:
        """Runs to take back, in place of those by other code; where these are kept, only if there is none."""
        kept = self.changed.stale if self.stale == KEEP else ()
        return self.changed.back.difference(self.busy, kept)

    @property
    def undecided(self) -> list[str]:
        """Runs of other code that nobody works on and that nothing is there for."""
        settled = self.busy | self.changed.back
        return [key for key in self.changed.stale if key not in settled]


def look(root: Path, plan: Plan, portion: Portion, stale: str, must_hear: bool = False) -> Work:
    """What is done, what others have, and what is left to take. Raises LaunchError where a scheduler that packs will
    be sent to does not say what it has (``must_hear``); for others it matters little, since a cell that runs is
    leased."""
    cells = {cell.key: cell for cell in plan.cells}
    folders = {key: folder_of(root, key) for key in cells}
    states = {key: state_of(folder) for key, folder in folders.items()}
    attempts = {key: attempts_of(folders[key]) if state != "planned" else [] for key, state in states.items()}
    queued = _queued(root, must_hear)
    changed = compare(root, plan.cells, attempts, states, Sources.read())
    other = changed.stale.keys() | changed.back
    busy = frozenset(key for key in other if queued is None or key in queued or holder(folders[key] / LEASE))
    before = estimate.measured((cells[key], attempts[key]) for key, state in states.items() if state == "done")
    anew = {key: "planned" for key in changed.stale if stale == RERUN and key not in busy}
    back = changed.back.difference(busy, changed.stale if stale == KEEP else ())
    states |= anew | {key: state_of(place_of(root, key, changed.today[cells[key].method])) for key in back}
    return _taken(plan, portion, before, Work(states, queued or {}, changed, stale, busy))


def _taken(plan: Plan, portion: Portion, before: estimate.Measured, work: Work) -> Work:
    """The work with the packs that a portion of it takes."""
    states, queued = work.states, work.queued
    others = queued.keys() | work.busy
    seconds = partial(estimate.pack_seconds, before=before)
    begun = {pack.kind for pack in plan.packs if any(states[c.key] == "done" or c.key in queued for c in pack.cells)}
    open_ = left(plan.packs, lambda cell: states[cell.key] != "done" and cell.key not in others)
    packs = taken(ordered(open_, portion.order, seconds, begun), portion.limit, portion.budget_seconds, seconds)
    later = sum(len(pack.cells) for pack in open_) - sum(len(pack.cells) for pack in packs)
    undecided = set(work.undecided)
    return dataclasses.replace(
        work,
        packs=packs,
        expected=estimate.expected(packs, before),
        cost=estimate.estimate(packs, before),
        later=later,
        lost=sum(map(seconds, left(plan.packs, lambda cell: cell.key in undecided))),
    )


def _queued(root: Path, must_hear: bool) -> dict[str, Queued] | None:
    """What schedulers have; None where one does not say."""
    try:
        return queued_by_all(root)
    except LaunchError:
        if must_hear:
            raise
        return None


def settle(root: Path, plan: Plan, work: Work) -> list[str]:
    """Set aside what this launch makes anew, take back what today's code made; a line for each that was done."""
    cells = {cell.key: cell for cell in plan.cells}
    aside, back, left = [], [], []
    for key in sorted({*work.again, *work.back}):
        today = work.changed.today[cells[key].method]
        try:
            aside += [key] if key in work.changed.stale and set_aside(root, key, today) else []
            if key in work.back:
                taken = take_back(root, key, today)
                back += [key] if taken else []
                left += [] if taken else [f"{key} could not be taken back: another run is in its place"]
        except (LeaseHeld, OSError) as error:
            left.append(f"{key} is left as it is: {error}")
    lines = [f"set aside, under {root / 'superseded'}: {by_method(aside, cells)}"] if aside else []
    return lines + ([f"taken back: {by_method(back, cells)}"] if back else []) + left


def unsettle(root: Path, plan: Plan, work: Work) -> None:
    """Take back what was set aside for packs that could not be sent."""
    codes = work.changed.stale
    for key in work.again:
        with contextlib.suppress(LeaseHeld, OSError):
            take_back(root, key, codes[key])


def check_stale(work: Work) -> None:
    """Raise LaunchError where runs of other code are to be neither made anew nor kept before somebody decides."""
    if work.stale == REFUSE and work.undecided:
        raise LaunchError(refusal(work))


def refusal(work: Work) -> str:
    return (
        f"by other code of their method: {counted(len(work.undecided), 'run')}, {spoken(work.lost, 'device')} of work; "
        "say --stale rerun to make them anew, or --stale keep to count them as they are"
    )


def summarise(plan: Plan, work: Work, workers: int = 0) -> list[str]:
    """The plan in a few lines: what there is, what is done, what the rest will cost, on so many workers here."""
    counts = Counter(work.states.values())
    count = sum(len(pack.cells) for pack in work.packs)
    mine = [work.queued[cell.key] for cell in plan.cells if cell.key in work.queued and work.states[cell.key] != "done"]
    others = f", with the scheduler {len(mine)}" if mine else ""
    others += f", left for later {work.later}" if work.later else ""
    return [
        *_extent(plan),
        f"data: {', '.join(data_taken(plan))}",
        f"done {counts['done']}, begun {counts['begun']}, failed before {counts['failed']}{others}, to do {count}",
        *code_lines(plan, work),
        *(_cost(work, workers) if work.packs else []),
        *(f"unavailable: {reason}" for reason in available()[1].values()),
        *(f"left out: {reason}" for reason in plan.unfit.values()),
    ]


def _cost(work: Work, workers: int) -> list[str]:
    """What is to do, and how long that takes."""
    cost, packs = work.cost, counted(len(work.packs), "pack")
    basis = f"{cost.measured} of {packs} timed before, the rest by declared costs"
    here = ""
    if workers:  # a pack is one worker's
        longest = max(work.expected.values())
        seconds = max(cost.device_seconds / workers, longest)
        here = f", {spoken(seconds)} with {counted(workers, 'worker')} here"
    sizes = {"memory": cost.memory, "disk": cost.disk}
    much = [f"{size / 2**30:.1f} GiB of {what}" for what, size in sizes.items() if size > MUCH]
    room = f", up to {' and '.join(much)} for one pack" if much else ""
    return [f"to do: {cost.updates:,} updates, {spoken(cost.device_seconds, 'device')}{here} ({basis}){room}"]


def _extent(plan: Plan) -> list[str]:
    """How many cells, and of what."""
    names, tasks = (list(dict.fromkeys(each)) for each in zip(*((c.method, c.task) for c in plan.cells), strict=True))
    seeds = {cell.seed for cell in plan.cells}
    pairs = {(cell.method, cell.task) for cell in plan.cells}
    more, fewer = len(plan.packs) - len(pairs), len(names) * len(tasks) - len(pairs)
    swept = f" but for {counted(fewer, 'pair')} of method and task (see left out)" if fewer else ""
    swept += f" and {counted(more, 'pack')} more for swept values" if more else ""
    whole = f"{counted(len(plan.cells), 'cell')} in {counted(len(plan.packs), 'pack')}"
    sides = f"{counted(len(names), 'method')} x {counted(len(tasks), 'task')} x {counted(len(seeds), 'seed')}"
    return [
        f"{whole}: {sides}{swept} (suite {plan.suite}, preset {plan.preset})",
        f"methods: {', '.join(names)}",
        f"tasks: {', '.join(in_short(tasks))}",
    ]


def code_lines(plan: Plan, work: Work) -> list[str]:
    """What differs in code, and what becomes of it."""
    cells, changed = {cell.key: cell for cell in plan.cells}, work.changed
    stale = [key for key in changed.stale if key not in work.busy] if work.stale == KEEP else work.undecided
    lines = []
    if stale and work.stale == REFUSE:
        lines.append(f"refused: {refusal(work)}")
    elif stale:
        now = len(work.again)
        anew = "made anew" if now == len(stale) else f"{now} of them made anew now"
        fate = "kept (--stale keep)" if work.stale == KEEP else f"{anew} (--stale keep keeps them)"
        many = counted(len(stale), "run")
        lines.append(f"by other code of their method: {many} ({by_method(stale, cells)}); {fate}")
    if work.back:
        back = by_method(work.back, cells)
        lines.append(f"set aside before, and by today's code: {counted(len(work.back), 'run')} ({back}); taken back")
    if work.busy:
        lines.append(f"by other code, and being worked on: {counted(len(work.busy), 'run')}; left")
    return lines + told(changed)


def data_taken(plan: Plan) -> list[str]:
    """What the plan trains on, with the number of datasets of each provenance where there are several."""
    kind = load_suite(plan.suite).provenance
    kinds = Counter(kind(identity) for identity in identities(plan.packs))
    if kinds.total() > 3:
        return [f"{count} {provenance}" for provenance, count in sorted(kinds.items())]
    return [f"{identity['name']} ({kind(identity)})" for identity in identities(plan.packs)]
