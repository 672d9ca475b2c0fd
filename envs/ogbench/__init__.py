"""OGBench: ten domains of five tasks, their offline data and their environments.

Reference: Park et al., OGBench (the ``ogbench`` package, 1.2 or later); the choice of domains and their settings follow
QPILOTS (arXiv 2606.14801) and Li & Levine 2026 (arXiv 2601.14234). Importing this package imports no simulator.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path

from envs._suite import SUCCESS_RATE, Base, Dataset, Identity, Pool, Progress, SuiteError, Task
from envs.ogbench import _dataset, _download, _files, _generate, _measures, _pool
from envs.ogbench._tasks import Domain, domain_of_data, domain_words, domains, identity, tasks

__all__ = [
    "base",
    "choose",
    "domain_words",
    "environments",
    "identity",
    "load",
    "pool",
    "prepare",
    "provenance",
    "scores",
    "tasks",
    "transitions",
    "versions",
]


def scores() -> Mapping[str, str]:
    """What random presses reach is no score, nor is the best reward where pressing much makes it better."""
    return {**SUCCESS_RATE, **_measures.SCORES}


def provenance(identity: Identity) -> str:
    """Source, how and from what seed data were generated, and how many unless it is the official number."""
    domain = domain_of_data(identity)
    if identity["source"] == "official":
        few = identity.get("shards", 0) != domain.shards
        return f"official/{identity['shards']} shards" if few else "official"
    words = "generated:{procedure}/v{version}/seed{seed}".format(**identity)
    words += f"/{identity['shards']} shards" if "shards" in identity else ""
    usual = domain.episodes * identity.get("shards", 1)
    return words if identity["episodes"] == usual else f"{words}/{identity['episodes']} episodes"


def choose(task: Task, folder: Path) -> str:
    """Official files that are there, or that cannot be generated; else generated data."""
    domain = domains()[task.domain]
    wanted = identity(task, "official", {})
    place = _files.official_place(domain, wanted, folder)
    there = all((place / name).exists() for name in _files.official_names(domain, wanted))
    return "official" if there or domain.generation is None else "generated"


def transitions(identity: Identity) -> int:
    """How many of these data's transitions are on a device at a time: all, or one shard's."""
    domain = domain_of_data(identity)
    episodes = identity["episodes"] // identity.get("shards", 1) if "episodes" in identity else domain.episodes
    return episodes * (domain.rows - 1)


def prepare(identity: Identity, folder: Path, address: str | None, jobs: int, progress: Progress) -> None:
    """Find or generate these data under ``folder``, or download them where an address is given (empty: the package's);
    check every byte and every value of them once."""
    domain = domain_of_data(identity)
    if identity["source"] == "generated":
        _generate.generate(domain, identity, folder, jobs, progress)
    elif address is not None:
        _download.download(domain, identity, folder, address, progress)
    files = _files_of(domain, identity, folder)
    for number, file in enumerate(files):
        progress(f"unpacking {identity['name']}", number, len(files))
        _dataset.unpacked(domain, file)
    progress(f"unpacking {identity['name']}", len(files), len(files))


def load(task: Task, identity: Identity, folder: Path) -> Dataset:
    """The prepared data, checked and labelled for this task."""
    domain = domains()[task.domain]
    if domain_of_data(identity) != domain:
        raise SuiteError(f"{identity['name']} holds no data of {task.name}: take the identity of that task.")
    return _dataset.LabelledFiles(task, domain, _files_of(domain, identity, folder), "shards" in identity)


def _files_of(domain: Domain, identity: Identity, folder: Path) -> list[Path]:
    if identity["source"] == "generated":
        return _generate.generated_files(domain, identity, folder)
    return _files.official_files(domain, identity, folder)


def environments() -> int:
    """Episodes side by side, over all seeds."""
    return 50


def base(task: Task) -> Base | None:
    """No flow comes with these tasks."""
    return None


def pool(task: Task, slots: int, workers: int) -> Pool:
    """``slots`` environments of this task, spread over ``workers`` processes (0: in this one)."""
    if slots < 1 or workers < 0:
        raise SuiteError(f"a pool of {slots} slots in {workers} workers is impossible: ask for at least one slot.")
    return _pool.Processes(task, slots, workers) if workers else _pool.Slots(task, range(slots))


def versions(task: Task) -> Mapping[str, str]:
    """Versions of the packages that decide what the environments do; imports none of them."""
    try:
        return {name: importlib.metadata.version(name) for name in ("mujoco", "ogbench", "dm_control", "gymnasium")}
    except importlib.metadata.PackageNotFoundError as error:
        raise SuiteError(
            f"OGBench needs the package {error.name}: install it with pip install {error.name}."
        ) from error
