"""The words of ``python -m benchmark.launch`` as typed values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt

from benchmark.execution.executors import EXECUTORS
from benchmark.execution.work import STALE
from benchmark.planning.data_files import available, broken_presets, preset_names, presets
from benchmark.planning.errors import LaunchError, check_word
from benchmark.planning.portion import DEPTH, ORDERS
from benchmark.planning.request import DATA, OWN, PRESET, REFERENCE, VALUES, Request, ask
from benchmark.planning.settings import BACKBONES_ASKED
from envs import suites
from envs._command_line import CommandLineError, listed, option, parsed
from envs._documents import DocumentError

SEVERAL = ("--tasks", "--domains", "--set", "--sweep")
"""Options that take several values, side by side or each after the option's name."""
LISTS = ("--methods", "--seeds", "--tasks", "--domains")
"""Options whose values are a list: with commas, spaces, or both."""


KEPT = ("all", "parameters", "nothing")
"""What may stay of a finished run's checkpoints."""


def one_of(words: Iterable[str], usual: str | None = None) -> Any:
    """An option that is one of a few words."""
    return option("|".join(words), usual)


QUICK = "paper where a SLURM controller answers or a profile is given, else quick"


@dataclass(frozen=True)
class Arguments:
    suite: Annotated[str, one_of(suites())]
    """suite of tasks"""
    methods: Annotated[str, option("all|NAME,NAME,...", "all")] = "all"
    """which methods; --list --methods NAME shows what one can be told"""
    tasks: Annotated[tuple[str, ...], option("GLOB ...", "the preset's")] = ()
    """patterns of task names, as --list shows them"""
    domains: Annotated[tuple[str, ...], option("NAME ...", "those of the preset's tasks")] = ()
    """all tasks of these domains, in full or as the commands for data call them"""
    seeds: Annotated[str, option("0-7|0,2,5", "as many as the preset says")] = ""
    """seeds of the runs"""
    preset: Annotated[str, one_of(preset_names(), QUICK)] = ""
    """sizes and budgets"""
    set: Annotated[tuple[str, ...], option("OWNER.KEY=VALUE ...", "nothing")] = ()
    """METHOD.KEY=VALUE, run.KEY=VALUE for all methods (that do not fix KEY), value.KEY=VALUE for the value rule,
    data.KEY=VALUE for the data (procedure, seed, episodes, shards)"""
    sweep: Annotated[tuple[str, ...], option("OWNER.KEY=VALUE,VALUE ...", "nothing")] = ()
    """METHOD.KEY=VALUE,VALUE,..., or run.KEY=...: one run for each value (and each combination of several sweeps)"""
    value: Annotated[str, one_of(VALUES, OWN)] = OWN
    """each method's own value rule, or one for all"""
    backbone: Annotated[str, one_of(BACKBONES_ASKED, REFERENCE)] = REFERENCE
    """activation and time features, of all methods"""
    data: Annotated[str, one_of(DATA, PRESET)] = PRESET
    """official (downloaded where they are missing), generated, what the preset says (nothing is downloaded), or auto:
    official files that are there, else generated"""
    data_dir: Annotated[Path, option("DIR", "~/.ogbench/data")] = Path("~/.ogbench/data")
    """where data are found, downloaded and generated"""
    mirror: Annotated[str, option("URL", "the package's")] = ""
    """address to download official data from"""
    out: Annotated[Path, option("DIR", "results")] = Path("results")
    """folder for runs, tracking database and leaderboard"""
    executor: Annotated[str, one_of(EXECUTORS, "slurm for the preset paper or with a profile, else local")] = ""
    """where the runs are carried out"""
    profile: Annotated[str, option("NAME|FILE", "gpu")] = ""
    """what a cluster's jobs look like: gpu, shared, cpu, or a TOML file (slurm/profiles); implies slurm"""
    jobs: Annotated[int | None, Ge(1), option("N", "one for each core")] = None
    """worker processes of the local executor"""
    limit: Annotated[int | None, Ge(1), option("N", "all")] = None
    """take so many unfinished cells at the most"""
    budget_hours: Annotated[float | None, Gt(0), option("HOURS", "no limit")] = None
    """take what fits into so many device-hours, by the estimate"""
    order: Annotated[str, one_of(ORDERS, DEPTH)] = DEPTH
    """depth: all seeds of a method and task together; breadth: one seed of everything first"""
    keep: Annotated[str, one_of(KEPT, KEPT[1])] = KEPT[1]
    """what stays of the checkpoints of a finished run"""
    stale: Annotated[str, one_of(STALE, "rerun with the local executor, refuse with slurm")] = ""
    """runs that other code of their method made: make them anew (they are set aside), keep them, or refuse to launch"""
    retry: Annotated[bool, option(usual="no")] = False
    """slurm: send also what failed three times for the same reason"""
    dry_run: Annotated[bool, option(usual="no")] = False
    """print the plan (for slurm with the script that would be sent) and stop; needs no data, tracker or scheduler"""
    list: Annotated[bool, option(usual="no")] = False
    """print what can be asked for under this preset, tasks and settings with their sources, and stop"""
    version: Annotated[bool, option(usual="no")] = False
    """print what runs record of this code and its packages, and stop; needs no --suite"""


def description() -> str:
    """What ``--help`` says above the options: the suites, presets and methods that there are."""
    usable, reasons = available()
    lines = [
        "Run every (method, task, seed) of a plan, then print the leaderboard.",
        "Run again, it goes on where it was and skips what is done.",
        "",
        *(f"Suite {suite}: presets {', '.join(presets(suite))}." for suite in suites()),
        f"Methods: {', '.join(usable)}.",
        *(f"Unavailable: {reason}." for reason in (*reasons.values(), *broken_presets().values())),
    ]
    return "\n".join(lines)


def gathered(words: list[str]) -> list[str]:
    """The values of each option of SEVERAL together, behind one mention of it; none is a LaunchError."""
    values: dict[str, list[str]] = {}
    others: list[str] = []
    place = others
    for word in listed(words, LISTS, SEVERAL):
        name, equals, value = word.partition("=")
        if name in SEVERAL:
            place = values.setdefault(name, [])
            place.extend([value] if equals else [])
        else:
            place = others if word.startswith("--") else place
            place.append(word)
    for name, each in values.items():
        if not all(each) or not each:
            raise LaunchError(f"{name} names nothing; leave it out, or say what --help shows for it")
    return others + [word for name, each in values.items() for word in (name, *each)]


def parse(words: list[str]) -> Arguments:
    """The command line as typed values; a wrong one raises LaunchError."""
    try:
        arguments = parsed(Arguments, "python -m benchmark.launch", gathered(words), description())
    except (CommandLineError, DocumentError) as error:
        raise LaunchError(str(error)) from error
    if arguments.list and arguments.dry_run:
        raise LaunchError("--list and --dry-run each print something else and stop; leave one of them out")
    if arguments.profile and arguments.executor == "local":
        raise LaunchError("--profile says what jobs of a cluster look like; leave it out, or say --executor slurm")
    check_word("--keep", arguments.keep, KEPT)
    if arguments.stale:
        check_word("--stale", arguments.stale, STALE)
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
