"""Words of a command line as values, and back: seeds, settings, sweeps. Here text ends; behind it are values only.

Whoever reads a word of the user's does it here, once; what is asked of it afterwards (is there such a method, is the
value of the right type) is asked of values.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from typing import Any

from benchmark.planning.errors import SettingsError

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
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part)
        if found is None or int(found[2] or found[1]) < int(found[1]):
            raise SettingsError(f"--seeds {text!r} is not a list of seeds; write 0-7 or 0,2,5")
        seeds.extend(range(int(found[1]), int(found[2] or found[1]) + 1))
    if not seeds or len(set(seeds)) != len(seeds):
        raise SettingsError(f"--seeds {text!r} names no seed, or one twice; write 0-7 or 0,2,5")
    return tuple(seeds)


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
    values = tuple(value_of(part.strip()) for part in re.split(r",(?![^\[]*\])", found[3]))
    if len(values) < 2 or len(set(values)) < len(values):
        raise SettingsError(f"--sweep {text!r} needs two different values at least, as in qpilots_u.alpha=0.1,0.2")
    return Sweep(found[1], found[2], values)


def value_of(text: str) -> Any:
    """A value as TOML would have it, else the word itself; a list is a tuple, since nobody changes it."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return tuple(value) if isinstance(value, list) else value


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
