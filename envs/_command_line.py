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
    text = re.sub(r"[^\x20-\x7e]+", " ", said.getvalue().replace("\n", " "))
    text = text.partition("For full helptext")[0]
    raise CommandLineError(" ".join(text.split()).rstrip(" .") + "; see --help")


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
