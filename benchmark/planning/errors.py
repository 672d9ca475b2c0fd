"""What is said of a wrong word: one sentence that says how to mend it, with the nearest word that there is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LaunchError(Exception):
    """A command that can't be carried out; the text is one sentence that says how to mend it."""


class SettingsError(Exception):
    """A wrong setting; the text is one sentence that says how to mend it."""


def nearest(word: str, known: Iterable[str]) -> str:
    """' Did you mean ...?' or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
