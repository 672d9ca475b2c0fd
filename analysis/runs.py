"""Which runs count: of one store or several, those that were asked for, none that was superseded, each key once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis.fingerprints import METHOD, SHARED, short
from analysis.natural import natural
from analysis.store import read_runs

GROUP = ("suite", "protocol", "preset", "data_source", "backbone", "value", "mujoco")
"""Tags that runs must share to stand in one table; of mujoco's version, the first two numbers."""
ORDER = (*GROUP, "method", "domain", "task", "seed", "bench.key")
TAGS = (*ORDER, "git_commit", "git_dirty", "gpu", "host")
OPTIONAL = ("swept", "score", "score_meaning", METHOD, SHARED)
"""Tags that are null where a run lacks them; the others are then "unknown"."""
SUPERSEDED = "tags.bench.superseded"
"""Says "true" of a run that was replaced since its method's code changed."""


class ChoiceError(Exception):
    """There is nothing to show, or nothing that may be shown together; one sentence that says why and what to do."""


@dataclass(frozen=True)
class Choice:
    """What was asked for; empty where all is."""

    suite: str = ""
    preset: str = ""
    methods: tuple[str, ...] = ()

    @property
    def parts(self) -> list[tuple[str, tuple[str, ...]]]:
        """(tag, wanted values) of all that is asked for."""
        given = [("suite", (self.suite,)), ("preset", (self.preset,)), ("method", self.methods)]
        return [(tag, wanted) for tag, wanted in given if any(wanted)]

    def __str__(self) -> str:
        return "; ".join(_named(tag, wanted) for tag, wanted in self.parts)


def joined(stores: Sequence[str], choice: Choice) -> pl.DataFrame:
    """The runs of these stores that count, whatever the order of the stores."""
    frames = [current(read_runs(store)).with_columns(pl.lit(store).alias("store")) for store in stores]
    frame, where = pl.concat(frames, how="diagonal_relaxed"), ", ".join(stores)
    if not len(frame):
        raise ChoiceError(f"There are no runs in {where} that count yet: run the benchmark first.")
    frame = chosen(frame, choice, where)
    _refuse_other_code(frame)
    # Of the copies of a run one may be older, and then not know yet that it has finished.
    frame = frame.sort(pl.col("status") == "FINISHED", "started", "run_id")
    return frame.unique("bench.key", keep="last", maintain_order=True)


def current(runs: pl.DataFrame) -> pl.DataFrame:
    """This project's runs with their tags as columns, sorted; of several with one key the one started last."""
    if SUPERSEDED in runs.columns:
        runs = runs.filter(pl.col(SUPERSEDED).ne_missing("true"))
    columns = [
        (pl.col(f"tags.{tag}") if f"tags.{tag}" in runs.columns else pl.lit(None, pl.String)).alias(tag)
        for tag in (*TAGS, *OPTIONAL)
    ]
    frame = runs.with_columns(columns).filter(pl.col("bench.key").is_not_null())
    frame = frame.with_columns(pl.col(TAGS).fill_null("unknown"), pl.col(OPTIONAL).replace("", None))
    frame = frame.with_columns(
        pl.col("mujoco").alias("mujoco_full"), pl.col("mujoco").str.extract(r"^(\d+\.\d+)").fill_null("unknown")
    )
    frame = frame.sort("started", "run_id").unique("bench.key", keep="last", maintain_order=True)
    keys = [tuple(map(natural, row)) for row in frame.select(ORDER).rows()]
    return frame[sorted(range(len(keys)), key=keys.__getitem__)]


def chosen(frame: pl.DataFrame, choice: Choice, where: str) -> pl.DataFrame:
    """Those of these runs that were asked for, of which there must be some for every name."""
    done: list[str] = []
    for tag, wanted in choice.parts:
        there = sorted(frame[tag].unique(), key=natural)
        missing = [name for name in wanted if name not in there]
        if missing:
            within = f" with {' and '.join(done)}" if done else ""
            verb = "is" if len(there) == 1 else "are"
            raise ChoiceError(
                f"There is no run of {_named(tag, missing)} in {where}{within}: there {verb} {_named(tag, there)}."
            )
        frame = frame.filter(pl.col(tag).is_in(wanted))
        done.append(_named(tag, wanted))
    return frame


def _named(tag: str, values: Sequence[str]) -> str:
    return f"{tag}{'s' if len(values) > 1 else ''} {', '.join(values)}"


def _refuse_other_code(frame: pl.DataFrame) -> None:
    """A run that two stores have counts once, but which one would be anybody's guess if other code made it."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for run in frame.select("bench.key", "method", "task", "seed", "store", METHOD, SHARED).to_dicts():
        runs.setdefault(run["bench.key"], []).append(run)
    clashes = [same for same in runs.values() if len({(run[METHOD], run[SHARED]) for run in same}) > 1]
    if not clashes:
        return
    one, *others = min(clashes, key=lambda same: [natural(same[0][name]) for name in ("method", "task", "seed")])
    other = next(run for run in others if (run[METHOD], run[SHARED]) != (one[METHOD], one[SHARED]))
    tag, code = (METHOD, "method code") if one[METHOD] != other[METHOD] else (SHARED, "shared code")
    methods = ", ".join(sorted({same[0]["method"] for same in clashes}, key=natural))
    raise ChoiceError(
        f"{one['method']} on {one['task']} with seed {one['seed']} is in {one['store']} and in {other['store']}, "
        f"made by different {code} ({short(one[tag])} and {short(other[tag])}): leave one of the stores out, or choose "
        f"with --methods others than those with such runs ({methods})."
    )
