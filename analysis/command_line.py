"""The command's words as typed values; a wrong one becomes one sentence in place of the parser's box."""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import tyro

Arguments = TypeVar("Arguments")


class CommandLineError(Exception):
    """A command line that makes no sense; the text is one sentence that says how to mend it."""


def parsed(kind: type[Arguments], program: str, words: Sequence[str]) -> Arguments:
    """``words`` as a ``kind``, a dataclass whose docstrings are the help; prints that and ends where it is asked to."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, prog=program, args=words)
    except SystemExit as end:
        if not end.code:
            raise
    raise CommandLineError(f"{_sentence(said.getvalue())}; see --help")


def carried_out(command: Callable[[Sequence[str]], int]) -> int:
    """Run a command with the words it was called with; its exit status: 1 if the reader of what it prints has left, 2
    if that could not be written."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by >&-
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 -- for as long as the program runs
    try:
        try:
            return command(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        status = 1
    except OSError as error:
        status = 2
        where = error.filename or "what was printed"
        with contextlib.suppress(OSError):
            print(f"error: {where} could not be written ({error.strerror}): make room, then run again", file=sys.stderr)
    # What could not be printed would be tried again, and fail again, while the program ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def unknown(option: str, value: str, choices: Iterable[str]) -> CommandLineError:
    """The error of a value that is none of these."""
    choices = list(choices)
    (near,) = difflib.get_close_matches(value, choices, n=1, cutoff=0.0)
    return CommandLineError(f"{option} {value} is unknown, the nearest is {near}: choose among {', '.join(choices)}")


def _sentence(box: str) -> str:
    """What stands in the box below its title, with the options that it thinks were meant."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip("│| ") for line in re.sub(r"╭(.*)╮", "\\1\n───", plain).splitlines()]
    _, *parts = re.split(r"\n[─-]+\n", "\n".join(lines))
    meant = sorted(re.findall(r"^--\w\S*", "\n".join(parts[1:]), re.MULTILINE))
    words = " ".join((parts[0] if parts else plain).split())
    return words.rstrip(" .") + (f", perhaps {' or '.join(meant)}" if meant else "")
