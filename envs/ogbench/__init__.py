"""OGBench: ten domains of five tasks, their offline data and their environments.

Reference: Park et al., OGBench (the ``ogbench`` package, 1.2 or later); the choice of domains and their settings follow
QPILOTS (arXiv 2606.14801) and Li & Levine 2026 (arXiv 2601.14234). Importing this package imports no simulator.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path

from envs._suite import Dataset, Identity, Pool, Progress, SuiteError, Task
from envs.ogbench import _download, _files, _generate, _pool, _relabel
from envs.ogbench._tasks import domain_of_data, domains, identity, tasks

__all__ = ["identity", "load", "pool", "prepare", "tasks", "versions"]


def prepare(identity: Identity, folder: Path, mirror: str | None, jobs: int, progress: Progress) -> None:
    """Find, download or generate these data under ``folder``, and check every byte of them once."""
    domain = domain_of_data(identity)
    if identity["source"] == "generated":
        _generate.generate(domain, identity, folder, jobs, progress)
    else:
        _download.download(domain, identity, folder, mirror, progress)


def load(task: Task, identity: Identity, folder: Path) -> Dataset:
    """The prepared data, checked and labelled for this task."""
    domain = domains()[task.domain]
    if domain_of_data(identity) != domain:
        raise SuiteError(f"{identity['name']} holds no data of {task.name}: take the identity of that task.")
    if identity["source"] == "generated":
        return _relabel.LabelledFiles(task, domain, _generate.generated_file(domain, identity, folder))
    return _relabel.LabelledFiles(task, domain, _files.official_files(domain, identity, folder))


def pool(task: Task, slots: int, workers: int) -> Pool:
    """``slots`` environments of this task, spread over ``workers`` processes (0: in this one)."""
    if slots < 1 or workers < 0:
        raise SuiteError(f"a pool of {slots} slots in {workers} workers is impossible: ask for at least one slot.")
    return _pool.Processes(task, slots, workers) if workers else _pool.Slots(task, range(slots))


def versions() -> Mapping[str, str]:
    """Versions of the packages that decide what the environments do; imports none of them."""
    try:
        return {name: importlib.metadata.version(name) for name in ("mujoco", "ogbench", "dm_control", "gymnasium")}
    except importlib.metadata.PackageNotFoundError as error:
        raise SuiteError(
            f"OGBench needs the package {error.name}: install it with pip install {error.name}."
        ) from error
