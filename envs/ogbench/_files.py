"""Data files: where they are, whether they are whole, and what is in them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

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

AGAIN = "delete it and fetch or generate it again"


def official_files(domain: Domain, identity: Identity, folder: Path) -> list[Path]:
    """The official dataset's training files, in order, from ``folder`` or else OGBench's own ``~/.ogbench/data``."""
    name, shards = identity["name"], identity.get("shards")
    wanted = name if shards else f"{name}.npz"
    places = [folder / wanted, Path.home() / ".ogbench" / "data" / wanted]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise SuiteError(
            f"{wanted} is neither in {folder} nor in {places[1].parent}: prepare the data first, or name the folder "
            "that holds it with --data-dir DIR."
        )
    if shards:
        return _shards(domain, found, shards)
    check_count(found, domain)
    return [found]


def shard_names(domain: Domain, shards: int) -> list[str]:
    """Names of the training files of a dataset in shards, in the order of their rotation."""
    return [f"{domain.environment}-{domain.data}-v0-{number:03d}.npz" for number in range(shards)]


def _shards(domain: Domain, folder: Path, shards: int) -> list[Path]:
    pattern = re.compile(rf"{re.escape(domain.environment)}-{re.escape(domain.data)}-v0-\d{{3}}(-val)?\.npz")
    present = {file.name for file in folder.glob("*.npz")}
    stray = sorted(name for name in present if not pattern.fullmatch(name))
    if stray:
        raise SuiteError(f"{folder / stray[0]} is no shard of this dataset: move it elsewhere.")
    names = shard_names(domain, shards)
    missing = [name for name in names if name not in present]
    if missing:
        raise SuiteError(
            f"{folder} holds {shards - len(missing)} of {shards} shards ({missing[0]} is missing): prepare the data "
            "again to fetch the rest, or train on the first n of them with the data setting shards = n."
        )
    return [folder / name for name in names]


def checked(file: Path, record: Path | None = None) -> str:
    """The file's sha256, after a full check of its contents the first time; remembers size, time and hash.

    ``record`` is where it is remembered, by default next to the file. Raises if the contents are damaged or are not
    those that were remembered.
    """
    record = record or record_of(file)
    status = file.stat()
    known = json.loads(record.read_text()) if record.exists() else None
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
            f"{record} if the change is meant."
        )
    remember(record, {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": sha256})
    return sha256


def record_of(file: Path) -> Path:
    """Where the check of a file is remembered: next to it, or in ``~/.ogbench/checks`` if its folder is read-only."""
    beside = file.with_name(f"{file.name}.check.json")
    if beside.exists() or os.access(file.parent, os.W_OK):
        return beside
    place = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:16]
    return Path.home() / ".ogbench" / "checks" / f"{file.name}-{place}.json"


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
    rows = headers["observations"][0][0]
    for name, (width, kind) in expected.items():
        shape, dtype = headers[name]
        if shape != (rows, *width) or dtype.kind != kind:
            raise SuiteError(
                f"{name} of {file} is {dtype} {shape} where {domain.name} has {(rows, *width)} of kind {kind!r}: "
                "use OGBench's file of that name."
            )
    return rows


def check_count(file: Path, domain: Domain) -> None:
    """Raise unless the file holds as many rows as the official dataset."""
    rows = rows_of(file, domain)
    if rows != domain.episodes * domain.rows:
        raise SuiteError(
            f"{file} holds {rows} rows, not the {domain.episodes * domain.rows} of the official file: {AGAIN}."
        )


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
    ends = np.flatnonzero(columns["terminals"])
    rows = len(columns["terminals"])
    length = int(ends[0]) + 1 if len(ends) else 0
    if length < 2 or not np.array_equal(ends, np.arange(length - 1, rows, length)) or ends[-1] != rows - 1:
        raise SuiteError(f"{file} does not consist of episodes of equal length that end in a terminal row: {AGAIN}.")
    return columns


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
