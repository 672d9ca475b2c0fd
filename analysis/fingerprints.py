"""Which code made the runs of a table: named by fingerprints of the code, as a commit may change other things only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import polars as pl

from analysis.natural import natural

METHOD, SHARED = "method_fingerprint", "shared_fingerprint"
"""Tags of a run: of its method's code, and of the code that all methods share. Both are lacking in older runs, and are
several, joined by +, where a run went on under changed code."""
UNKNOWN = "unknown"
DIGITS = 8


def short(fingerprint: str | None) -> str:
    """The first digits, as they are shown."""
    return "+".join(part[:DIGITS] for part in fingerprint.split("+")) if fingerprint else UNKNOWN


def mixed(finished: pl.DataFrame) -> list[str]:
    """At most one note: the methods, and what they share, whose finished runs are not known to be of one code."""
    told = bool(finished[METHOD].count())
    codes: dict[str, list[str | None]] = {}
    for method, fingerprint in finished.select("method", METHOD).rows():
        codes.setdefault(method, []).append(fingerprint)
    parts = [
        f"{method} {_counted(codes[method])}"
        for method in sorted(codes, key=natural)
        if _several(codes[method]) or (told and None in codes[method])
    ]
    shared = finished[SHARED].to_list()
    if _several(shared):
        parts.append(f"what all methods share {_counted(shared)}")
    return [f"mixed code: {'; '.join(parts)}"] if parts else []


def _several(fingerprints: Iterable[str | None]) -> bool:
    found = set(fingerprints)
    return len(found) > 1 or any("+" in fingerprint for fingerprint in found if fingerprint)


def _counted(fingerprints: Iterable[str | None]) -> str:
    """Each with the number of its runs, the most frequent first."""
    counts = sorted(Counter(fingerprints).items(), key=lambda item: (-item[1], short(item[0]), item[0] or ""))
    return ", ".join(f"{short(code)} ({count} run{'' if count == 1 else 's'})" for code, count in counts)
