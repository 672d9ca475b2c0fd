"""The command line: ``python -m benchmark.launch --suite ogbench --methods all``."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmark.arguments import Arguments, parse, requested
from benchmark.execution import environment
from benchmark.execution.executors import EXECUTORS, Order, Outcome, load_executor
from benchmark.execution.machine import about_this_code, slurm_answers, version_lines
from benchmark.execution.progress import Bar, Progress
from benchmark.execution.work import KEEP, REFUSE, RERUN, Portion, Work, check_stale, look, settle, summarise, unsettle
from benchmark.planning.data_files import presets
from benchmark.planning.errors import LaunchError, SettingsError, check_word
from benchmark.planning.listing import listing
from benchmark.planning.plan import PROTOCOL, Plan, identities, make
from benchmark.planning.request import check_suite
from benchmark.planning.words import counted
from benchmark.runs import checkpoint, plan_file
from benchmark.runs.records import folder_of
from benchmark.runs.superseded import all_of
from benchmark.tracking.address import TrackingError, default_uri
from benchmark.tracking.pusher import Pusher
from benchmark.tracking.store import prepare
from benchmark.tracking.tracker import Tracker
from benchmark.training.fit import fitting
from envs import load_suite
from envs._addresses import shown
from envs._command_line import carried_out, place
from envs._processors import cores
from envs._suite import SuiteError


def choose(arguments: Arguments) -> tuple[str, str, str]:
    """Preset, executor, and the line that says why."""
    check_suite(arguments.suite)
    known = presets(arguments.suite)
    looked = not arguments.preset and not arguments.profile
    answers = looked and slurm_answers()
    preset = arguments.preset or ("paper" if (answers or arguments.profile) and "paper" in known else "quick")
    executor = arguments.executor or ("slurm" if preset == "paper" or arguments.profile else "local")
    check_word("executor", executor, EXECUTORS)
    if looked:
        why = f"{'a' if answers else 'no'} SLURM controller answers"
    else:
        why = "as asked" if arguments.executor or arguments.profile else "which that preset is for"
    line = (
        f"Preset {preset}, executor {executor} ({why}); "
        f"choose with --preset {'|'.join(known)} and --executor {'|'.join(EXECUTORS)}."
    )
    return preset, executor, line


def check_words(arguments: Arguments, executor: str, plan: Plan) -> None:
    """Raise where a word would do nothing, which whoever said it can't have meant."""
    if arguments.retry and executor == "local":
        raise LaunchError(
            "--retry and --executor local: what failed here is tried again as it is; leave --retry out, or send the "
            "runs to a cluster"
        )
    if arguments.mirror and all(identity["source"] != "official" for identity in identities(plan.packs)):
        raise LaunchError(
            f"--mirror {shown(arguments.mirror)} is where official data come from, and this plan has none; leave it "
            "out, or say --data official"
        )


def make_writable(root: Path) -> None:
    try:
        (root / "runs").mkdir(parents=True, exist_ok=True)
        probe = root / "runs" / f".probe-{os.getpid()}"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise LaunchError(f"cannot write to {root} ({error.strerror}); give another folder with --out") from error


def order_of(plan: Plan, work: Work, arguments: Arguments) -> Order:
    root, data = place(arguments.out), place(arguments.data_dir)
    about = about_this_code(plan.name)
    codes = {name: work.changed.today[name] for name in {pack.first.method for pack in work.packs}}
    site = {"root": str(root), "data": str(data), "about": about, "keep": arguments.keep}
    site |= {"codes": codes, "keep_stale": work.stale == KEEP}
    jobs = arguments.jobs or cores()
    return Order(plan, work.packs, site, jobs, arguments.profile or "gpu", arguments.retry)


def execute(order: Order, work: Work, arguments: Arguments, executor: Any, console: Console, again: str) -> int:
    """Data, runs, records into MLflow, leaderboard; the exit status. ``again``: the command that goes on with it."""
    root, plan = Path(order.site["root"]), order.plan
    uri, experiment = default_uri(root), f"{plan.suite}/v{PROTOCOL}"
    prepare_tracking(uri, experiment, root, None if executor.WAITS else console)
    for key in (key for key, state in work.states.items() if state == "done"):
        checkpoint.sweep(folder_of(root, key) / "checkpoint")
    pusher = Pusher(Tracker(uri, experiment), partial(folders_of, root, list(work.states)))
    outcome = Outcome()
    if work.packs:
        new = write_plan(root, plan, order.site["data"], again)
        try:
            prepare_data(order, arguments, console)
            tell_settled(root, plan, work, console)
            pusher.start()
            with Progress(console, len(work.packs), work.expected, order.jobs) as progress:
                outcome = executor.run(order, progress.hear)
        except (LaunchError, SuiteError):
            unsettle(root, plan, work)
            if new:  # nothing of it was begun
                plan_file.path_of(root, plan.name).unlink(missing_ok=True)
            raise
    else:
        tell_settled(root, plan, work, console)
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


