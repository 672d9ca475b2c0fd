"""Prints and writes the leaderboard of some stores: ``python -m analysis.leaderboard [--store URI|DIR ...]``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import UseAppendAction, arg

from analysis.command_line import CommandLineError, carried_out, parsed, unknown
from analysis.files import markdown, tidy
from analysis.runs import Choice, ChoiceError, joined
from analysis.store import StoreError, default_store
from analysis.tables import MEAN, Table, ordered, orders, tables
from analysis.terminal import say, show, terminal

FILES = ("leaderboard.md", "leaderboard.csv")


STORE = "MLFLOW_TRACKING_URI, else ./results"


def _option(metavar: str, usual: str) -> Any:
    """What the help says of an option: the words that it takes, and what is meant where it is left out."""
    return arg(metavar=metavar, help_behavior_hint=f"(by default {usual})")


@dataclass(frozen=True)
class Arguments:
    """Print the leaderboard of one tracking store or several; write it as leaderboard.md and leaderboard.csv."""

    store: Annotated[tuple[tuple[str, ...], ...], UseAppendAction, _option("URI|DIR ...", STORE)] = ()
    """MLflow URIs, or directories with mlflow.db"""
    out: Annotated[Path | None, _option("DIR", "the first store that is a directory, else the current folder")] = None
    """folder to write to"""
    suite: Annotated[str, _option("NAME", "all")] = ""
    """only this suite"""
    preset: Annotated[str, _option("NAME", "all")] = ""
    """only this preset"""
    methods: Annotated[tuple[tuple[str, ...], ...], UseAppendAction, _option("NAME ...", "all")] = ()
    """only these"""
    sort: Annotated[str, _option("NAME", MEAN)] = MEAN
    """order of the rows: mean, name, a domain, a cost or another measure that is shown"""

    @property
    def stores(self) -> list[str]:
        """Each once, in the order in which they were named."""
        named = dict.fromkeys(os.path.expanduser(name) for names in self.store for name in names)
        return list(named) or [default_store()]

    @property
    def choice(self) -> Choice:
        names = (name.strip() for words in self.methods for word in words for name in word.split(","))
        return Choice(self.suite, self.preset, tuple(filter(None, names)))


def main(arguments: Arguments) -> int:
    """Read, print and write; returns the exit code."""
    stores, choice = arguments.stores, arguments.choice
    try:
        found = sorted_by(arguments.sort, tables(joined(stores, choice)))
    except (StoreError, ChoiceError) as error:
        print(error, file=sys.stderr)
        return 1
    beside = next((path for store in stores if (path := Path(store)).is_dir()), Path())
    out = arguments.out.expanduser() if arguments.out else beside
    problem = write(out, dict(zip(FILES, (markdown(found, choice), tidy(found)), strict=True)))
    console = terminal()
    show(found, console, out / FILES[0])
    if problem:
        sys.stdout.flush()
        print(problem, file=sys.stderr)
        return 1
    only = f" (only {choice})" if choice.parts else ""
    say(f"wrote {' and '.join(FILES)}{only} to {out}", console)
    return 0


def write(out: Path, texts: Mapping[str, str]) -> str:
    """Replace these files, each whole or not at all; a sentence where that can't be done."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            part = out / f".{name}.part"
            part.write_text(text, encoding="utf-8")
            part.replace(out / name)
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError
        reason = error.strerror if isinstance(error, OSError) else error
        return f"{' and '.join(texts)} could not be written to {out} ({reason}): name another folder with --out."
    return ""


def sorted_by(order: str, found: Sequence[Table]) -> list[Table]:
    """The rows in this order; in a table that has no such column, by the mean."""
    choices = list(dict.fromkeys(by for table in found for by in orders(table)))
    if order not in choices:
        raise unknown("--sort", order, choices)
    return [ordered(table, order if order in orders(table) else MEAN) for table in found]


def command(words: Sequence[str]) -> int:
    """Run with these words; 2 where they make no sense."""
    try:
        arguments = parsed(Arguments, "python -m analysis.leaderboard", words)
        if () in arguments.store or "" in arguments.stores:
            raise CommandLineError("--store needs the address or the folder of a store")
        if arguments.methods and not arguments.choice.methods:
            raise CommandLineError("--methods names nothing; leave it out for all")
        return main(arguments)
    except CommandLineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(carried_out(command))
