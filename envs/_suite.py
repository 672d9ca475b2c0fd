"""What a suite offers to the benchmark: tasks as data, datasets, and a pool of environments.

A suite is a module ``envs/<suite>.py`` or package ``envs/<suite>/`` with the functions of `Suite`. Importing it must
not import a simulator, so that a plan can be made without one.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

Identity = dict[str, Any]
"""What a dataset is, as JSON: ``source`` ("official" or "generated") and whatever else tells it from every other."""

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``."""

SUCCESS = "success"
SUCCESS_RATE = {SUCCESS: "share of the episodes that succeed"}
"""The score that every suite has."""


class SuiteError(Exception):
    """A fault of data or environment that the user can mend; its text is one sentence that says how."""


class Leaf(NamedTuple):
    """One array of an observation: its name, its shape, and its type as NumPy calls it. An observation whose only leaf
    has an empty name is that array; any other is a dictionary. Three axes are an image: height, width, channels."""

    name: str
    shape: tuple[int, ...]
    type: str = "float32"


class Start(NamedTuple):
    """Where an episode starts: a seed (0 <= seed < 2**32), and what for. A suite with stored states keeps them for
    evaluation."""

    seed: int
    kind: Literal["evaluation", "training"]


@dataclass(frozen=True)
class Task:
    """One task: its name and the facts that belong to the suite rather than to a method.

    ``observation`` are the leaves that replay keeps and trained networks see, ``seen`` those that only its base sees,
    while acting; ``action_size`` A, ``chunk_length`` H, ``horizon`` the step limit of an episode, ``pessimism`` rho.
    ``sparse`` turns every reward into -1 (not solved) or 0. ``success_timing`` says which state a step's success
    describes ("pre": the one before the step). Where ``decisions``, a row of replay is a decision with a reward of its
    own, else a step. ``offline``: whether it has rows to learn from before acting. ``value`` is the value rule of a
    method that states none. ``base``: whose framework's frozen flow comes with it: "jax", "torch", or none.
    """

    name: str
    domain: str
    observation: tuple[Leaf, ...]
    action_size: int
    chunk_length: int
    discount: float
    pessimism: float
    sparse: bool
    horizon: int
    success_timing: str
    seen: tuple[Leaf, ...] = ()
    decisions: bool = False
    offline: bool = True
    value: str = "td"
    base: str = ""


@dataclass(frozen=True, eq=False)
class Base:
    """A frozen flow policy that comes with a task: noise is t = 0, data is t = 1, velocity is data minus noise.

    What it moves is a latent: ``width`` W entries for each of H steps, time-major, of which the first A become the
    action as ``scale`` x + ``shift`` (A numbers each); the rest is padding. It ``needs`` leaves of an observation, by
    name. Both functions are JAX's: ``encode(arrays, obs)`` of observations (B, ...) once for each, then
    ``velocity(arrays, context, x (B, M, H W), t (B, M, 1))`` for M latents of each, differentiable in x. ``arrays`` are
    shared by all seeds, and NumPy's: whoever plans opens no device. ``map_steps``: in how many steps its posterior's
    flow may stand for a meta flow map, 0 where that is too dear. ``called_back``: its functions leave the compiled
    program; ``fault`` then tells the error that ended it, once.
    """

    needs: tuple[str, ...]
    width: int
    scale: tuple[float, ...]
    shift: tuple[float, ...]
    arrays: Any
    encode: Callable[[Any, Any], Any]
    velocity: Callable[[Any, Any, Any, Any], Any]
    map_steps: int = 0
    called_back: bool = False
    fault: Callable[[], BaseException | None] = lambda: None


@dataclass(frozen=True)
class Rows:
    """N transitions of E trajectories in recorded order: row i's trajectory ends where ``terminals`` is 1.

    ``observations`` (N + E, ...), each leaf: those of the N transitions, each also the next one of the row before it,
    and behind them what each trajectory ends in; ``actions`` (N, A) in [-1, 1]; ``rewards``, ``masks`` (0 = do not
    bootstrap: the task is solved), ``terminals`` (N,); float32. A task without offline rows has none, N = 0.
    """

    observations: Any
    actions: np.ndarray
    rewards: np.ndarray
    masks: np.ndarray
    terminals: np.ndarray


