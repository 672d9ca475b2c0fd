"""From the rows of a data file to the transitions of one task."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path

import numpy as np

from envs._suite import Rows, SuiteError, Task
from envs.ogbench import _environments
from envs.ogbench._files import checked, read
from envs.ogbench._tasks import Domain

ACTION_BOUND = 1 - 1e-5
"""Actions of single-file datasets are clipped to this, as Li & Levine 2026 (arXiv 2601.14234) do; shards are not."""


class LabelledFiles:
    """Data files as the transitions of a task: shard i is file i, read anew each time it is asked for."""

    def __init__(self, task: Task, domain: Domain, files: list[Path]) -> None:
        """``files`` must have been checked before (by ``prepare``); their recorded hashes are compared again here."""
        self._task, self._domain, self._files = task, domain, files
        hashes = [(file.name, checked(file)) for file in files]
        whole = hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
        self.sha256 = hashes[0][1] if len(files) == 1 else whole
        self._rows: int | None = None

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, shard: int) -> Rows:
        """Transitions of one file; all files must hold equally many."""
        file = self._files[shard]
        columns = regular(read(file, self._domain))
        rows = self._label(columns)
        if self._rows is not None and self._rows != len(rows.rewards):
            raise SuiteError(
                f"{file} holds {len(rows.rewards)} transitions but another shard {self._rows}: fetch the odd one again."
            )
        self._rows = len(rows.rewards)
        return rows

    @cached_property
    def _environment(self) -> _environments.Environment:
        """For labelling only: labelling resets it, which an environment in use would not survive."""
        return _environments.make(self._task)

    def _label(self, columns: dict[str, np.ndarray]) -> Rows:
        from ogbench.relabel_utils import relabel_dataset

        relabel_dataset(self._task.name, self._environment, columns)
        actions = columns["actions"]
        if len(self._files) == 1:
            actions = np.clip(actions, -ACTION_BOUND, ACTION_BOUND)
        return Rows(
            observations=columns["observations"],
            actions=actions,
            rewards=stored_rewards(self._task, columns["rewards"]),
            masks=columns["masks"],
            terminals=columns["terminals"],
            next_observations=columns["next_observations"],
        )


def stored_rewards(task: Task, rewards: np.ndarray) -> np.ndarray:
    """The rewards (n,) a learner sees: of a sparse task -1 wherever the environment's is not 0."""
    return np.where(rewards != 0, -1, 0).astype(np.float32) if task.sparse else rewards


def regular(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns of transitions from columns of a file, whose trajectories end in a row without successor.

    That row is dropped, the one before it becomes terminal, and ``next_observations`` are the following rows'.
    """
    last = columns["terminals"].astype(bool)
    kept = np.flatnonzero(~last)
    transitions = {name: column[kept] for name, column in columns.items() if name != "terminals"}
    transitions["next_observations"] = columns["observations"][kept + 1]
    transitions["terminals"] = last[kept + 1].astype(np.float32)
    return transitions
