"""Data files: where they are, whether they are whole, and what is in them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from typing_extensions import TypedDict

from envs._documents import DocumentError
from envs._documents import read as read_document
from envs._suite import Identity, SuiteError
from envs.ogbench._tasks import Domain

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    KeyError,
    NotImplementedError,
    RuntimeError,
)
"""What reading a damaged .npz file may raise, depending on the byte that is wrong."""

KEPT = Path("~/.ogbench/data")
"""Where OGBench itself keeps its files."""
AGAIN = "delete it and fetch or generate it again"


def official_files(domain: Domain, identity: Identity, folder: Path) -> list[Path]:
    """The official dataset's training files, in order, from ``folder`` or else OGBench's own ``~/.ogbench/data``."""
    wanted = official_names(domain, identity)
    place = official_place(domain, identity, folder)
    files = [place / name for name in wanted]
    missing = [file for file in files if not file.exists()]
    if len(missing) == len(wanted):
        raise SuiteError(
            f"{identity['name']} is neither in {folder} nor in {KEPT.expanduser()}: fetch it with python -m "
            f"envs.ogbench.download {domain.environment}, or name the folder that holds it with --data-dir DIR."
        )
    if missing:
        raise SuiteError(
            f"{missing[0].parent} holds {len(wanted) - len(missing)} of {len(wanted)} shards ({missing[0].name} is "
            f"missing): fetch the rest with python -m envs.ogbench.download {domain.environment}, or train on the "
            "first n with --set data.shards=n."
        )
    if domain.shards:
        pattern = re.compile(rf"{re.escape(domain.environment)}-{re.escape(domain.data)}-v0-\d{{3}}(-val)?\.npz")
        stray = [file for file in files[0].parent.glob("*.npz") if not pattern.fullmatch(file.name)]
        if stray:
            raise SuiteError(f"{min(stray)} is no shard of this dataset: move it elsewhere.")
    for file in files:
        check_size(file, domain)
    if len({rows_of(file, domain) for file in files}) > 1:
        raise SuiteError(f"the shards in {files[0].parent} hold unequal numbers of rows: delete the odd ones.")
    return files


def official_place(domain: Domain, identity: Identity, folder: Path) -> Path:
    """Of ``folder`` and OGBench's own, the one that holds most of the dataset's files; ``folder`` if both are equal."""

    def held(place: Path) -> int:
        return sum((place / name).exists() for name in official_names(domain, identity))

    return max((folder, KEPT.expanduser()), key=held)


def official_names(domain: Domain, identity: Identity) -> list[str]:
    """The official dataset's training files, relative to the folder of all data, in the order of their rotation."""
    if not domain.shards:
        return [f"{identity['name']}.npz"]
    stem = f"{identity['name']}/{domain.environment}-{domain.data}-v0"
    return [f"{stem}-{number:03d}.npz" for number in range(identity["shards"])]


