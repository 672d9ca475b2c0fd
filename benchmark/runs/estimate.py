"""What a plan will cost: updates, time, device-hours and memory. An estimate, and printed as one.

The base flow's time for an update and an environment step's come with the preset; a method's file says how many times
as much an update of it costs there. Where other seeds of the same pack are done, what they took is used instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmark.planning.plan import Pack
from benchmark.planning.settings import method_table, preset_table
from benchmark.runs.attempts import attempts_of, cost_of
from benchmark.runs.records import folder_of
from envs import load_suite

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Estimate:
    """Sums over packs; ``memory`` is the largest pack's, in bytes; ``measured`` counts packs timed before."""

    updates: int
    device_seconds: float
    memory: int
    measured: int


Rates = Mapping[tuple[str, str], float]
"""Device seconds of a seed by (method, task), measured."""
ENOUGH = 3
"""Finished seeds of a method and task that are looked at."""


def measured_rates(root: Path, packs: Sequence[Pack]) -> Rates:
    """The median of what finished seeds took, from their attempts."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for cell in (cell for pack in packs for cell in pack.cells):
        known = found[cell.method, cell.task]
        folder = folder_of(root, cell.key)
        if len(known) < ENOUGH and (folder / "done.json").exists():
            known.append(3600 * cost_of(attempts_of(folder)).device_hours)
    return {name: median(values) for name, values in found.items() if values}


def estimate(packs: Sequence[Pack], rates: Rates) -> Estimate:
    """The cost of these packs."""
    updates = sum(len(pack.cells) * updates_of_a_seed(pack) for pack in packs)
    seconds = sum(pack_seconds(pack, rates) for pack in packs)
    memory = max(map(pack_memory, packs), default=0)
    return Estimate(updates, seconds, memory, sum(_name(pack) in rates for pack in packs))


def pack_seconds(pack: Pack, rates: Rates) -> float:
    """Device seconds of a pack: as its method took on its task before, else by the declared costs."""
    one = rates.get(_name(pack))
    return len(pack.cells) * (seed_seconds(pack, updates_of_a_seed(pack)) if one is None else one)


def _name(pack: Pack) -> tuple[str, str]:
    return pack.first.method, pack.first.task


def updates_of_a_seed(pack: Pack) -> int:
    """Offline, and online from ``start_training`` on."""
    settings = pack.first.configuration["settings"]
    return settings["offline_steps"] + max(0, settings["online_steps"] - settings["start_training"] + 1)


def seed_seconds(pack: Pack, updates: int) -> float:
    """Device seconds of one seed by the declared costs."""
    configuration = pack.first.configuration
    settings = configuration["settings"]
    cost = preset_table(configuration["suite"], configuration["preset"])["cost"]
    relative = method_table(pack.first.method).get("cost", {}).get(configuration["preset"], 1.0)
    evaluations = -(-settings["offline_steps"] // settings["evaluate_every"])
    evaluations += -(-settings["online_steps"] // settings["evaluate_every"])
    environment_steps = settings["online_steps"] + evaluations * settings["evaluation_episodes"] * settings["horizon"]
    return updates * relative * cost["seconds_per_update"] + environment_steps * cost["seconds_per_environment_step"]


def pack_memory(pack: Pack) -> int:
    """Bytes of a pack on its device: the data (or one shard of them) once; and for each seed its rows, networks, two
    moments and averages."""
    configuration = pack.first.configuration
    settings: dict[str, Any] = configuration["settings"]
    task = load_suite(configuration["suite"]).tasks()[pack.first.task]
    inputs = task.observation[0] + task.action_size * settings["chunk_length"]
    row = FLOAT_BYTES * (task.observation[0] + task.action_size + 4)
    offline = load_suite(configuration["suite"]).transitions(configuration["data"]) * row

    def parameters(widths: Sequence[int]) -> int:
        return sum(a * b for a, b in zip((inputs, *widths), (*widths, inputs), strict=True))

    networks = settings["heads"] * parameters(settings["value_widths"]) + 2 * parameters(settings["actor_widths"])
    return offline + len(pack.cells) * (2 * settings["online_steps"] * row + 5 * FLOAT_BYTES * networks)
