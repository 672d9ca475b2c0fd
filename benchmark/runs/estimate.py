"""What a plan will cost: updates, time on a device, memory and disk. An estimate, and printed as one.

The base flow's time for an update and an environment step's come with the preset, and so does that of a pack's start
(its process, its data, compilation); a method's file says how many times as much an update of it costs there. Where
other seeds of the same method and task are done, what they took is used instead, and of a start what others took.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from statistics import median
from typing import Any

import numpy as np

from benchmark.planning.data_files import Cost, method_file, preset_table
from benchmark.planning.plan import Cell, Pack, task_of
from benchmark.planning.run_settings import Settings, before
from benchmark.runs.attempts import Lines, cost_of, starts_of
from envs import load_suite
from envs._documents import DocumentError
from envs._suite import Task
from methods import UnavailableMethod

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Estimate:
    """Sums over packs; ``memory`` and ``disk`` are the largest pack's, in bytes; ``measured`` counts packs timed
    before."""

    updates: int
    device_seconds: float
    memory: int
    disk: int
    measured: int


NOTHING = Estimate(0, 0.0, 0, 0, 0)


@dataclass(frozen=True)
class Measured:
    """What runs took before: ``seeds``: device seconds of a seed by (method, task); ``starts``: seconds from a pack's
    start to its first update, compilation included, by method."""

    seeds: Mapping[tuple[str, str], float] = field(default_factory=dict)
    starts: Mapping[str, float] = field(default_factory=dict)


ENOUGH = 3
"""Finished seeds of a method and task that are looked at."""


def measured(done: Iterable[tuple[Cell, Lines]]) -> Measured:
    """The medians of what finished seeds took, from their attempts."""
    seeds: dict[tuple[str, str], list[float]] = defaultdict(list)
    starts: dict[str, list[float]] = defaultdict(list)
    for cell, attempts in done:
        if len(seeds[cell.method, cell.task]) < ENOUGH:
            seeds[cell.method, cell.task].append(3600 * cost_of(attempts).device_hours)
            began = [each for each in starts_of(attempts).values() if "ready" in each]
            starts[cell.method] += [(each["ready"] - each["start"]) / 1000 for each in began]
    return Measured(
        {name: median(values) for name, values in seeds.items()},
        {name: median(values) for name, values in starts.items() if values},
    )


def estimate(packs: Sequence[Pack], before: Measured) -> Estimate:
    """The cost of these packs."""
    updates = sum(len(pack.cells) * updates_of_a_seed(pack) for pack in packs)
    seconds = sum(expected(packs, before).values())
    memory = max(map(pack_memory, packs), default=0)
    disk = max(map(pack_disk, packs), default=0)
    return Estimate(updates, seconds, memory, disk, sum(_name(pack) in before.seeds for pack in packs))


def expected(packs: Sequence[Pack], before: Measured) -> dict[str, float]:
    """Device seconds of each pack by its name; what is one program is compiled for the first of its packs."""
    compiled: set[str] = set()
    found = {}
    for pack in packs:
        program = _program(pack)
        found[pack.name] = pack_seconds(pack, before) if program not in compiled else _without_start(pack, before)
        compiled.add(program)
    return found


def pack_seconds(pack: Pack, before: Measured) -> float:
    """Device seconds of a pack on its own: as its method took on its task before, else by the declared costs."""
    return _without_start(pack, before) + (0.0 if _name(pack) in before.seeds else start_seconds(pack, before))


def _without_start(pack: Pack, before: Measured) -> float:
    one = before.seeds.get(_name(pack))
    return len(pack.cells) * (seed_seconds(pack, updates_of_a_seed(pack)) if one is None else one)


def _program(pack: Pack) -> str:
    """What packs share that are one compiled program: method, sizes, and how many seeds run side by side."""
    configuration, task = pack.first.configuration, task_of(pack.first)
    shapes = [task.observation, task.action_size, len(pack.cells)]
    own = configuration["hyperparameters"]
    shapes += sorted((name, value) for name, value in own.items() if not isinstance(value, float))  # those are traced
    return f"{pack.first.method} {shapes} {configuration['backbone']} {sorted(configuration['settings'].items())}"


def start_seconds(pack: Pack, before: Measured) -> float:
    """Until a pack's first update: as its method took before, else as declared."""
    known = before.starts.get(pack.first.method)
    return _declared(pack).seconds_to_start if known is None else known


def _declared(pack: Pack) -> Cost:
    return preset_table(pack.first.configuration["suite"], pack.first.configuration["preset"]).cost