def checked(file: Path, record: Path | None = None) -> str:
    """The file's sha256, after a full check of its contents the first time; remembers size, time and hash.

    ``record`` is where it is remembered, by default next to the file. Raises if the contents are damaged or are not
    those that were remembered.
    """
    record = record or record_of(file)
    status = file.stat()
    known = _remembered(record) or _remembered(file.with_name(record.name))
    if known and (known["size"], known["mtime_ns"]) == (status.st_size, status.st_mtime_ns):
        return known["sha256"]
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except DAMAGE as error:
        raise SuiteError(f"{file} is truncated or no .npz file: {AGAIN}.") from error
    if damaged:
        raise SuiteError(f"{file} is damaged ({damaged} fails its checksum): {AGAIN}.")
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if known and known["sha256"] != sha256:
        raise SuiteError(
            f"{file} is not the file it was (sha256 {known['sha256'][:12]}, now {sha256[:12]}): restore it, or delete "
            f"it together with {record.name} and fetch or generate it again."
        )
    remember(record, {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": sha256})
    return sha256


def record_of(file: Path) -> Path:
    """Where the check of a file is written down."""
    return derived_home(file) / f"{file.name}.check.json"


class Check(TypedDict):
    """What the record of a file's check says."""

    size: int
    mtime_ns: int
    sha256: str


def _remembered(record: Path) -> Check | None:
    try:
        return read_document(record, Check)
    except (FileNotFoundError, DocumentError):
        return None  # it is only what saves a second look


def derived_home(file: Path) -> Path:
    """Folder for what is found out about a file: the file's own, or one in ``~/.ogbench`` if that is read-only."""
    if os.access(file.parent, os.W_OK):
        return file.parent
    place = hashlib.sha256(str(file.parent.resolve()).encode()).hexdigest()[:16]
    return Path.home() / ".ogbench" / "derived" / place


def remember(path: Path, content: dict[str, object]) -> None:
    """Write JSON so that a reader finds the old or the new content, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(content, indent=1))
    part.replace(path)


def rows_of(file: Path, domain: Domain) -> int:
    """Number of rows by the headers alone, after comparing names, kinds and shapes of the arrays with the domain's."""
    try:
        headers = _headers(file)
    except DAMAGE as error:
        raise SuiteError(f"{file} is truncated or no .npz file: {AGAIN}.") from error
    if "valids" in headers:
        raise SuiteError(f"{file} has the compact layout (an array 'valids'): use the file as OGBench publishes it.")
    expected = _expected(domain)
    missing = [name for name in expected if name not in headers]
    if missing:
        raise SuiteError(
            f"{file} has no array {missing[0]!r}, which {domain.name} needs: use OGBench's file of that name."
        )
    rows = (headers["observations"][0] or (0,))[0]
    if rows == 0:
        raise SuiteError(f"{file} holds no rows: {AGAIN}.")
    for name, (width, kind) in expected.items():
        shape, dtype = headers[name]
        if shape != (rows, *width) or dtype.kind != kind or (kind == "f" and dtype.itemsize < 4):
            raise SuiteError(
                f"{name} of {file} is {dtype} {shape} where {domain.name} has {(rows, *width)} of kind {kind!r}: "
                "use OGBench's file of that name."
            )
    return rows


def check_size(file: Path, domain: Domain) -> None:
    """Raise unless the file holds as many rows as the official dataset; a shard, whole episodes."""
    rows, wanted = rows_of(file, domain), domain.episodes * domain.rows
    if rows % domain.rows or (rows != wanted and not domain.shards):
        raise SuiteError(f"{file} holds {rows} rows, not the {wanted} of the official file: {AGAIN}.")


def read(file: Path, domain: Domain) -> dict[str, np.ndarray]:
    """The file's arrays: observations and actions float32, the simulator's state as stored; checked value by value."""
    rows_of(file, domain)
    try:
        with np.load(file) as archive:
            columns = {name: archive[name] for name in _expected(domain)}
    except DAMAGE as error:
        raise SuiteError(f"{file} is damaged: {AGAIN}.") from error
    for name in ("observations", "actions"):
        columns[name] = columns[name].astype(np.float32, copy=False)
    for name in ("observations", "actions", "qpos", "qvel"):
        if not np.isfinite(columns[name]).all():
            raise SuiteError(f"{name} of {file} holds values that are not finite: {AGAIN}.")
    if np.abs(columns["actions"]).max() > 1:
        raise SuiteError(f"{file} holds actions beyond -1..1: {AGAIN}.")
    if not set(np.unique(columns.get("button_states", 0))) <= {0, 1}:
        raise SuiteError(f"{file} holds states of buttons beyond 0 and 1: {AGAIN}.")
    ends, rows = np.flatnonzero(columns["terminals"]), len(columns["terminals"])
    if rows % domain.rows or not np.array_equal(ends, np.arange(domain.rows - 1, rows, domain.rows)):
        raise SuiteError(
            f"{file} does not consist of episodes of {domain.rows} rows, each with a terminal one at its end: {AGAIN}."
        )
    return columns


def as_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Recorded rows as the columns of a file, in the types of the official ones."""
    types = {"terminals": np.bool_, "button_states": np.int64}
    return {name: np.array([row[name] for row in rows], dtype=types.get(name, np.float32)) for name in rows[0]}


def _expected(domain: Domain) -> dict[str, tuple[tuple[int, ...], str]]:
    """Array name -> (shape after the rows, kind of dtype)."""
    simulator = {name: ((width,), "i" if name == "button_states" else "f") for name, width in domain.columns.items()}
    return {
        "observations": ((domain.observation,), "f"),
        "actions": ((domain.action_size,), "f"),
        "terminals": ((), "b"),
        **simulator,
    }


def _headers(file: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Array name -> (shape, dtype), without reading the arrays."""
    headers = {}
    with zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
            with archive.open(member) as stream:
                version = npy.read_magic(stream)
                header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, _, dtype = header(stream)
            headers[member.removesuffix(".npy")] = (shape, dtype)
    return headers
