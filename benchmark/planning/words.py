"""Words of a command line as values, and back: seeds, settings, sweeps. Here text ends; behind it are values only.

Whoever reads a word of the user's does it here, once; what is asked of it afterwards (is there such a method, is the
value of the right type) is asked of values.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from datetime import date, time
from typing import Any

from benchmark.planning.errors import SettingsError

OWNERS = ("run", "value", "data")
"""What can be set beside methods."""
MOST_SEEDS = 10_000
SEED_BITS = 32
"""A seed is a number of so many bits: a larger one would be one of these again."""
COMMAND_LINE, SWEPT = "command line", "command line, swept"
"""Where a value came from that a user gave; the last layers, and the only ones without a source to cite."""


@dataclass(frozen=True)
class Assignment:
    """A value for a key of an owner: a method, 'run' (all methods), 'value' (the value rule) or 'data'."""

    owner: str
    key: str
    value: Any
    origin: str = COMMAND_LINE

    def __str__(self) -> str:
        return f"{self.owner}.{self.key}={word_of(self.value)}"


@dataclass(frozen=True)
class Sweep:
    """Several values for a key of an owner, each a run of its own."""

    owner: str
    key: str
    values: tuple[Any, ...]

    @property
    def points(self) -> list[Assignment]:
        return [Assignment(self.owner, self.key, value, SWEPT) for value in self.values]

    def __str__(self) -> str:
        return f"{self.owner}.{self.key}={','.join(map(word_of, self.values))}"


def seeds_of(text: str) -> tuple[int, ...]:
    """'0-3,7' -> (0, 1, 2, 3, 7)."""
    parts = [re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part.strip()) for part in text.split(",")]
    seeds: list[int] = []
    for found in parts:
        if found is None:
            raise SettingsError(f"--seeds {text!r} is not a list of seeds; write 0-7 or 0,2,5")
        first, last = _seed(found[1]), _seed(found[2] or found[1])
        if last < first:
            raise SettingsError(f"--seeds {text!r} runs backwards from {first} to {last}; write {last}-{first}")
        if last - first >= MOST_SEEDS - len(seeds):
            raise SettingsError(f"--seeds {text!r} are more than {MOST_SEEDS:,} seeds; take fewer")
        seeds.extend(range(first, last + 1))
    if twice := [seed for seed, count in Counter(seeds).items() if count > 1]:
        raise SettingsError(f"--seeds {text!r} names {twice[0]} twice; write 0-7 or 0,2,5")
    return tuple(seeds)


def _seed(digits: str) -> int:
    shown = digits.lstrip("0") or "0"
    if len(shown) > len(str(2**SEED_BITS)) or int(shown) >= 2**SEED_BITS:
        raise SettingsError(f"seed {shown[:20]} is too large: seeds are less than 2^{SEED_BITS} = {2**SEED_BITS}")
    return int(shown)


def assignment_of(text: str) -> Assignment:
    """'fql.alpha=10' -> its owner, key and value."""
    found = re.fullmatch(r"([^.=]+)\.([^=]+)=(.+)", text)
    if found is None:
        raise SettingsError(f"--set {text!r} is not of the form METHOD.KEY=VALUE (or run.KEY=VALUE for all)")
    return Assignment(found[1], found[2], value_of(found[3]))


def sweep_of(text: str) -> Sweep:
    """'fql.alpha=1,3' sweeps a value of one method, 'run.learning_rate=1e-4,3e-4' of all. Lists may hold commas."""
    found = re.fullmatch(r"([^.=]+)\.([^=]+)=(.+)", text)
    if found is None:
        raise SettingsError(f"--sweep {text!r} is not of the form METHOD.KEY=VALUE,VALUE (or run.KEY=... for all)")
    parts = [part.strip() for part in re.split(r",(?![^\[]*\])", found[3])]
    values = tuple(map(value_of, parts))
    if len(values) < 2:
        raise SettingsError(f"--sweep {text!r} needs two values at least, as in qpilots_u.alpha=0.1,0.2")
    for place, value in enumerate(values):
        if value in values[:place]:
            first = parts[values.index(value)]
            raise SettingsError(f"--sweep {text!r}: {first} and {parts[place]} are one value; leave one of them out")
    return Sweep(found[1], found[2], values)


def value_of(text: str) -> Any:
    """A value as TOML would have it, or as people write it beside that (True, .001, 1e6 for an integer), else the word
    itself; a list is a tuple, since nobody changes it."""
    try:
        value = tomllib.loads(f"value = {text if set(text) & set(QUOTES) else _as_toml(text)}")["value"]
    except (ValueError, RecursionError):  # of thousands of digits, or of brackets
        return text
    return text if isinstance(value, date | time) else _frozen(value)


QUOTES = "\"'"


def _as_toml(text: str) -> str:
    """The numbers and truth values in a text as TOML writes them."""
    text = {"True": "true", "False": "false"}.get(text, text)
    text = re.sub(r"(?<![\w.])\.(?=[0-9])", "0.", text)
    text = re.sub(r"(?<![\w.])([0-9]+)\.(?![\w.])", r"\1.0", text)
    return re.sub(r"(?<![\w.])[0-9]+(\.[0-9]+)?[eE][0-9]{1,2}(?![\w.])", _whole, text)


def _whole(number: re.Match[str]) -> str:
    """What was written with an exponent and is an integer all the same, as one."""
    value = float(number[0])
    return str(int(value)) if value.is_integer() and value < 2**63 else number[0]


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def counted(count: int, noun: str) -> str:
    """'1 job', '2 jobs'."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def word_of(value: Any) -> str:
    """What is read as this value again."""
    if isinstance(value, tuple | list):
        return f"[{','.join(map(word_of, value))}]"
    if isinstance(value, str):
        return value if value_of(value) == value else json.dumps(value)
    return json.dumps(value) if isinstance(value, bool) else str(value)
