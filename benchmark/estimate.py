"""What a plan will cost: updates, time, device-hours and memory. An estimate, and printed as one.

The base flow's time for an update and an environment step's come with the preset; a method's file says how many times
as much an update of it costs there. Where other seeds of the same pack are done, what they took is used instead.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmark.plan import Pack
from benchmark.records import folder_of
from benchmark.settings import method_table, preset_table
from envs import load_suite

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Estimate:
    """Sums over packs; ``memory`` is the largest pack's, in bytes; ``measured`` counts packs timed before."""

    updates: int
    device_seconds: float
    memory: int
    measured: int


def measured_rates(root: Path, packs: Sequence[Pack]) -> dict[tuple[str, str], float]:
    """Median seconds of a finished pack's seed by (method, task), from its attempts."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for pack in packs:
        for cell in pack.cells:
            folder = folder_of(root, cell.key)
            if (folder / "done.json").exists():
                found[cell.method, cell.task].append(seconds_spent(folder) / len(pack.cells))
    return {name: median(values) for name, values in found.items()}


def seconds_spent(folder: Path) -> float:
    """Seconds of a run's attempts; what an attempt without an end did was done again by the next."""
    starts, spent = {}, 0.0
    for line in map(json.loads, (folder / "attempts.jsonl").read_text().splitlines()):
        if "start" in line:
            starts[line["attempt"]] = line["start"]
        elif line["attempt"] in starts:
            spent += (line["end"] - starts[line["attempt"]]) / 1000
    return spent


def estimate(root: Path, packs: Sequence[Pack], left: dict[str, int]) -> Estimate:
    """The cost of what is left; ``left`` maps a pack's name to its unfinished cells."""
    measured = measured_rates(root, packs)
    updates, seconds, memory, known = 0, 0.0, 0, 0
    for pack in packs:
        if not (count := left[pack.name]):
            continue
        steps = updates_of_a_seed(pack)
        updates += count * steps
        memory = max(memory, pack_memory(pack))
        if (pack.first.method, pack.first.task) in measured:
            known += 1
            seconds += count * measured[pack.first.method, pack.first.task]
        else:
            seconds += count * seed_seconds(pack, steps)
    return Estimate(updates, seconds, memory, known)


def pack_seconds(pack: Pack) -> float:
    """Device seconds of a whole pack by the declared costs."""
    return len(pack.cells) * seed_seconds(pack, updates_of_a_seed(pack))


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