def folders_of(root: Path, keys: list[str]) -> list[Path]:
    """Where the records of runs lie: of those that were set aside too, which go first, so that they are known."""
    return [*all_of(root, keys), *(folder_of(root, key) for key in keys)]


def tell_settled(root: Path, plan: Plan, work: Work, console: Console) -> None:
    for line in settle(root, plan, work):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def prepare_tracking(uri: str, experiment: str, root: Path, console: Console | None) -> None:
    """Store and experiment. A server that is away keeps nobody from sending jobs (``console``), whose records wait."""
    try:
        prepare(uri, experiment, root / "artifacts")
    except TrackingError as error:
        if console is None or uri.startswith("sqlite"):
            raise
        console.print(f"tracking: {error} Runs go on without it.", markup=False, highlight=False, soft_wrap=True)


def nothing_to_do(work: Work) -> str:
    """Why no pack is taken."""
    waiting = sum(state != "done" and key in work.queued for key, state in work.states.items())
    if work.later:
        return f"Nothing to do: not one of {counted(work.later, 'cell')} fits into the limit or budget."
    if waiting:
        ending = any(each.ending for each in work.queued.values())
        more = ", some in jobs that are ending: give the command again in a moment" if ending else ""
        return f"Nothing to send: {counted(waiting, 'cell')} with the scheduler{more} (python -m benchmark.status)."
    if work.busy:
        return f"Nothing to do: {counted(len(work.busy), 'run')} by other code are others' work at present, and left."
    return "Nothing to do: every cell is done."


def write_plan(root: Path, plan: Plan, data: str, command: str) -> bool:
    """Whether it was not there before."""
    new = not plan_file.path_of(root, plan.name).exists()
    try:
        plan_file.save(root, plan, data, command)
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
    for cells, what in (
        (outcome.failed, "failed; run the same command again to try them once more"),
        (outcome.held, "left to other processes"),
        (outcome.changed, "left, since code changed; run the same command again"),
    ):
        if cells:
            print(f"{counted(len(cells), 'cell')} {what}:", file=sys.stderr)
        for cell, text in cells:
            print(f"  {cell.method} on {cell.task}, seed {cell.seed}: {text}", file=sys.stderr)
    for problem in problems:
        print(f"tracking: {problem}", file=sys.stderr)
    if outcome.refused:
        print(outcome.refused, file=sys.stderr)
    return int(bool(outcome.failed or problems or outcome.refused or outcome.changed))


def run(words: list[str]) -> int:
    """Carry out a command line; the exit status."""
    if "--version" in words:
        print("\n".join(version_lines()))
        return 0
    arguments = parse(words)
    preset, name, line = choose(arguments)
    request = requested(arguments, preset)
    if arguments.list:
        print("\n".join(listing(request, [] if arguments.methods == "all" else list(request.methods))))
        return 0
    plan = make(request, place(arguments.data_dir))
    with Console(stderr=True).status("asking each method whether it fits"):
        plan = fitting(plan, request.every)
    check_words(arguments, name, plan)
    portion = Portion(arguments.order, arguments.limit or 0, 3600 * (arguments.budget_hours or 0))
    stale = arguments.stale or (RERUN if name == "local" else REFUSE)
    root = place(arguments.out)
    work = look(root, plan, portion, stale, name != "local" and not arguments.dry_run)
    # A wrong command leaves standard output empty, so nothing is printed before the plan stands.
    executor = load_executor(name)
    order = order_of(plan, work, arguments)
    if not arguments.dry_run:
        check_stale(work)
        executor.check(order)
        make_writable(root)
    preview = executor.preview(order) if arguments.dry_run else []
    console = Console()
    for text in (line, *summarise(plan, work, order.jobs if executor.WAITS else 0), *environment.told(), *preview):
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    return 0 if arguments.dry_run else execute(order, work, arguments, executor, console, command(words))


def command(words: list[str]) -> str:
    """These words as a command to give again, in which an address stands without its password."""
    return "python -m benchmark.launch " + shlex.join(map(_seen, words))


def _seen(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{name}={shown(value)}" if equals and word.startswith("--") else shown(word)


def main() -> None:
    # A terminal that closes or a scheduler that ends us means what Ctrl-C means: save, and say how to go on.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) != signal.SIG_IGN:  # nohup asks to be left alone
            signal.signal(ending, signal.default_int_handler)
    sys.exit(carried_out(run, LaunchError, SettingsError, SuiteError, TrackingError))


if __name__ == "__main__":
    main()
