"""Generating a dataset: episodes in parallel, each saved when finished, then assembled into OGBench's file format."""

from __future__ import annotations

import importlib.metadata
import json
import multiprocessing.connection
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from envs._suite import Identity, Progress, SuiteError
from envs.ogbench._episodes import Recorder
from envs.ogbench._files import AGAIN, checked, remember
from envs.ogbench._locks import locked
from envs.ogbench._processes import Answer, Worker
from envs.ogbench._tasks import GENERATOR_VERSION, Domain

SPLITS = ("train", "val")
Piece = tuple[str, int]
"""One episode: split and number."""


def folder_of(identity: Identity, folder: Path) -> Path:
    """Where these data live under ``folder``."""
    words = "{name}-{procedure}-v{version}-seed{seed}-{episodes}".format(**identity)
    return folder / "generated" / words


def generated_file(domain: Domain, identity: Identity, folder: Path) -> list[Path]:
    """The training file, after comparing the folder's manifest with ``identity`` and the files with their hashes."""
    home = folder_of(identity, folder)
    manifest_file = home / "manifest.json"
    if not manifest_file.exists():
        raise SuiteError(f"{home} holds no finished data: prepare the data first, which resumes what was begun.")
    manifest = json.loads(manifest_file.read_text())
    if manifest["identity"] != identity:
        raise SuiteError(
            f"{manifest_file} describes other data than its folder's name: delete {home} and generate again."
        )
    file = home / _file_name(identity, "train")
    if not file.exists():
        raise SuiteError(f"{file} has gone: delete {home} and generate again.")
    if checked(file) != manifest["sha256"][file.name]:
        raise SuiteError(f"{file} is not the file that was generated: delete {home} and generate again.")
    if manifest["rows"]["train"] != identity["episodes"] * domain.rows:
        raise SuiteError(f"{manifest_file} counts other rows than its identity: {AGAIN}.")
    return [file]


def generate(domain: Domain, identity: Identity, folder: Path, jobs: int, progress: Progress) -> None:
    """Make the files unless they are there, in ``jobs`` processes; goes on where an earlier call was stopped.

    An episode depends on (seed, split, number) alone, so the result does not depend on the number of processes.
    """
    home = folder_of(identity, folder)
    with locked(home.with_name(f"{home.name}.lock")):
        if (home / "manifest.json").exists():
            generated_file(domain, identity, folder)
            return
        if identity["version"] != GENERATOR_VERSION:
            raise SuiteError(
                f"this version generates data of version {GENERATOR_VERSION}, not {identity['version']}: "
                "check out the version that made them, or make new ones."
            )
        # Episodes of different physics must not be mixed when a stopped generation goes on after an upgrade.
        parts = home / f"parts-mujoco-{importlib.metadata.version('mujoco')}"
        parts.mkdir(parents=True, exist_ok=True)
        _record_missing(domain, identity, parts, jobs, progress)
        _assemble(identity, parts, home)
        shutil.rmtree(parts)


def _counts(identity: Identity) -> dict[str, int]:
    """Episodes of each split; validation gets a tenth, as in the official files."""
    return {"train": identity["episodes"], "val": max(1, identity["episodes"] // 10)}


def _part(parts: Path, piece: Piece) -> Path:
    return parts / f"{piece[0]}-{piece[1]:05d}.npz"


def _file_name(identity: Identity, split: str) -> str:
    return f"{identity['name']}{'' if split == 'train' else '-val'}.npz"


def _record_missing(domain: Domain, identity: Identity, parts: Path, jobs: int, progress: Progress) -> None:
    pieces = [(split, number) for split, count in _counts(identity).items() for number in range(count)]
    missing = [piece for piece in pieces if not _part(parts, piece).exists()]
    done, total, what = len(pieces) - len(missing), len(pieces), f"generating {identity['name']}"
    progress(what, done, total)
    for _ in _recorded(domain, identity, parts, missing, jobs):
        done += 1
        progress(what, done, total)


def _recorded(domain: Domain, identity: Identity, parts: Path, missing: list[Piece], jobs: int) -> Iterator[None]:
    """Record the missing episodes, yielding after each."""
    remaining = iter(missing)
    workers = {}
    try:
        for _ in range(min(max(jobs, 1), len(missing))):
            worker = Worker(f"generating {identity['name']}", _answer, domain, identity, parts)
            workers[worker.connection] = worker
            worker.send(next(remaining))
        waiting = set(workers)
        while waiting:
            for connection in multiprocessing.connection.wait(list(waiting)):
                worker = workers[connection]
                worker.receive()
                yield
                piece = next(remaining, None)
                if piece is None:
                    waiting.discard(connection)
                else:
                    worker.send(piece)
    finally:
        for worker in workers.values():
            worker.close()


def _answer(domain: Domain, identity: Identity, parts: Path) -> Answer:
    """Runs in a worker: records the episode that a message names and saves it."""
    recorder = Recorder(domain, identity["procedure"], identity["seed"])

    def record(piece: Piece) -> None:
        _save(_part(parts, piece), recorder.episode(*piece))

    return record


def _save(file: Path, columns: dict[str, np.ndarray]) -> None:
    """Write a compressed .npz that is there whole or not at all."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **columns)
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SuiteError(f"{file} could not be written ({error.strerror}): make room there and run again.") from error


def _assemble(identity: Identity, parts: Path, home: Path) -> None:
    rows, sha256 = {}, {}
    for split, count in _counts(identity).items():
        episodes = []
        for number in range(count):
            with np.load(_part(parts, (split, number))) as part:
                episodes.append(dict(part))
        columns = {name: np.concatenate([episode[name] for episode in episodes]) for name in episodes[0]}
        file = home / _file_name(identity, split)
        _save(file, columns)
        rows[split] = len(columns["terminals"])
        sha256[file.name] = checked(file)
    versions = {name: importlib.metadata.version(name) for name in ("mujoco", "ogbench", "dm_control", "gymnasium")}
    manifest = {"identity": identity, "rows": rows, "sha256": sha256, "versions": versions}
    remember(home / "manifest.json", manifest)
