"""Checkpoints: arrays by the path of their leaf, and a JSON note, in one file that is replaced atomically; and beside
it a file of rows that only grows (see `row_files`).

Loading runs no code (no pickles) and verifies every byte: the digest of the NumPy archive stands behind it. The
checkpoint before the last is kept: for a last one that is damaged, and because the members of a pack save one after
another, so that a kill between two of them leaves only the one before to go on from together.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmark.runs import row_files
from benchmark.runs.row_files import Arrays, Mark, RowFiles

NOTE = "note.json"
BESIDE = "beside/"
FILE, PREVIOUS, FINAL = "state.npz", "previous.npz", "final.npz"
DIGEST_BYTES = 32


class CheckpointError(Exception):
    """A checkpoint that can't be used; the text says how to go on."""


class Found(NamedTuple):
    """A checkpoint that can be used, and its note."""

    path: Path
    note: dict[str, Any]


def save(
    folder: Path,
    tree: Any,
    beside: Arrays,
    note: dict[str, Any],
    check: Callable[[], None] = lambda: None,
    rows: Mark | None = None,
) -> None:
    """Replace the checkpoint of a run; an interrupted save leaves the old one. ``beside`` may have any shapes; ``rows``
    says up to where its file of rows is its own.

    ``check`` is asked when all is written and nothing is replaced yet: it raises if the run is another's by now.
    """
    folder.mkdir(exist_ok=True)
    arrays = _named(tree) | {BESIDE + name: array for name, array in beside.items()}
    note = note | ({"rows": rows._asdict()} if rows else {})
    arrays[NOTE] = np.frombuffer(json.dumps(note).encode(), np.uint8)
    _write(folder / FILE, arrays, folder / PREVIOUS, check)


def files_of_rows(folder: Path) -> RowFiles:
    """A run's files of rows as its checkpoints note them; what none of them notes is written anew."""
    marks = [_mark(found.note) for found in usable(folder)]
    noted = [mark for mark in marks if mark]
    return RowFiles(folder, {mark.file: mark for mark in reversed(noted)}, *(mark.file for mark in noted[:1]))


def go_back(folder: Path, found: Found | None) -> None:
    """Forget what was saved after the checkpoint that a run goes on from, or all: it must never be gone back to."""
    if found is None:
        for name in (FILE, PREVIOUS):
            (folder / name).unlink(missing_ok=True)
        row_files.remove(folder)
    elif found.path.name == PREVIOUS:
        found.path.replace(folder / FILE)
    for leftover in folder.glob(f".{FILE}.*"):
        leftover.unlink()


def keep_final(folder: Path, keep: str, tree: Any) -> None:
    """Before a run is done: its ``tree`` of parameters alone in a small file, where that is what to keep."""
    if keep == "parameters":
        folder.mkdir(exist_ok=True)
        _write(folder / FINAL, _named(tree))


def retire(folder: Path, keep: str) -> None:
    """After a run is done: without its checkpoints, unless 'all' is to be kept."""
    if keep != "all":
        go_back(folder, None)


def reduce(folder: Path) -> None:
    """Of a run that was done and is set aside: its networks alone, as where parameters are what to keep."""
    if not (folder / FINAL).exists() and (found := usable(folder)):
        with _open(found[0].path) as stored:
            kept = {f"['{part}']": f".{part}" for part in ("parameters", "slow")}
            arrays = {
                new + name.removeprefix(old): stored[name]
                for new, old in kept.items()
                for name in stored.files
                if name.startswith(old + "[")
            }
        _write(folder / FINAL, arrays)
    go_back(folder, None)


def sweep(folder: Path) -> None:
    """Of a run that was done, and killed before it could retire its checkpoints."""
    if (folder / FINAL).exists():
        go_back(folder, None)


def size(folder: Path) -> int:
    """Bytes of a run's checkpoints."""
    return sum(path.stat().st_size for path in folder.glob("*.npz")) + row_files.size(folder)


def usable(folder: Path) -> list[Found]:
    """The checkpoints of a run, newest first, none before its first save. Raises CheckpointError if all are damaged."""
    found, fault = [], None
    for path in (folder / FILE, folder / PREVIOUS):
        if path.exists():
            try:
                with _open(path) as stored:
                    note = json.loads(bytes(stored[NOTE]).decode())
                if mark := _mark(note):
                    row_files.verify(folder, mark)
                found.append(Found(path, note))
            except CheckpointError as error:
                fault = fault or error
            except row_files.Damaged as error:
                fault = fault or _unusable(path, str(error))
    if fault and not found:
        raise fault
    return found


class Loaded(NamedTuple):
    """The tree, the arrays beside it, and the rows of its file."""

    tree: Any
    beside: Arrays
    rows: Arrays


def load(path: Path, like: Any) -> Loaded:
    """What was saved, the tree shaped as ``like`` (arrays or shapes).

    Raises CheckpointError if the tree does not fit or a byte is damaged.
    """
    with _open(path) as stored:
        arrays = {name: stored[name] for name in stored.files}

    def leaf(place: Any, shape: Any) -> np.ndarray:
        name = jax.tree_util.keystr(place)
        if name not in arrays:
            raise _unusable(path, f"it has no {name}")
        if arrays[name].shape != shape.shape or arrays[name].dtype != shape.dtype:
            raise _unusable(path, f"{name} has shape {arrays[name].shape} where {shape.shape} is wanted")
        return arrays[name]

    tree = jax.tree_util.tree_map_with_path(leaf, like)
    mark = _mark(json.loads(bytes(arrays[NOTE]).decode())) if NOTE in arrays else None
    try:
        rows = row_files.read(path.parent, mark) if mark else {}
    except row_files.Damaged as error:
        raise _unusable(path, str(error)) from error
    beside = {name.removeprefix(BESIDE): array for name, array in arrays.items() if name.startswith(BESIDE)}
    return Loaded(tree, beside, rows)


def _mark(note: dict[str, Any]) -> Mark | None:
    return Mark(**note["rows"]) if "rows" in note else None


def _named(tree: Any) -> dict[str, np.ndarray]:
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _write(
    path: Path,
    arrays: dict[str, np.ndarray],
    previous: Path | None = None,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Write beside, then rename, so that at every moment either the new file or the one before is whole."""
    # A run has one writer, but one that lost it may not know that yet.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("w+b") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").digest()
            file.seek(0, os.SEEK_END)
            file.write(digest)
            file.flush()
            os.fsync(file.fileno())
        check()
        if previous and path.exists():
            path.replace(previous)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # a name survives a power cut only once its folder is on disk
    finally:
        os.close(folder)


def _open(path: Path) -> Any:
    """The archive, after its digest was checked; runs no code, whatever the bytes are."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unusable(path, str(error)) from error
    archive, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(archive).digest() != digest:
        raise _unusable(path, "its bytes are not those that were saved")
    return np.load(io.BytesIO(archive), allow_pickle=False)


def _unusable(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"the checkpoint {path} can't be used ({why}); delete {path.parent} to start this run again")
