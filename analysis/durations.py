"""Lengths of time as a person would say them."""

from __future__ import annotations

import math

UNITS = (("second", 1, 60), ("minute", 60, 60), ("hour", 3600, 48), ("day", 86400, math.inf))
"""Name, seconds in it, and the number from which on the next one is used."""


def duration(hours: float, of: str = "") -> str:
    """These hours in the unit that suits, ``of`` before it: 25 minutes, 3.2 device-hours."""
    counts = [(name, _count(hours, seconds), limit) for name, seconds, limit in UNITS]
    name, number = next((name, number) for name, number, limit in counts if number < limit)
    return f"{number:,.1f}".removesuffix(".0") + f" {of}{name}{'' if number == 1 else 's'}"


def _count(hours: float, seconds: int) -> float:
    """One decimal below ten, but none for seconds, which nobody counts in tenths."""
    number = 3600 * hours / seconds
    return round(number, 1 if number < 10 and seconds > 1 else 0)
