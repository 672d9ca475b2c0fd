"""The order in which a person expects names and values: the numbers within them count as numbers."""

from __future__ import annotations

import re

NUMBER = re.compile(r"((?:(?<![\w.)\]])-)?\d+(?:\.\d+)?(?:e[-+]?\d+)?)")
"""A minus belongs to the number unless it joins it to a word, as in ``door-1``."""


def natural(text: str) -> tuple[tuple[str | float, ...], str]:
    """The key to sort by: 0.3 before 1 before 10, ``task-9`` before ``task-10``; what is equal so (1, 1.0) by text."""
    parts = NUMBER.split(text)  # text and number by turns, so that like is compared with like
    return tuple(float(part) if index % 2 else part for index, part in enumerate(parts)), text
