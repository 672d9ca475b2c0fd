"""A command's words as typed values; a wrong one becomes one sentence in place of the parser's box."""

from __future__ import annotations

import contextlib
import io
import re
from typing import TypeVar

import tyro

Arguments = TypeVar("Arguments")


class CommandLineError(Exception):
    """A command line that makes no sense; the text is one sentence that says how to mend it."""


def parsed(kind: type[Arguments], program: str, words: list[str], description: str | None = None) -> Arguments:
    """``words`` as a ``kind``, a dataclass whose docstrings are the help; prints that and ends where it is asked to."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, prog=program, description=description, args=words)
    except SystemExit as exit_:
        if not exit_.code:
            raise
    text = re.sub(r"[^\x20-\x7e]+", " ", said.getvalue().replace("\n", " "))
    text = text.partition("For full helptext")[0]
    raise CommandLineError(" ".join(text.split()).rstrip(" .") + "; see --help")
