"""From the rows of a data file to transitions, and to the labels of the five tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from envs._suite import Task
from envs.ogbench import _environments
from envs.ogbench._files import read
from envs.ogbench._tasks import Domain


@dataclass(frozen=True)
class Labelled:
    """Columns of N transitions as `regular` gives them; dense ``rewards`` and ``masks`` (5, N) of the five tasks."""

    columns: dict[str, np.ndarray]
    rewards: np.ndarray
    masks: np.ndarray


def label(domain: Domain, file: Path) -> Labelled:
    """Read and check a file, and label its transitions. Making an environment is what most of it costs."""
    columns = regular(read(file, domain))
    env = _environments.make(domain.tasks[0])
    labels = []
    for number in range(1, len(domain.tasks) + 1):
        env.unwrapped._reward_task_id = number
        labels.append(labelled(domain.tasks[0], env, columns))
    env.close()
    rewards, masks = (np.stack(each).astype(np.float32) for each in zip(*labels, strict=True))
    return Labelled(columns, rewards, masks)


def labelled(
    task: Task, environment: _environments.Environment, columns: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Dense rewards and masks (n,) of transitions for the task that ``environment`` is set to, which it is reset to."""
    from ogbench.relabel_utils import relabel_dataset

    labels = dict(columns)
    relabel_dataset(task.name, environment, labels)
    return labels["rewards"], labels["masks"]


def stored_rewards(task: Task, rewards: np.ndarray) -> np.ndarray:
    """The rewards (n,) a learner sees: of a sparse task -1 wherever the environment's is not 0."""
    return np.where(rewards != 0, -1, 0).astype(np.float32) if task.sparse else rewards


def regular(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns of N transitions from columns of a file, whose trajectories end in a row without successor.

    That row is no transition: the one before it becomes terminal, and its observation stands behind those of the
    transitions (N + E, d), the E trajectories in order. ``columns`` is emptied, so that a column is in memory once.
    """
    last = columns.pop("terminals").astype(bool)
    kept = np.flatnonzero(~last)
    order = {"observations": np.concatenate([kept, np.flatnonzero(last)])}
    transitions = {name: columns.pop(name)[order.get(name, kept)] for name in list(columns)}
    transitions["terminals"] = last[kept + 1].astype(np.float32)
    return transitions
