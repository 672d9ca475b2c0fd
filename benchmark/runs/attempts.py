"""What the lines of a run's attempts say: when each began and ended, how, what it cost, whether it got anywhere.

A line begins an attempt ("start"), tells more of it, or ends it ("end", "how").
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from annotated_types import Ge
from pydantic import ConfigDict, Field

from envs._documents import STRICT, DocumentError, Schema, checked

Lines = Sequence[Mapping[str, Any]]
METHOD_CODE, SHARED_CODE = "method_fingerprint", "shared_fingerprint"
"""What an attempt notes of the code that it runs; none before there were fingerprints."""
UNKNOWN = "unknown"


class Cost(NamedTuple):
    """What a run took: hours of the clock, and hours of a device, shared with those that ran beside it."""

    wall_hours: float
    device_hours: float


class Line(Schema):
    """A line of a run's attempts; what else a start notes of its machine and code is its own."""

    model_config = ConfigDict({**STRICT, "extra": "allow"})
    attempt: Annotated[int, Ge(0)]
    start: int = 0
    end: int = 0
    ready: int = 0
    reached: int = 0
    how: str = ""
    error: str = ""
    device_share: float = 1.0
    host: str = ""
    slurm_job: str = ""
    plan: str = ""
    dataset_sha256: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    method_fingerprint: str = ""
    shared_fingerprint: str = ""


def attempts_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's attempts, but for those that a crash of the machine left illegible. Raises DocumentError for
    one that can be read and says what no attempt would, and for a folder in its place."""
    path, mend = folder / "attempts.jsonl", f"mend that line, or delete {folder} to make the run anew"
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except IsADirectoryError as error:
        raise DocumentError(f"{path} is a folder; delete {folder} to make the run anew") from error
    found = []
    for number, line in enumerate(lines, start=1):
        value = _legible(line)
        if isinstance(value, dict) and "attempt" in value:
            try:
                checked(value, Line, f"{path}, line {number}")
            except DocumentError as error:
                raise DocumentError(f"{error}; {mend}") from None
            found.append(value)
    return found


def _legible(line: bytes) -> Any:
    """What a whole line says; nothing of one that was torn or scribbled over."""
    with contextlib.suppress(ValueError):
        return json.loads(line) if line.endswith(b"\n") else None


def starts_of(attempts: Iterable[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """What is known of each attempt that began, by its number: what it began with, and what it noted later."""
    found: dict[int, dict[str, Any]] = {}
    for line in attempts:
        if "start" in line:
            found[line["attempt"]] = dict(line)
        elif "end" not in line and line["attempt"] in found:
            found[line["attempt"]] |= line
    return found


def ends_of(attempts: Iterable[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """How each attempt ended that has, by its number."""
    return {line["attempt"]: line for line in attempts if "end" in line}


def code_of(attempts: Lines, kind: str) -> str:
    """METHOD_CODE or SHARED_CODE of the newest attempt that noted it; empty without any."""
    return next((start[kind] for start in reversed(starts_of(attempts).values()) if start.get(kind)), "")


def codes_of(attempts: Lines, kind: str) -> list[str]:
    """Every code that a run went on with, in order; empty where no attempt noted any."""
    found = list(dict.fromkeys(start.get(kind) or UNKNOWN for start in starts_of(attempts).values()))
    return [] if found == [UNKNOWN] else found


def cost_of(attempts: Lines) -> Cost:
    """Sums over the attempts that have ended."""
    starts, wall, device = starts_of(attempts), 0.0, 0.0
    for number, end in ends_of(attempts).items():
        if number in starts:
            hours = (end["end"] - starts[number]["start"]) / 3_600_000
            wall += hours
            device += hours * starts[number].get("device_share", 1.0)
    return Cost(wall, device)


def failures_in_a_row(attempts: Lines) -> int:
    """How many of the last attempts failed for the same reason."""
    reasons = [end.get("error") if end["how"] == "failed" else None for end in ends_of(attempts).values()]
    count = 0
    while count < len(reasons) and reasons[-1] and reasons[-1 - count] == reasons[-1]:
        count += 1
    return count


def lost_in_a_row(attempts: Lines, reached: int | None) -> int:
    """How many attempts before this one, in a row, were lost without getting past this step (None: to any step).

    One that waited for its turn had no chance to get anywhere, and does not count.
    """
    starts, count = starts_of(attempts), 0
    for number, end in reversed(ends_of(attempts).items()):
        start = starts.get(number, {})
        if end["how"] != "lost" or start.get("reached", reached) != reached:
            break
        count += "waited" not in start or "reached" in start
    return count
