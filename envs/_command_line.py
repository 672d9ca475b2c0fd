"""A command's words as typed values; a wrong one becomes one sentence in place of the parser's box."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import tyro

Arguments = TypeVar("Arguments")


PLAIN = (tyro.conf.FlagCreatePairsOff,)
"""A switch has one name: --retry, and no --no-retry beside it."""


class CommandLineError(Exception):
    """A command line that makes no sense; the text is one sentence that says how to mend it."""


def option(metavar: str | None = None, usual: str | None = None) -> Any:
    """What the help says of an option: the words that it takes, and what is meant where it is left out."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=None if usual is None else f"(by default {usual})")


def parsed(kind: type[Arguments], program: str, words: list[str], description: str | None = None) -> Arguments:
    """``words`` as a ``kind``, a dataclass whose docstrings are the help; prints that and ends where it is asked to."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, prog=program, description=description, args=words, config=PLAIN)
    except SystemExit as exit_:
        if not exit_.code:
            raise
    raise CommandLineError(f"{_sentence(said.getvalue())}; see --help")


def _sentence(box: str) -> str:
    """What the parser's box says, without its frame and title, and with the names of the options that were meant."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [re.sub(r"[^\x20-\x7e]+", " ", line).strip("| ") for line in plain.splitlines()[1:]]
    text = " ".join(" ".join(lines).split()).partition("For full helptext")[0]
    said, _, meant = text.partition("Perhaps you meant:")
    near = sorted(set(re.findall(r"(?<!\S)--[a-z-]+", meant)))[:3]
    return said.rstrip(" .") + (f"; did you mean {' or '.join(near)}?" if near else "")


def carried_out(command: Callable[[list[str]], int], *mendable: type[Exception]) -> int:
    """Run a command with the words it was called with; its exit status.

    2 after an error that the user can mend, told in one sentence; 130 after Ctrl-C; 1 if the reader of what it prints
    has left, like head.
    """
    try:
        return command(sys.argv[1:])
    except (CommandLineError, *mendable) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        reason = error.strerror or error
        print(f"error: {reason}{where}: make room or allow it, or name another folder; then run again", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where it was", file=sys.stderr)
        return 130