def check_keys(size: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raise SuiteError for a setting of data that there is not."""
    for key in size:
        if key not in known:
            near = (difflib.get_close_matches(key, known, 1) or [" or ".join(known)])[0]
            raise SuiteError(f"unknown setting {key!r} of data: did you mean {near}?")


def count_in(size: Mapping[str, Any], key: str, default: int, least: int, most: int = 2**32 - 1) -> int:
    """A setting of data that is an integer from ``least`` to ``most``; raises SuiteError if it is not."""
    value = size.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise SuiteError(f"{key} of the data is {value!r}: give an integer from {least} to {most:,}.")
    return value


class Dataset(Protocol):
    """A dataset in one or more shards of equal size; ``sha256`` identifies the bytes that were read."""

    sha256: str

    def __len__(self) -> int: ...

    def __getitem__(self, shard: int) -> Rows: ...


@dataclass(frozen=True)
class Steps:
    """What one slot did with a chunk: n <= h steps were executed, fewer only if the episode ended.

    ``observations`` (n, ...) are the observations AFTER each step, ``rewards`` (n,) float32 as they are stored,
    ``terminated`` and ``truncated`` (n,) bool. Where rows are decisions there is one entry of each, n = 1: the
    observation after the whole chunk and the reward of the decision; how many steps it took is ``executed``.
    ``measures`` describes the whole episode when its last step is in here (always with "success", "return" and
    "length"), else it is None.
    """

    observations: Any
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    measures: dict[str, float] | None
    executed: int | None = None

    @property
    def count(self) -> int:
        """Steps of the environment."""
        return len(self.rewards) if self.executed is None else self.executed


class Pool(Protocol):
    """Environments in numbered slots; every slot is independent of all others, to the last bit."""

    def reset(self, starts: Mapping[int, Start]) -> dict[int, Any]:
        """Start a new episode in each named slot: slot -> where; answers slot -> observation."""
        ...

    def step(self, chunks: Mapping[int, np.ndarray]) -> dict[int, Steps]:
        """Execute slot -> actions (h, A) open loop; raises on a non-finite action, or where the episode is over."""
        ...

    def close(self) -> None: ...


class Suite(Protocol):
    """The functions a suite module offers."""

    def tasks(self) -> Mapping[str, Task]:
        """Every task by its name, in the order of the tables."""
        ...

    def scores(self) -> Mapping[str, str]:
        """Measures of an episode that a table may rank by, more being better -> what each is, in words."""
        ...

    def domain_words(self) -> Mapping[str, str]:
        """Every word for a domain that people may use -> the domain's name; in the order of the tables."""
        ...

    def identity(self, task: Task, source: str, size: Mapping[str, Any]) -> Identity:
        """What data this task would train on; needs none of them. ``size`` is the preset's ``[<suite>.data]`` table."""
        ...

    def provenance(self, identity: Identity) -> str:
        """Where these data come from, short: results on data of another provenance never stand in the same table."""
        ...

    def choose(self, task: Task, folder: Path) -> str:
        """The source of data for a user who leaves it open: official if these are in ``folder``, else generated."""
        ...

    def transitions(self, identity: Identity) -> int:
        """How many of these data's transitions are on a device at a time: all, or one shard's."""
        ...

    def prepare(self, identity: Identity, folder: Path, address: str | None, jobs: int, progress: Progress) -> None:
        """Find, download or generate these data under ``folder``; resumes what an earlier call began.

        Nothing is downloaded without an ``address``, which is empty for the suite's own.
        """
        ...

    def load(self, task: Task, identity: Identity, folder: Path) -> Dataset:
        """The prepared data, checked and labelled for this task."""
        ...

    def environments(self) -> int:
        """How many environments a run may hold for evaluation, beside the one in which each seed acts."""
        ...

    def base(self, task: Task) -> Base | None:
        """The frozen flow that comes with a task, if one does."""
        ...

    def pool(self, task: Task, slots: int, workers: int) -> Pool: ...

    def versions(self, task: Task) -> Mapping[str, str]:
        """Versions of the packages that decide what a task's environments do, and its base."""
        ...
