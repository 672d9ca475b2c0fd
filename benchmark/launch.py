"""The command line: ``python -m benchmark.launch --suite ogbench --methods all``."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console

import methods
from benchmark import estimate, tracking
from benchmark.arguments import Arguments, LaunchError, parse
from benchmark.machine import about_this_code, cores, slurm_answers
from benchmark.plan import PROTOCOL, Plan, identities, make
from benchmark.progress import Bar, Progress, duration
from benchmark.records import folder_of, state_of
from benchmark.request import Request, check_suite
from benchmark.settings import SettingsError, nearest, presets
from envs import load_suite
from envs._suite import SuiteError

EXECUTORS = {"local": "benchmark.local", "slurm": "slurm.submit"}
"""Modules with a function ``run(packs, site, jobs, listener)``, loaded by name when they are asked for."""
PUSH_SECONDS = 60.0


def choose(arguments: Arguments) -> tuple[str, str, str]:
    """Preset, executor, and the line that says why."""
    check_suite(arguments.suite)
    known = presets(arguments.suite)
    asked = not (arguments.preset and arguments.executor)
    answers = asked and slurm_answers()
    preset = arguments.preset or ("paper" if answers and "paper" in known else "quick")
    executor = arguments.executor or ("slurm" if preset == "paper" else "local")
    if executor not in EXECUTORS:
        raise LaunchError(f"unknown executor {executor!r}; it is local or slurm{nearest(executor, EXECUTORS)}")
    why = "as asked" if not asked else "a SLURM controller answers" if answers else "no SLURM controller answers"
    line = (
        f"Preset {preset}, executor {executor} ({why}); "
        f"choose with --preset {'|'.join(known)} and --executor {'|'.join(EXECUTORS)}."
    )
    return preset, executor, line


def load_executor(name: str) -> Any:
    try:
        return importlib.import_module(EXECUTORS[name])
    except ModuleNotFoundError as error:
        raise LaunchError(f"the {name} executor is not there ({error}); use --executor local") from error


def data_taken(plan: Plan) -> list[str]:
    """What the plan trains on, with the number of datasets of each provenance where there are several."""
    told = load_suite(plan.suite).provenance
    kinds = Counter(told(identity) for identity in identities(plan.packs))
    if kinds.total() > 3:
        return [f"{count} {provenance}" for provenance, count in sorted(kinds.items())]
    return [f"{identity['name']} ({told(identity)})" for identity in identities(plan.packs)]


def summarise(plan: Plan, root: Path) -> list[str]:
    """The plan in a few lines: what there is, what is done, what the rest will cost."""
    states = {cell.key: state_of(folder_of(root, cell.key)) for cell in plan.cells}
    counts = {state: list(states.values()).count(state) for state in ("done", "begun", "failed")}
    left = {pack.name: sum(states[cell.key] != "done" for cell in pack.cells) for pack in plan.packs}
    cost = estimate.estimate(root, plan.packs, left)
    names = {cell.method for cell in plan.cells}, {cell.task for cell in plan.cells}, {cell.seed for cell in plan.cells}
    methods_, tasks, seeds = map(len, names)
    basis = f"{cost.measured} of {sum(map(bool, left.values()))} packs timed before, the rest by declared costs"
    lines = [
        f"{len(plan.cells)} cells in {len(plan.packs)} packs: {methods_} methods x {tasks} tasks x {seeds} seeds "
        f"(suite {plan.suite}, preset {plan.preset})",
        f"data: {', '.join(data_taken(plan))}",
        f"done {counts['done']}, begun {counts['begun']}, failed before {counts['failed']}, to do {sum(left.values())}",
        f"to do: {cost.updates:,} updates, about {cost.device_seconds / 3600:,.1f} device-hours "
        f"({duration(cost.device_seconds)} on one device; {basis}), up to {cost.memory / 2**30:.1f} GiB in one pack",
    ]
    return lines + [f"unavailable: {reason}" for reason in methods.available()[1].values()]


class Pusher(threading.Thread):
    """Copies run folders into MLflow from time to time, beside the runs; never ends one."""

    def __init__(self, tracker: tracking.Tracker, folders: list[Path]) -> None:
        super().__init__(daemon=True)
        self.tracker, self.folders = tracker, folders
        self._over = threading.Event()
        self.problems: list[str] = []

    def run(self) -> None:
        while not self._over.wait(PUSH_SECONDS):
            self._push()

    def _push(self) -> None:
        self.problems = self.tracker.push_all([folder for folder in self.folders if folder.exists()])

    def finish(self) -> list[str]:
        """Send the rest; what could not be sent."""
        self._over.set()
        self.join()
        self._push()
        return self.problems


def make_writable(root: Path) -> None:
    try:
        (root / "runs").mkdir(parents=True, exist_ok=True)
        probe = root / "runs" / f".probe-{os.getpid()}"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise LaunchError(f"cannot write to {root} ({error.strerror}); give another folder with --out") from error


def execute(plan: Plan, arguments: Arguments, executor: Any, console: Console) -> int:
    """Data, runs, records into MLflow, leaderboard; the exit status."""
    root, data = arguments.out.expanduser().resolve(), arguments.data_dir.expanduser().resolve()
    jobs = arguments.jobs or cores()
    suite = load_suite(plan.suite)
    folders = [folder_of(root, cell.key) for cell in plan.cells]
    todo = [pack for pack in plan.packs if any(state_of(folder_of(root, c.key)) != "done" for c in pack.cells)]
    todo.sort(key=lambda pack: -estimate.pack_seconds(pack))  # or the longest would end long after the others

    uri, experiment = tracking.default_uri(root), f"{plan.suite}/v{PROTOCOL}"
    tracking.prepare(uri, experiment, root / "artifacts")
    pusher = Pusher(tracking.Tracker(uri, experiment), folders)
    failed, stopped = [], False
    address = arguments.mirror if arguments.mirror or arguments.data == "official" else None
    if todo:
        try:
            for identity in identities(todo):
                suite.prepare(identity, data, address, jobs, Bar(console))
        except OSError as error:
            raise LaunchError(f"cannot prepare the data ({error}); mend it, or give another --data-dir") from error
        site = {"root": str(root), "data": str(data), "about": about_this_code(plan.name)}
        site["env_workers"] = max(0, cores() // jobs - 1)
        pusher.start()
        with Progress(console, len(todo)) as progress:
            outcome = executor.run(todo, site, jobs, progress.hear)
        failed, stopped = outcome.failed, outcome.stopped
        problems = pusher.finish()
    else:
        console.print("Nothing to do: every cell is done.")
        problems = pusher.tracker.push_all(folders)
    if stopped:
        report(failed, problems)
        print("Stopped. Run the same command again to go on from the last checkpoints.", file=sys.stderr)
        return 130
    status = show_leaderboard(root, uri)
    return report(failed, problems) or status


def show_leaderboard(root: Path, uri: str) -> int:
    """The leaderboard is a program of its own, which reads MLflow alone."""
    store = uri if "MLFLOW_TRACKING_URI" in os.environ else str(root)
    command = [sys.executable, "-m", "analysis.leaderboard", "--store", store, "--out", str(root)]
    sys.stdout.flush()
    return subprocess.run(command, check=False).returncode


def report(failed: list[tuple[Any, str]], problems: list[str]) -> int:
    """List what went wrong; 1 if anything did."""
    if failed:
        print(f"{len(failed)} cells failed; run the same command again to try them once more:", file=sys.stderr)
        for cell, text in failed:
            print(f"  {cell.method} on {cell.task}, seed {cell.seed}: {text}", file=sys.stderr)
    for problem in problems:
        print(f"tracking: {problem}", file=sys.stderr)
    return int(bool(failed or problems))


def run(words: list[str]) -> int:
    """Carry out a command line; the exit status."""
    arguments = parse(words)
    if arguments.jobs < 0:
        raise LaunchError(f"--jobs {arguments.jobs} is no number of workers; leave it out for one on each core")
    preset, executor, line = choose(arguments)
    plan = make(
        Request(
            suite=arguments.suite,
            preset=preset,
            methods=arguments.methods,
            tasks=arguments.tasks,
            domains=arguments.domains,
            seeds=arguments.seeds or None,
            overrides=arguments.set,
            value=arguments.value,
            backbone=arguments.backbone,
            data=arguments.data,
        ),
        arguments.data_dir.expanduser(),
    )
    # A wrong command leaves standard output empty, so nothing is printed before the plan stands.
    loaded = None
    if not arguments.dry_run:
        loaded = load_executor(executor)
        make_writable(arguments.out.expanduser())
    console = Console()
    for text in (line, *summarise(plan, arguments.out.expanduser())):
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    return 0 if arguments.dry_run else execute(plan, arguments, loaded, console)


def main() -> None:
    # A terminal that closes or a scheduler that ends us means what Ctrl-C means: save, and say how to go on.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) != signal.SIG_IGN:  # nohup asks to be left alone
            signal.signal(ending, signal.default_int_handler)
    try:
        sys.exit(run(sys.argv[1:]))
    except (LaunchError, SettingsError, SuiteError, tracking.TrackingError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Stopped. Run the same command again to go on.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
