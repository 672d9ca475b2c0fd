"""Checkpoints: arrays by the path of their leaf, and a JSON note, in one file that is replaced atomically.

Loading runs no code (no pickles) and verifies every byte: the digest of the NumPy archive stands behind it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

NOTE = "note.json"
ROWS = "rows/"
FILE = "state.npz"
DIGEST_BYTES = 32


class CheckpointError(Exception):
    """A checkpoint that can't be used; the text says how to go on."""


def save(folder: Path, tree: Any, rows: dict[str, np.ndarray], note: dict[str, Any]) -> None:
    """Replace the checkpoint of a run; an interrupted save leaves the old one. ``rows`` may have any length."""
    folder.mkdir(exist_ok=True)
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    arrays |= {ROWS + name: array for name, array in rows.items()}
    arrays[NOTE] = np.frombuffer(json.dumps(note).encode(), np.uint8)
    temporary = folder / ".state.npz"  # a run has one writer
    try:
        with temporary.open("w+b") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").digest()
            file.seek(0, os.SEEK_END)
            file.write(digest)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / FILE)
    finally:
        temporary.unlink(missing_ok=True)


def exists(folder: Path) -> bool:
    return (folder / FILE).exists()


def read_note(folder: Path) -> dict[str, Any]:
    """The JSON note alone."""
    with _open(folder) as stored:
        return json.loads(bytes(stored[NOTE]).decode())


def load(folder: Path, like: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """The saved tree, shaped as ``like`` (arrays or shapes), and the rows.

    Raises CheckpointError if the tree does not fit or a byte is damaged.
    """
    with _open(folder) as stored:
        arrays = {name: stored[name] for name in stored.files}

    def leaf(path: Any, shape: Any) -> np.ndarray:
        name = jax.tree_util.keystr(path)
        if name not in arrays:
            raise _unusable(folder, f"it has no {name}")
        if arrays[name].shape != shape.shape or arrays[name].dtype != shape.dtype:
            raise _unusable(folder, f"{name} has shape {arrays[name].shape} where {shape.shape} is wanted")
        return arrays[name]

    rows = {name.removeprefix(ROWS): array for name, array in arrays.items() if name.startswith(ROWS)}
    return jax.tree_util.tree_map_with_path(leaf, like), rows


def _open(folder: Path) -> Any:
    """The archive, after its digest was checked; runs no code, whatever the bytes are."""
    try:
        content = (folder / FILE).read_bytes()
    except OSError as error:
        raise _unusable(folder, str(error)) from error
    archive, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(archive).digest() != digest:
        raise _unusable(folder, "its bytes are not those that were saved")
    return np.load(io.BytesIO(archive), allow_pickle=False)


def _unusable(folder: Path, why: str) -> CheckpointError:
    return CheckpointError(f"the checkpoint in {folder} can't be used ({why}); delete it to start this run again")
