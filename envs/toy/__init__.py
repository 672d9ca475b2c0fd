"""Toy worlds: a coffee break in which a method shows that it learns.

One set is told by vectors, has recorded data, and its rows are steps (see `_worlds`). The other is told by pixels, has
no data, its rows are decisions, and a frozen base comes with it (see `_pixels` and `_bases`).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
from annotated_types import Ge, Interval

from envs._documents import Schema, read
from envs._suite import (
    SUCCESS_RATE,
    Base,
    Identity,
    Leaf,
    Pool,
    Progress,
    Rows,
    SuiteError,
    Task,
    check_keys,
    count_in,
)
from envs.toy import _bases, _pixels, _worlds

VERSION = 1


class Facts(Schema):
    """What the worlds of a set share, see `Task`."""

    action_size: Annotated[int, Ge(1)]
    chunk_length: Annotated[int, Ge(1)]
    discount: Annotated[float, Interval(ge=0, le=1)]
    pessimism: float
    sparse: bool
    horizon: Annotated[int, Ge(1)]
    success_timing: Literal["pre", "post"]


class File(Schema):
    """The worlds by the name of their task; of those told by pixels, the base that comes with it."""

    facts: Facts
    world: dict[str, Literal["bandit", "corridor", "between"]]
    pixel_facts: Facts
    base: dict[str, Literal["mixture", "torch", "prompted"]]


@cache
def _file() -> File:
    return read(Path(__file__).with_name("worlds.toml"), File, "envs/toy/worlds.toml")


@cache
def tasks() -> Mapping[str, Task]:
    file = _file()
    facts: dict[str, Any] = {**file.facts.model_dump(), "observation": (Leaf("", (4,)),)}
    found = {name: Task(name=name, domain=world, **facts) for name, world in file.world.items()}
    shown: dict[str, Any] = {
        "observation": _pixels.OBSERVATION,
        "decisions": True,
        "offline": False,
        "value": "sarsa",
    }
    for name, base in file.base.items():
        more: dict[str, Any] = {"seen": _pixels.PROMPT} if base == "prompted" else {}
        more |= {"base": "torch" if base == "torch" else "jax", "domain": name.rpartition("-")[0]}
        found[name] = Task(name=name, **file.pixel_facts.model_dump(), **shown, **more)
    return found


def scores() -> Mapping[str, str]:
    return SUCCESS_RATE


def domain_words() -> Mapping[str, str]:
    return {task.domain: task.domain for task in tasks().values()}


def identity(task: Task, source: str, size: Mapping[str, Any]) -> Identity:
    if source != "generated":
        raise SuiteError("the toy suite has no official data; leave --data out, or say --data generated")
    if not task.offline:
        check_keys(size, ())
        own = {"base": _file().base[task.name], "base_version": _bases.VERSION}
        return {"source": "generated", "name": task.domain, "procedure": "none", "version": VERSION, **own}
    check_keys(size, ("seed", "episodes"))
    numbers = {"seed": count_in(size, "seed", 0, 0), "episodes": count_in(size, "episodes", 500, 1, 1_000_000)}
    return {"source": "generated", "name": task.domain, "procedure": "sides", "version": VERSION, **numbers}


def provenance(identity: Identity) -> str:
    if "base" in identity:
        return "none, frozen bases/v{base_version}, worlds/v{version}".format(**identity)
    return "generated:{procedure}/v{version}/seed{seed}/{episodes} trajectories".format(**identity)


def choose(task: Task, folder: Path) -> str:
    return "generated"


def transitions(identity: Identity) -> int:
    return identity.get("episodes", 0) * _worlds.TRAJECTORY


def prepare(identity: Identity, folder: Path, address: str | None, jobs: int, progress: Progress) -> None:
    """Nothing to prepare: the data are made in memory, in milliseconds."""


@dataclass(frozen=True)
class ToyData:
    rows: Rows
    sha256: str

    def __len__(self) -> int:
        return 1

    def __getitem__(self, shard: int) -> Rows:
        return self.rows


def load(task: Task, identity: Identity, folder: Path) -> ToyData:
    """What the behaviour recorded, if it did."""
    rows = _worlds.recorded(task, identity) if task.offline else _pixels.nothing(task)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(each).tobytes() for each in jax.tree.leaves(vars(rows))))
    return ToyData(rows, digest.hexdigest())


def environments() -> int:
    """Episodes side by side, over all seeds."""
    return 50


@cache
def base(task: Task) -> Base | None:
    """The frozen flow of a world that is told by pixels."""
    return _bases.make(_file().base[task.name], task.chunk_length) if task.base else None


def pool(task: Task, slots: int, workers: int) -> Pool:
    return _pixels.PixelPool(task) if task.decisions else _worlds.WorldPool(task)


def versions(task: Task) -> Mapping[str, str]:
    """The worlds are these files: their version is in the data's identity."""
    try:
        return {"torch": importlib.metadata.version("torch")} if task.base == "torch" else {}
    except importlib.metadata.PackageNotFoundError:
        raise SuiteError(_bases.NO_TORCH) from None
