"""Data files as the transitions of a task, mapped into memory so that none need fit in it.

A compressed file takes seconds to unpack and to label, and a grid reads it thousands of times. Both are done once, for
all five tasks, since making an environment is what labelling costs; every process on a machine then shares the pages.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from pathlib import Path

import numpy as np

from envs._documents import DocumentError, read
from envs._suite import Rows, SuiteError, Task
from envs.ogbench._files import checked, derived_home
from envs.ogbench._locks import locked
from envs.ogbench._relabel import label, stored_rewards
from envs.ogbench._tasks import Domain

ACTION_BOUND = 1 - 1e-5
"""Actions of single-file datasets are clipped to this, as Li & Levine 2026 (arXiv 2601.14234) do; shards are not."""
UNPACKED_VERSION = 1
"""Counts changes of what an unpacked folder holds."""
HASHES = "sha256.json"
"""In that folder: the arrays' hashes."""


class LabelledFiles:
    """Data files as the transitions of a task: shard i is file i, mapped anew each time it is asked for."""

    def __init__(self, task: Task, domain: Domain, files: list[Path], sharded: bool) -> None:
        """``files`` must have been checked before (by ``prepare``); their recorded hashes are compared again here."""
        self._task, self._domain, self._files, self._sharded = task, domain, files, sharded
        hashes = [(file.name, checked(file)) for file in files]
        whole = hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
        self.sha256 = hashes[0][1] if len(files) == 1 else whole
        self._rows: int | None = None

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, shard: int) -> Rows:
        """Transitions of one file; all files must hold equally many."""
        file = self._files[shard]
        columns = unpacked(self._domain, file)
        number = [task.name for task in self._domain.tasks].index(self._task.name)
        actions = columns["actions"]
        if not self._sharded:
            actions = np.clip(actions, -ACTION_BOUND, ACTION_BOUND)
        if self._rows is not None and self._rows != len(actions):
            raise SuiteError(
                f"{file} holds {len(actions)} transitions but another shard {self._rows}: fetch the odd one again."
            )
        self._rows = len(actions)
        return Rows(
            observations=columns["observations"],
            actions=actions,
            rewards=stored_rewards(self._task, columns["rewards"][number]),
            masks=columns["masks"][number],
            terminals=columns["terminals"],
        )


def unpacked(domain: Domain, file: Path) -> dict[str, np.ndarray]:
    """Mapped read-only columns of a file, float32: ``observations``, ``actions`` and ``terminals`` as in `Rows`,
    ``rewards`` (dense) and ``masks`` (5, N) of the five tasks. Unpacks the file where nobody has done so yet, or where
    what was unpacked is no longer what it was: every byte is compared.
    """
    words = f"{checked(file)} {UNPACKED_VERSION} {importlib.metadata.version('ogbench')}"
    name = f"{file.name}.{hashlib.sha256(words.encode()).hexdigest()[:12]}.unpacked"
    for home in (file.with_name(name), derived_home(file) / name):
        if (columns := _mapped(home)) is not None:
            return columns
    home = derived_home(file) / name
    with locked(home.with_name(f"{name}.lock")):
        if (columns := _mapped(home)) is None:
            shutil.rmtree(home, ignore_errors=True)
            _unpack(domain, file, home)
            columns = _mapped(home)
    if columns is None:
        raise SuiteError(f"{home} does not hold what was written there: mend that disk, or take another --data-dir.")
    return columns


def _mapped(home: Path) -> dict[str, np.ndarray] | None:
    """The columns of a folder if it holds them as they were written."""
    try:
        hashes = read(home / HASHES, dict[str, str])
        if all(_sha256(home / name) == wanted for name, wanted in hashes.items()):
            return {Path(name).stem: np.load(home / name, mmap_mode="r") for name in hashes}
    except (OSError, ValueError, DocumentError):
        pass
    return None


def _unpack(domain: Domain, file: Path, home: Path) -> None:
    data = label(domain, file)
    columns = {name: data.columns[name] for name in ("observations", "actions", "terminals")}
    columns |= {"rewards": data.rewards, "masks": data.masks}
    part = home.with_name(f"{home.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    try:
        part.mkdir(parents=True)
        for name, column in columns.items():
            np.save(part / f"{name}.npy", column, allow_pickle=False)
        hashes = {array.name: _sha256(array) for array in sorted(part.iterdir())}
        (part / HASHES).write_text(json.dumps(hashes, indent=1))
        part.replace(home)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise SuiteError(
            f"{file} could not be unpacked in {home.parent} ({error.strerror or error}): make room there and run again."
        ) from error


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
