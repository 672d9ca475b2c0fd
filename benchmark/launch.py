"""The command line: ``python -m benchmark.launch --suite ogbench --methods all``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

import methods
from benchmark.arguments import Arguments, parse, requested
from benchmark.execution.executors import EXECUTORS, Order, Outcome, Queued, load_executor, queued_by_all
from benchmark.execution.machine import about_this_code, cores, slurm_answers
from benchmark.execution.progress import Bar, Progress, duration
from benchmark.planning.errors import LaunchError, SettingsError, check_word
from benchmark.planning.plan import PROTOCOL, Pack, Plan, identities, make
from benchmark.planning.portion import left, ordered, taken
from benchmark.planning.request import check_suite
from benchmark.planning.settings import presets
from benchmark.runs import checkpoint, estimate, plan_file
from benchmark.runs.records import folder_of, state_of
from benchmark.tracking import tracker as tracking
from benchmark.tracking.pusher import Pusher
from envs import load_suite
from envs._command_line import carried_out
from envs._suite import SuiteError


def choose(arguments: Arguments) -> tuple[str, str, str]:
    """Preset, executor, and the line that says why."""
    check_suite(arguments.suite)
    known = presets(arguments.suite)
    asked = not (arguments.preset and arguments.executor) and not arguments.profile
    answers = asked and slurm_answers()
    preset = arguments.preset or ("paper" if (answers or arguments.profile) and "paper" in known else "quick")
    executor = arguments.executor or ("slurm" if preset == "paper" or arguments.profile else "local")
    check_word("executor", executor, EXECUTORS)
    why = "as asked" if not asked else "a SLURM controller answers" if answers else "no SLURM controller answers"
    line = (
        f"Preset {preset}, executor {executor} ({why}); "
        f"choose with --preset {'|'.join(known)} and --executor {'|'.join(EXECUTORS)}."
    )
    return preset, executor, line


def data_taken(plan: Plan) -> list[str]:
    """What the plan trains on, with the number of datasets of each provenance where there are several."""
    told = load_suite(plan.suite).provenance
    kinds = Counter(told(identity) for identity in identities(plan.packs))
    if kinds.total() > 3:
        return [f"{count} {provenance}" for provenance, count in sorted(kinds.items())]
    return [f"{identity['name']} ({told(identity)})" for identity in identities(plan.packs)]


@dataclass(frozen=True)
class Work:
    """A plan as it stands: the state of each cell by its key, and the packs that this launch takes, in their order."""

    states: dict[str, str]
    queued: dict[str, Queued]
    packs: list[Pack]
    cost: estimate.Estimate
    later: int
    """Cells that a limit or budget leaves for another launch."""


def look(plan: Plan, arguments: Arguments, executor: str = "local") -> Work:
    """What is done, what others have, and what is left to take. Raises LaunchError where a scheduler that packs will
    be sent to does not say what it has; for others it matters little, since a cell that runs is leased."""
    root = arguments.out.expanduser().resolve()
    states = {cell.key: state_of(folder_of(root, cell.key)) for cell in plan.cells}
    try:
        queued = queued_by_all(root)
    except LaunchError:
        if executor != "local" and not arguments.dry_run:
            raise
        queued = {}
    rates = estimate.measured_rates(root, plan.packs)
    seconds = partial(estimate.pack_seconds, rates=rates)
    begun = {pack.kind for pack in plan.packs if any(states[c.key] == "done" or c.key in queued for c in pack.cells)}
    open_ = left(plan.packs, lambda cell: states[cell.key] != "done" and cell.key not in queued)
    packs = taken(
        ordered(open_, arguments.order, seconds, begun), arguments.limit, 3600 * arguments.budget_hours, seconds
    )
    count = sum(len(pack.cells) for pack in open_) - sum(len(pack.cells) for pack in packs)
    return Work(states, queued, packs, estimate.estimate(packs, rates), count)


def hours(seconds: float) -> str:
    """To a tenth, or small ones to three digits."""
    return f"{seconds / 3600:,.1f}" if seconds >= 3600 else f"{seconds / 3600:.3g}"


def summarise(plan: Plan, work: Work) -> list[str]:
    """The plan in a few lines: what there is, what is done, what the rest will cost."""
    counts = Counter(work.states.values())
    count = sum(len(pack.cells) for pack in work.packs)
    names = {cell.method for cell in plan.cells}, {cell.task for cell in plan.cells}, {cell.seed for cell in plan.cells}
    methods_, tasks, seeds = map(len, names)
    more = len(plan.packs) - methods_ * tasks
    swept = f" and {more} packs more for swept values" if more else ""
    cost, basis = work.cost, f"{work.cost.measured} of {len(work.packs)} packs timed before, the rest by declared costs"
    mine = [work.queued[cell.key] for cell in plan.cells if cell.key in work.queued and work.states[cell.key] != "done"]
    others = f", with the scheduler {len(mine)}" if mine else ""
    others += f", left for later {work.later}" if work.later else ""
    lines = [
        f"{len(plan.cells)} cells in {len(plan.packs)} packs: {methods_} methods x {tasks} tasks x {seeds} seeds"
        f"{swept} (suite {plan.suite}, preset {plan.preset})",
        f"data: {', '.join(data_taken(plan))}",
        f"done {counts['done']}, begun {counts['begun']}, failed before {counts['failed']}{others}, to do {count}",
        f"to do: {cost.updates:,} updates, about {hours(cost.device_seconds)} device-hours "
        f"({duration(cost.device_seconds)} on one device; {basis}), up to {cost.memory / 2**30:.1f} GiB in one pack",
    ]
    return lines + [f"unavailable: {reason}" for reason in methods.available()[1].values()]


def make_writable(root: Path) -> None:
    try:
        (root / "runs").mkdir(parents=True, exist_ok=True)
        probe = root / "runs" / f".probe-{os.getpid()}"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise LaunchError(f"cannot write to {root} ({error.strerror}); give another folder with --out") from error


def order_of(plan: Plan, packs: list[Pack], arguments: Arguments) -> Order:
    root, data = arguments.out.expanduser().resolve(), arguments.data_dir.expanduser().resolve()
    about = about_this_code(plan.name)
    site = {"root": str(root), "data": str(data), "about": about, "keep": arguments.keep}
    return Order(plan, packs, site, arguments.jobs or cores(), arguments.profile or "gpu", arguments.retry)


def execute(order: Order, work: Work, arguments: Arguments, executor: Any, console: Console) -> int:
    """Data, runs, records into MLflow, leaderboard; the exit status."""
    root, plan = Path(order.site["root"]), order.plan
    uri, experiment = tracking.default_uri(root), f"{plan.suite}/v{PROTOCOL}"
    prepare_tracking(uri, experiment, root, None if executor.WAITS else console)
    folders = [folder_of(root, cell.key) for cell in plan.cells]
    for key in (key for key, state in work.states.items() if state == "done"):
        checkpoint.sweep(folder_of(root, key) / "checkpoint")
    pusher = Pusher(tracking.Tracker(uri, experiment), lambda: folders)
    outcome = Outcome()
    if work.packs:
        new = write_plan(root, plan, order.site["data"])
        try:
            prepare_data(order, arguments, console)
            pusher.start()
            with Progress(console, len(work.packs)) as progress:
                outcome = executor.run(order, progress.hear)
        except LaunchError:
            if new:  # nothing of it was begun
                plan_file.path_of(root, plan.name).unlink(missing_ok=True)
            raise
    else:
        console.print(nothing_to_do(work), markup=False, highlight=False, soft_wrap=True)
    if not executor.WAITS:
        console.print("\n".join(outcome.submitted), markup=False, highlight=False, soft_wrap=True)
        pusher.finish()
        return report(outcome, [])
    problems = pusher.finish()
    if outcome.stopped:
        report(outcome, problems)
        print("Stopped. Run the same command again to go on from the last checkpoints.", file=sys.stderr)
        return 130
    status = show_leaderboard(root, uri)
    return report(outcome, problems) or status


def prepare_tracking(uri: str, experiment: str, root: Path, console: Console | None) -> None:
    """Store and experiment. A server that is away keeps nobody from sending jobs (``console``), whose records wait."""
    try:
        tracking.prepare(uri, experiment, root / "artifacts")
    except tracking.TrackingError as error:
        if console is None or uri.startswith("sqlite"):
            raise
        console.print(f"tracking: {error} Runs go on without it.", markup=False, highlight=False, soft_wrap=True)


def nothing_to_do(work: Work) -> str:
    """Why no pack is taken."""
    waiting = sum(state != "done" and key in work.queued for key, state in work.states.items())
    if work.later:
        return f"Nothing to do: not one of {work.later} cells fits into the limit or budget."
    if waiting:
        ending = any(each.ending for each in work.queued.values())
        more = ", some in jobs that are ending: give the command again in a moment" if ending else ""
        return f"Nothing to send: {waiting} cells are with the scheduler{more} (python -m benchmark.status)."
    return "Nothing to do: every cell is done."


def write_plan(root: Path, plan: Plan, data: str) -> bool:
    """Whether it was not there before."""
    new = not plan_file.path_of(root, plan.name).exists()
    try:
        plan_file.save(root, plan, data)
        return new
    except OSError as error:
        raise LaunchError(
            f"cannot write the plan to {root} ({error.strerror}); make room, or give another --out"
        ) from error


def prepare_data(order: Order, arguments: Arguments, console: Console) -> None:
    """Find, download or generate what the packs of an order train on."""
    suite, folder = load_suite(order.plan.suite), Path(order.site["data"])
    address = arguments.mirror if arguments.mirror or arguments.data == "official" else None
    try:
        for identity in identities(order.packs):
            suite.prepare(identity, folder, address, order.jobs, Bar(console))
    except OSError as error:
        raise LaunchError(f"cannot prepare the data ({error}); mend it, or give another --data-dir") from error


def show_leaderboard(root: Path, uri: str) -> int:
    """The leaderboard is a program of its own, which reads MLflow alone."""
    store = uri if "MLFLOW_TRACKING_URI" in os.environ else str(root)
    command = [sys.executable, "-m", "analysis.leaderboard", "--store", store, "--out", str(root)]
    sys.stdout.flush()
    return subprocess.run(command, check=False).returncode


def report(outcome: Outcome, problems: list[str]) -> int:
    """List what went wrong, and what others do; 1 if anything did."""
    if outcome.failed:
        print(f"{len(outcome.failed)} cells failed; run the same command again to try them once more:", file=sys.stderr)
        for cell, text in outcome.failed:
            print(f"  {cell.method} on {cell.task}, seed {cell.seed}: {text}", file=sys.stderr)
    if outcome.held:
        print(f"{len(outcome.held)} cells were left to other processes:", file=sys.stderr)
        for cell, text in outcome.held:
            print(f"  {cell.method} on {cell.task}, seed {cell.seed}: {text}", file=sys.stderr)
    for problem in problems:
        print(f"tracking: {problem}", file=sys.stderr)
    if outcome.refused:
        print(outcome.refused, file=sys.stderr)
    return int(bool(outcome.failed or problems or outcome.refused))


def run(words: list[str]) -> int:
    """Carry out a command line; the exit status."""
    arguments = parse(words)
    preset, name, line = choose(arguments)
    plan = make(requested(arguments, preset), arguments.data_dir.expanduser())
    work = look(plan, arguments, name)
    # A wrong command leaves standard output empty, so nothing is printed before the plan stands.
    executor = load_executor(name)
    order = order_of(plan, work.packs, arguments)
    if not arguments.dry_run:
        executor.check(order)
        make_writable(arguments.out.expanduser())
    preview = executor.preview(order) if arguments.dry_run else []
    console = Console()
    for text in (line, *summarise(plan, work), *preview):
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    return 0 if arguments.dry_run else execute(order, work, arguments, executor, console)


def main() -> None:
    # A terminal that closes or a scheduler that ends us means what Ctrl-C means: save, and say how to go on.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) != signal.SIG_IGN:  # nohup asks to be left alone
            signal.signal(ending, signal.default_int_handler)
    sys.exit(carried_out(run, LaunchError, SettingsError, SuiteError, tracking.TrackingError))


if __name__ == "__main__":
    main()
