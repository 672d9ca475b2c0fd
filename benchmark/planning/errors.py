"""What is said of a wrong word: one sentence that says how to mend it, with the nearest word that there is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable

from envs._documents import DocumentError


class LaunchError(Exception):
    """A command that can't be carried out; the text is one sentence that says how to mend it."""


class SettingsError(DocumentError):
    """A wrong setting; the text is one sentence that says how to mend it."""


class Unfit(SettingsError):
    """A method that can't be used on a task as it is set; whoever asks for all methods means those that can."""


def nearest(word: str, known: Iterable[str]) -> str:
    """' Did you mean ...?' or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_word(what: str, word: str, known: Collection[str]) -> None:
    """Raise SettingsError unless ``word`` is one of those that are known."""
    if word not in known:
        raise SettingsError(f"unknown {what} {word!r}; it is one of {', '.join(known)}{nearest(word, known)}")


def in_short(names: Iterable[str]) -> list[str]:
    """Names in a row as patterns that select them: a-1-v0, a-2-v0, a-3-v0 are a-[1-3]-v0."""
    left, found = list(names), []
    while left:
        alike = _alike(left[0], left)
        found.append(_pattern(alike))
        left = [name for name in left if name not in alike]
    return found


def _alike(name: str, names: Collection[str]) -> list[str]:
    """Those that differ from a name in one of its digits only, at the place where there are most."""
    places = [match.start() for match in re.finditer(r"(?<![0-9])[0-9](?![0-9])", name)]
    groups = [
        [each for each in names if re.fullmatch(re.escape(name[:i]) + "[0-9]" + re.escape(name[i + 1 :]), each)]
        for i in places
    ]
    return max(groups, key=len, default=[name])


def _pattern(names: list[str]) -> str:
    differ = [i for i, letters in enumerate(zip(*names, strict=True)) if len(set(letters)) > 1]
    if not differ:
        return names[0]
    digits = sorted(name[differ[0]] for name in names)
    in_a_row = int(digits[-1]) - int(digits[0]) == len(digits) - 1
    inside = f"{digits[0]}-{digits[-1]}" if in_a_row else "".join(digits)
    return f"{names[0][: differ[0]]}[{inside}]{names[0][differ[0] + 1 :]}"
