"""The words of ``python -m benchmark.launch`` as typed values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import methods
from benchmark.planning.errors import LaunchError, check_word
from benchmark.planning.portion import DEPTH, ORDERS
from benchmark.planning.request import OWN, Request, ask
from benchmark.planning.settings import presets
from envs import suites
from envs._command_line import CommandLineError, parsed

SEVERAL = ("--tasks", "--domains", "--set", "--sweep")
"""Options that take several values, side by side or each after the option's name."""


KEEP = ("all", "parameters", "nothing")
"""What may stay of a finished run's checkpoints."""


@dataclass(frozen=True)
class Arguments:
    suite: str
    """suite of tasks"""
    methods: str = "all"
    """all, or a comma-separated list"""
    tasks: tuple[str, ...] = ()
    """globs of task names; by default the preset's"""
    domains: tuple[str, ...] = ()
    """domains, in full"""
    seeds: str = ""
    """0-7, or 0,2,5; by default the preset's"""
    preset: str = ""
    """sizes and budgets; by default paper where a SLURM controller answers or a profile is given, quick elsewhere"""
    set: tuple[str, ...] = ()
    """METHOD.KEY=VALUE, run.KEY=VALUE for all methods (that do not fix KEY), value.KEY=VALUE for the value rule,
    data.KEY=VALUE for the data (procedure, seed, episodes, shards)"""
    sweep: tuple[str, ...] = ()
    """METHOD.KEY=VALUE,VALUE,..., or run.KEY=...: one run for each value (and each combination of several sweeps)"""
    value: str = OWN
    """own (each method's), or one rule for all: td, iql"""
    backbone: str = "reference"
    """reference, paper or as_published"""
    data: str = "preset"
    """official (downloaded where they are missing), generated, what the preset says (nothing is downloaded), or auto:
    official files that are there, else generated"""
    data_dir: Path = Path("~/.ogbench/data")
    """where data are found, downloaded and generated"""
    mirror: str = ""
    """address to download official data from, in place of the package's"""
    out: Path = Path("results")
    """folder for runs, tracking database and leaderboard"""
    executor: str = ""
    """local or slurm; by default slurm for the preset paper or with a profile, local for the others"""
    profile: str = ""
    """what a cluster's jobs look like: gpu (by default), shared, cpu, or a TOML file (slurm/profiles); implies slurm"""
    jobs: int = 0
    """worker processes of the local executor; by default one for each core"""
    limit: int = 0
    """take so many unfinished cells at the most"""
    budget_hours: float = 0.0
    """take what fits into so many device-hours, by the estimate"""
    order: str = DEPTH
    """depth: all seeds of a method and task together; breadth: one seed of everything first"""
    keep: str = "parameters"
    """what stays of the checkpoints of a finished run: all, parameters or nothing"""
    retry: bool = False
    """slurm: send also what failed three times for the same reason"""
    dry_run: bool = False
    """print the plan (for slurm with the script that would be sent) and stop; needs no data, tracker or scheduler"""


def description() -> str:
    """What ``--help`` says above the options: the suites, presets and methods that there are."""
    usable, reasons = methods.available()
    lines = [
        "Run every (method, task, seed) of a plan, then print the leaderboard.",
        "Run again, it goes on where it was and skips what is done.",
        "",
        *(f"Suite {suite}: presets {', '.join(presets(suite))}." for suite in suites()),
        f"Methods: {', '.join(usable)}.",
        *(f"Unavailable: {reason}." for reason in reasons.values()),
    ]
    return "\n".join(lines)


def gathered(words: list[str]) -> list[str]:
    """The values of each option of SEVERAL together, behind one mention of it."""
    values: dict[str, list[str]] = {}
    others: list[str] = []
    place = others
    for word in words:
        name, equals, value = word.partition("=")
        if name in SEVERAL:
            place = values.setdefault(name, [])
            place.extend([value] if equals else [])
        else:
            place = others if word.startswith("--") else place
            place.append(word)
    return others + [word for name, each in values.items() for word in (name, *each)]


def parse(words: list[str]) -> Arguments:
    """The command line as typed values; a wrong one raises LaunchError."""
    try:
        arguments = parsed(Arguments, "python -m benchmark.launch", gathered(words), description())
    except CommandLineError as error:
        raise LaunchError(str(error)) from error
    for name, value in (("jobs", arguments.jobs), ("limit", arguments.limit), ("budget-hours", arguments.budget_hours)):
        if not value >= 0:
            raise LaunchError(f"--{name} {value} is less than nothing; leave it out for no limit")
    if arguments.profile and arguments.executor == "local":
        raise LaunchError("--profile says what jobs of a cluster look like; leave it out, or say --executor slurm")
    check_word("--keep", arguments.keep, KEEP)
    check_word("order", arguments.order, ORDERS)
    return arguments


def requested(arguments: Arguments, preset: str) -> Request:
    """The request of a command line."""
    return ask(
        suite=arguments.suite,
        preset=preset,
        methods=arguments.methods,
        tasks=arguments.tasks,
        domains=arguments.domains,
        seeds=arguments.seeds,
        settings=arguments.set,
        sweeps=arguments.sweep,
        value=arguments.value,
        backbone=arguments.backbone,
        data=arguments.data,
    )
