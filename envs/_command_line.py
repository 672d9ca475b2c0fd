"""A command's words as typed values; a wrong one becomes one sentence in place of the parser's box."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import tyro
from annotated_types import BaseMetadata, Interval

from envs._documents import DocumentError, checked

Arguments = TypeVar("Arguments")


BETWEEN = r",(?![^\[]*\])"
"""A comma that is not within the bracket of a pattern."""
PLAIN = (tyro.conf.FlagCreatePairsOff,)
"""A switch has one name: --retry, and no --no-retry beside it."""


class CommandLineError(Exception):
    """A command line that makes no sense; the text is one sentence that says how to mend it."""


def option(metavar: str | None = None, usual: str | None = None) -> Any:
    """What the help says of an option: the words that it takes, and what is meant where it is left out."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=None if usual is None else f"(by default {usual})")


def parsed(kind: type[Arguments], program: str, words: list[str], description: str | None = None) -> Arguments:
    """``words`` as a ``kind``, a dataclass whose docstrings are the help; prints that and ends where it is asked to."""
    _check(words)
    words = _plain_numbers(kind, words)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            arguments = tyro.cli(kind, prog=program, description=description, args=words, config=PLAIN)
        _check_ranges(arguments)
        return arguments
    except SystemExit as exit_:
        if not exit_.code:
            raise
    raise CommandLineError(f"{_sentence(said.getvalue())}; see --help")


def listed(words: Sequence[str], lists: Sequence[str], apart: Sequence[str] = ()) -> list[str]:
    """Words in which the options that are ``lists``, written with commas, spaces or both, have one value with commas,
    or several values where they are ``apart``."""
    found: list[str] = []
    left = list(words)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if name not in lists:
            found.append(name + equals + value)
            continue
        said = [value] if equals else []
        while left and not left[0].startswith("-"):
            said.append(left.pop(0))
        parts = [part.strip() for each in said for part in re.split(BETWEEN, each) if part.strip()]
        if not all(said) or not parts:
            found += [name, *said]
        else:
            found += [name, *(parts if name in apart else [",".join(parts)])]
    return found


def _check(words: Sequence[str]) -> None:
    """Raise on an option that is said twice, or left empty: only one of them would count, or none."""
    said: dict[str, str] = {}
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            if not word:
                after = f"after {words[place - 1]}" if place else "at the beginning"
                raise CommandLineError(f"there is an empty word {after}; leave it out, or say what it should be")
            continue
        if equals and not value:
            raise CommandLineError(f"{name} is empty; leave it out, or say what it should be")
        follows = "" if equals or place + 1 == len(words) or words[place + 1].startswith("--") else words[place + 1]
        told = f"{word} {follows}".strip()
        if (first := said.setdefault(name.replace("_", "-"), told)) is not told:
            raise CommandLineError(f"{first} and {told} are both given; leave one of them out")


def _numbers(kind: type) -> dict[str, type]:
    """Options that are one number, and of which type."""
    plain = {name: get_args(hint) or (hint,) for name, hint in get_type_hints(kind).items()}
    return {
        f"--{name.replace('_', '-')}": int if int in types else float
        for name, types in plain.items()
        if {int, float} & set(types) and set(types) <= {int, float, type(None)}
    }


def _plain_numbers(kind: type, words: Sequence[str]) -> list[str]:
    """Words in which a number is as the parser wants it, who knows no 1e3 for an integer."""
    numbers, found = _numbers(kind), list(words)
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        of = numbers.get(name.replace("_", "-"))
        if of is None or (not equals and place + 1 == len(words)):
            continue
        value = value if equals else words[place + 1]
        try:
            number = float(value)
            if of is int and not number.is_integer():
                raise ValueError(value)
        except (ValueError, OverflowError) as error:
            what = "an integer" if of is int else "a number"
            raise CommandLineError(f"{name} is {value!r}; it must be {what}") from error
        text = str(int(number)) if of is int and not re.fullmatch(r"[+-]?\d+", value) else value
        found[place if equals else place + 1] = f"{name}={text}" if equals else text
    return found


def _check_ranges(arguments: Any) -> None:
    """Raise on a number that is none of those that its option takes, by the range in its annotation; one that was left
    out and is none needs no range."""
    for name, kind in get_type_hints(type(arguments), include_extras=True).items():
        limits = [each for each in getattr(kind, "__metadata__", ()) if isinstance(each, BaseMetadata | Interval)]
        value = getattr(arguments, name)
        if limits and value is not None:
            checked(value, Annotated[(type(value), *limits)], "", f"--{name.replace('_', '-')}")


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
    _open_streams()
    try:
        try:
            return command(sys.argv[1:])
        finally:  # also after --help, which ends the program by itself
            sys.stdout.flush()
    except (CommandLineError, DocumentError, *mendable) as error:
        return _told(" ".join(str(error).split()))
    except BrokenPipeError:
        _leave_unsaid()
        return 1
    except OSError as error:
        return _told(what_is_wrong(error))
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where it was", file=sys.stderr)
        return 130


def _open_streams() -> None:
    """Whoever closed our output (``>&-``) wants none; printing must not fail for it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 -- for as long as the program runs


def _told(sentence: str) -> int:
    """2, once the error was said, if there is anybody to hear it."""
    with contextlib.suppress(OSError):
        print(f"error: {sentence}", file=sys.stderr, flush=True)
    _leave_unsaid()
    return 2


def _leave_unsaid() -> None:
    """What could not be printed is not tried again while the program ends, which would fail again."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


MENDS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room there, or name another folder; then run again"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "allow it, or name another folder; then run again"),
    **dict.fromkeys(
        (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP),
        "something else lies where this should; move it away, or name another folder",
    ),
    errno.ENOENT: "it is not there; name another, or make it anew",
    errno.ENAMETOOLONG: "name a shorter one",
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n); then run again"),
    errno.ENOMEM: "give it more memory; then run again",
    errno.EIO: "mend that disk, or name another folder; then run again",
}


def what_is_wrong(error: OSError) -> str:
    """What a system's error says, of which file, and how to mend it."""
    where = f"{error.filename}: " if error.filename else "what was printed: " if error.errno == errno.ENOSPC else ""
    mend = MENDS.get(error.errno or 0, "mend that, then run again")
    return f"{where}{error.strerror or error}; {mend}"


def place(path: Path) -> Path:
    """A folder that somebody named, in full. Raises CommandLineError where its links lead nowhere."""
    try:
        return path.expanduser().resolve()
    except (RuntimeError, OSError) as error:  # a loop of links, or a user that there is not
        raise CommandLineError(f"{path} is no place ({error}); name another folder") from error