def spoken(seconds: float, of: str = "") -> str:
    """A time as a person would say it: 'about 25 min', or of a device 'about 25 device-minutes'."""
    for size, most, short, long in ((1, 90, "s", "seconds"), (60, 90, "min", "minutes"), (3600, 48, "h", "hours")):
        if seconds < size * most:
            count = seconds / size
            said = f"{count:.1f}" if size == 3600 and count < 10 else f"{max(1, round(count))}"
            unit = long.removesuffix("s") if said == "1" else long
            return f"about {said} {f'{of}-{unit}' if of else short}"
    return f"about {round(seconds / 86400):,} {f'{of}-days' if of else 'days'}"


def _name(pack: Pack) -> tuple[str, str]:
    return pack.first.method, pack.first.task


def updates_of_a_seed(pack: Pack) -> int:
    """Offline, and online from ``start_training`` on."""
    settings = pack.first.configuration["settings"]
    online = max(0, settings["online_steps"] - settings["start_training"] + 1)
    return settings["offline_steps"] + int(online * settings.get("updates_per_step", 1.0))


def seed_seconds(pack: Pack, updates: int) -> float:
    """Device seconds of one seed by the declared costs."""
    configuration = pack.first.configuration
    settings = configuration["settings"]
    cost = _declared(pack)
    relative = _times_flow(pack.first.method, configuration["preset"])
    evaluations = -(-settings["offline_steps"] // settings["evaluate_every"])
    evaluations += -(-settings["online_steps"] // settings["evaluate_every"])
    environment_steps = settings["online_steps"] + evaluations * settings["evaluation_episodes"] * settings["horizon"]
    return updates * relative * cost.seconds_per_update + environment_steps * cost.seconds_per_environment_step


def _times_flow(method: str, preset: str) -> float:
    """What an update costs in updates of the base flow; of a method that can't be used any more nobody knows."""
    with contextlib.suppress(UnavailableMethod, DocumentError):
        return method_file(method).cost.get(preset, 1.0)
    return 1.0


def pack_memory(pack: Pack) -> int:
    """Bytes of a pack on its device: the data (or one shard of them) once; and for each seed its rows, networks, two
    moments and averages."""
    configuration = pack.first.configuration
    rows, row = _rows(pack)
    offline = load_suite(configuration["suite"]).transitions(configuration["data"]) * row
    return offline + len(pack.cells) * (rows * row + 5 * _network_bytes(pack))


def pack_disk(pack: Pack) -> int:
    """Bytes of a pack's checkpoints at their largest: of each seed two with their rows, and one that is being made;
    each has networks, two moments and averages."""
    rows, row = _rows(pack)
    return len(pack.cells) * (2 * rows * row + 3 * 4 * _network_bytes(pack))


def _rows(pack: Pack) -> tuple[int, int]:
    """Rows that a seed sees online, and the bytes of each."""
    settings, task = pack.first.configuration["settings"], task_of(pack.first)
    return online_rows(task, settings), row_bytes(task, settings)


def _network_bytes(pack: Pack) -> int:
    """Of one seed's networks: a critic's heads, and two of an actor's size."""
    settings: dict[str, Any] = pack.first.configuration["settings"]
    task = task_of(pack.first)
    inputs = _features(task, settings) + task.action_size * settings["chunk_length"]

    def parameters(widths: Sequence[int]) -> int:
        return sum(a * b for a, b in zip((inputs, *widths), (*widths, inputs), strict=True))

    critics, actors = settings["heads"] * parameters(settings["value_widths"]), parameters(settings["actor_widths"])
    return FLOAT_BYTES * (critics + 2 * actors)


def online_rows(task: Task, settings: Mapping[str, Any]) -> int:
    """Rows that a seed sees online, with those that its trajectories end in."""
    steps, length = settings["online_steps"], settings["chunk_length"] if task.decisions else 1
    return steps // length + steps // settings["horizon"] + 1


def row_bytes(task: Task, settings: Mapping[str, Any]) -> int:
    """Of one row of replay, whose observation is stored once."""
    actions = task.action_size * (settings["chunk_length"] if task.decisions else 1)
    observation = sum(prod(leaf.shape) * np.dtype(leaf.type).itemsize for leaf in task.observation)
    return observation + FLOAT_BYTES * (actions + 4)


def _features(task: Task, settings: Mapping[str, Any]) -> int:
    """What a network sees of an observation: of all frames together what its encoder says."""
    plain = sum(prod(leaf.shape) for leaf in task.observation if len(leaf.shape) < 3)
    frames = any(len(leaf.shape) == 3 for leaf in task.observation)
    return plain + (settings.get("encoder_size", before(Settings)["encoder_size"]) if frames else 0)
