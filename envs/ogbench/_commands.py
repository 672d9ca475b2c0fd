"""What the commands of this package share: words for domains and counts, progress with rate and time left, one-sentence
errors.
"""

from __future__ import annotations

import difflib
import re
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from envs._command_line import Arguments, carried_out, parsed
from envs._suite import SuiteError
from envs.ogbench._tasks import Domain, domain_words, domains

HOME = Path("~/.ogbench/data")
LINE_SECONDS = 30.0
"""Between two lines of progress where there is no terminal."""
RATE_SECONDS = 60.0
"""What a rate is of."""
UNITS = {"k": 1_000, "K": 1_000, "M": 1_000_000, "m": 1_000_000}


def domain_named(word: str) -> Domain:
    """The domain of ``cube-double`` or ``cube-double-play``; raises SuiteError with the nearest name."""
    known = domain_words()
    if word not in known:
        near = difflib.get_close_matches(word, known, 1)
        hint = (
            f"did you mean {near[0]}?"
            if near
            else f"it is one of {', '.join(d.environment for d in domains().values())}."
        )
        raise SuiteError(f"there is no domain {word!r}: {hint}")
    return domains()[known[word]]


def count_of(text: str) -> int:
    """'2000', '100k', '1M' or '1e6' as a number of rows."""
    digits, unit = (text[:-1], UNITS[text[-1]]) if text[-1:] in UNITS else (text, 1)
    found = re.fullmatch(r"0*([1-9][0-9]{0,11})(?:[eE]\+?([0-9]))?", digits, re.ASCII)
    if found is None:
        raise SuiteError(f"{text!r} is no number of transitions: write 2000, 100k or 1M.")
    return int(found[1]) * 10 ** int(found[2] or 0) * unit


def clock(seconds: float) -> str:
    """'1:02:03'."""
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


class Meter:
    """Prints how far a piece of work is, how fast it went of late and what is left; ``size`` units for each step of it.

    ``note`` is what else to say.
    """

    def __init__(self, unit: str, size: int = 1) -> None:
        self.note = ""
        self._unit, self._size = unit, size
        self._what, self._printed = "", 0.0
        self._seen: deque[tuple[float, int]] = deque()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._printed = what, 0.0
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > RATE_SECONDS:
            self._seen.popleft()
        terminal = sys.stdout.isatty()
        if done < total and now - self._printed < (0.2 if terminal else LINE_SECONDS):
            return
        self._printed = now
        then, before = self._seen[0]
        told = f"{what}: {done}/{total}"
        if done > before:
            rate = (done - before) * self._size / max(now - then, 1e-9)
            told += f", {rate:,.0f} {self._unit}/s, {clock((total - done) * self._size / rate)} left"
        told += self.note
        print(f"\r\x1b[K{told}" if terminal else told, end="\n" if done >= total or not terminal else "", flush=True)


def told(kind: type[Arguments], command: Callable[[Arguments], None]) -> int:
    """Run a command with the words it was called with; its exit code: 0, 2 after an error that the user can mend, 130
    after Ctrl-C.
    """
    specification = sys.modules["__main__"].__spec__
    program = f"python -m {specification.name if specification else '...'}"

    def run(words: list[str]) -> int:
        command(parsed(kind, program, words))
        return 0

    return carried_out(run, SuiteError)
