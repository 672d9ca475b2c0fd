"""Plans as they lie under a root: what was asked for, so that anybody can later tell what is missing.

<root>/plans/<name>.json: a pack a line of its list, with its configuration, the sources of its values, its seeds, and
the command that plans it alone. A job on a cluster finds its cells here by their keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Lt, MinLen

from benchmark.planning.data_files import preset_table
from benchmark.planning.errors import check_word
from benchmark.planning.plan import PROTOCOL, Cell, Configuration, Pack, Plan
from benchmark.planning.run_settings import recorded
from benchmark.planning.words import SEED_BITS
from benchmark.runs.records import write_json
from envs import load_suite, suites
from envs._documents import DocumentError, Schema, checked, read


class PlanFileError(Exception):
    """A plan that can't be read; the text is one sentence."""


class StoredPack(Schema):
    """A pack as it is written down."""

    configuration: Configuration
    provenance: dict[str, str]
    seeds: Annotated[tuple[Annotated[int, Ge(0), Lt(2**SEED_BITS)], ...], MinLen(1)]
    words: tuple[str, ...]


class StoredPlan(Schema):
    """A plan as it is written down; earlier ones do not say their command."""

    suite: str
    preset: str
    data: str
    command: str = ""
    packs: tuple[StoredPack, ...]


@dataclass(frozen=True)
class Stored:
    """A plan read back."""

    name: str
    suite: str
    preset: str
    packs: tuple[Pack, ...]
    data: str
    command: str = ""
    """The launch command that was given last; none is known of plans from before it was noted."""


def path_of(root: Path, name: str) -> Path:
    return root / "plans" / f"{name}.json"


def save(root: Path, plan: Plan, data: str = "", command: str = "") -> None:
    """Write a plan down, with the folder of its data and the command that launched it; the same plan is the same
    file."""
    path = path_of(root, plan.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    packs = [
        {
            "configuration": {name: value for name, value in pack.first.configuration.items() if name != "seed"},
            "provenance": pack.first.provenance,
            "seeds": [cell.seed for cell in pack.cells],
            "words": list(pack.words),
        }
        for pack in plan.packs
    ]
    write_json(path, {"suite": plan.suite, "preset": plan.preset, "data": data, "command": command, "packs": packs})


def load(path: Path) -> Stored:
    """Raises PlanFileError."""
    mend = "delete it, or give its launch command again"
    try:
        stored = read(path, StoredPlan)
    except FileNotFoundError as error:
        raise PlanFileError(f"the plan {path} is not there; {mend}") from error
    except DocumentError as error:
        raise PlanFileError(f"the plan can't be read: {error}; {mend}") from error
    try:
        _check(path, stored)
    except DocumentError as error:
        raise PlanFileError(f"{error}; the plan is of another version: {mend}") from error
    where = ("--data-dir", stored.data) if stored.data else ()
    packs = tuple(
        Pack(
            tuple(Cell({**each.configuration, "seed": seed}, each.provenance) for seed in each.seeds),
            (*each.words, *where),
        )
        for each in stored.packs
    )
    return Stored(path.stem, stored.suite, stored.preset, packs, stored.data, stored.command)


def _check(path: Path, stored: StoredPlan) -> None:
    """Raise DocumentError where it names what there is not, or lacks what is counted with."""
    check_word(f"suite in {path}", stored.suite, suites())
    preset_table(stored.suite, stored.preset)
    tasks, kind = load_suite(stored.suite).tasks(), recorded()
    for pack in stored.packs:
        checked(pack.configuration["protocol"], Literal[PROTOCOL], str(path), "protocol")
        check_word(f"suite in {path}", pack.configuration["suite"], (stored.suite,))
        check_word(f"preset in {path}", pack.configuration["preset"], (stored.preset,))
        check_word(f"task in {path}", pack.configuration["task"], tasks)
        checked(pack.configuration["settings"], kind, f"{path}, settings of {pack.configuration['method']}")


def load_all(root: Path) -> tuple[list[Stored], list[str]]:
    """Every plan under a root, oldest first, and a sentence for each that can't be read."""
    found, damaged = [], []
    for path in sorted(root.glob("plans/*.json"), key=lambda path: path.lstat().st_mtime):  # a link may lead nowhere
        try:
            found.append(load(path))
        except PlanFileError as error:
            damaged.append(str(error))
    return found, damaged
