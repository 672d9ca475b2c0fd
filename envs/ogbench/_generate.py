"""Generating a dataset: episodes in parallel, each saved when finished, then assembled into OGBench's file format.

All work happens in a folder beside the final one, which is renamed at the very end: data are there whole or not at all.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import multiprocessing.connection
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, Protocol

import numpy as np
from typing_extensions import TypedDict

from envs._documents import DocumentError, read
from envs._suite import Identity, Progress, SuiteError
from envs.ogbench._controller import WEIGHTS
from envs.ogbench._episodes import Recorder
from envs.ogbench._files import DAMAGE, checked, remember, rows_of
from envs.ogbench._locks import locked
from envs.ogbench._navigate import MazeRecorder
from envs.ogbench._processes import Answer, Worker
from envs.ogbench._relabel import label
from envs.ogbench._statistics import statistics
from envs.ogbench._tasks import VERSIONS, Domain

CARD = "manifest.json"
"""The dataset's card: what it is, how it was made, its counts, checksums and statistics."""
Piece = tuple[str, int]
"""One episode: split and number."""


class CardFile(TypedDict):
    """What a card says of a file; statistics are there of training data."""

    sha256: str
    rows: NotRequired[int]
    statistics: NotRequired[dict[str, Any]]


class Card(TypedDict):
    """What CARD says."""

    identity: dict[str, Any]
    files: dict[str, CardFile]
    versions: dict[str, str]
    controller_sha256: NotRequired[str]


class EpisodeRecorder(Protocol):
    """What records episodes; each is determined by its numbers alone."""

    def episode(self, split: str, number: int) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class Volume:
    """One file of a dataset and the episodes that it holds."""

    file: str
    split: str
    first: int
    count: int

    @property
    def pieces(self) -> list[Piece]:
        return [(self.split, number) for number in range(self.first, self.first + self.count)]


def folder_of(identity: Identity, folder: Path) -> Path:
    """Where these data live under ``folder``."""
    words = "{name}-{procedure}-v{version}-seed{seed}-{episodes}".format(**identity)
    return folder / "generated" / (f"{words}-in-{identity['shards']}" if "shards" in identity else words)


def volumes(identity: Identity) -> list[Volume]:
    """The files of a dataset, a validation file with a tenth of the episodes behind each, as in the official data."""
    shards = identity.get("shards", 1)
    train = identity["episodes"] // shards
    validation = max(1, train // 10)
    found = []
    for shard in range(shards):
        stem = f"{identity['name']}-{shard:03d}" if "shards" in identity else identity["name"]
        found.append(Volume(f"{stem}.npz", "train", shard * train, train))
        found.append(Volume(f"{stem}-val.npz", "val", shard * validation, validation))
    return found


def generated_files(domain: Domain, identity: Identity, folder: Path) -> list[Path]:
    """The training files in order, after comparing the folder's card with ``identity`` and every file with it."""
    home = folder_of(identity, folder)
    card = read_card(home)
    if card["identity"] != identity:
        raise SuiteError(
            f"{home / CARD} describes other data than its folder's name: delete {home} and generate again."
        )
    wanted = {volume.file for volume in volumes(identity)}
    if stray := {file.name for file in home.glob("*.npz")} - wanted:
        raise SuiteError(f"{home / min(stray)} does not belong to these data: move it elsewhere.")
    if missing := wanted - {file.name for file in home.glob("*.npz")}:
        raise SuiteError(f"{home / min(missing)} has gone: generate again, which makes what is missing.")
    for name in sorted(wanted):
        check_made(home / name, card)
    return [home / volume.file for volume in volumes(identity) if volume.split == "train"]


def check_made(file: Path, card: Card) -> str:
    """The sha256 of a file, which must be the one on its dataset's card."""
    if file.name not in card["files"]:
        raise SuiteError(f"{file} does not belong to these data: move it elsewhere.")
    sha256 = checked(file)
    if sha256 != card["files"][file.name]["sha256"]:
        raise SuiteError(f"{file} is not the file that was generated: delete it and generate again.")
    return sha256


def read_card(home: Path) -> Card:
    """The card of a finished dataset, of this version of mujoco up to the patch."""
    if not home.exists():
        raise SuiteError(f"{home} is not there: generate the data, or let the launcher do it.")
    try:
        card = read(home / CARD, Card)
        made = card["versions"]["mujoco"]
    except (FileNotFoundError, DocumentError, KeyError) as error:
        raise SuiteError(
            f"{home / CARD} has gone, is damaged or of an earlier version: delete {home} and generate again."
        ) from error
    here = importlib.metadata.version("mujoco")
    if made.split(".")[:2] != here.split(".")[:2]:
        raise SuiteError(
            f"the data in {home} were made with mujoco {made} and this is {here}: install the older one, or delete the "
            "folder and generate again."
        )
    return card


def generate(domain: Domain, identity: Identity, folder: Path, jobs: int, progress: Progress) -> None:
    """Make the files unless they are there, in ``jobs`` processes; goes on where an earlier call was stopped.

    An episode depends on (seed, split, number) alone, so the result does not depend on the number of processes.
    """
    home = folder_of(identity, folder)
    if _whole(home, identity):  # perhaps on a disk that one may only read
        generated_files(domain, identity, folder)
        return
    with locked(home.with_name(f"{home.name}.lock")):
        if _whole(home, identity):
            return
        if identity["version"] != (now := VERSIONS[identity["procedure"]]):
            raise SuiteError(
                f"{identity['procedure']} data are generated in version {now} here, not {identity['version']}: "
                "check out the code that made them, or make new ones."
            )
        # Episodes of different physics must not be mixed when a stopped generation goes on after an upgrade.
        here = importlib.metadata.version("mujoco")
        if home.exists() and (made := read_card(home)["versions"]["mujoco"]) != here:
            raise SuiteError(f"{home} was made with mujoco {made} and lacks files: install that, or delete the folder.")
        work = home if home.exists() else home.with_name(f"{home.name}.making-mujoco-{here}")
        work.mkdir(parents=True, exist_ok=True)
        _record_missing(domain, identity, work, jobs, progress)
        if work != home:
            remember(work / CARD, _card(domain, identity, work))
            work.replace(home)
        generated_files(domain, identity, folder)


def _whole(home: Path, identity: Identity) -> bool:
    return all((home / name).exists() for name in (CARD, *(volume.file for volume in volumes(identity))))


def _part(work: Path, piece: Piece) -> Path:
    return work / "episodes" / f"{piece[0]}-{piece[1]:06d}.npz"


def _record_missing(domain: Domain, identity: Identity, work: Path, jobs: int, progress: Progress) -> None:
    """Record what is missing of each file and assemble it, so that at most one file's episodes lie around."""
    what, total = f"generating {identity['name']}", sum(volume.count for volume in volumes(identity))
    (work / "episodes").mkdir(exist_ok=True)
    unmade = [volume for volume in volumes(identity) if not (work / volume.file).exists()]
    missing = [piece for volume in unmade for piece in volume.pieces if not zipfile.is_zipfile(_part(work, piece))]
    absent, done = set(missing), total - len(missing)
    progress(what, done, total)
    pending = {volume.file: absent.intersection(volume.pieces) for volume in unmade}
    for volume in unmade:
        if not pending[volume.file]:
            _assemble(domain, volume, work)
    for piece in _recorded(domain, identity, work, missing, jobs):
        done += 1
        progress(what, done, total)
        for volume in unmade:
            if piece in pending[volume.file]:
                pending[volume.file].remove(piece)
                if not pending[volume.file]:
                    _assemble(domain, volume, work)
    shutil.rmtree(work / "episodes")


def _recorded(domain: Domain, identity: Identity, work: Path, missing: list[Piece], jobs: int) -> Iterator[Piece]:
    """Record the missing episodes, yielding each."""
    remaining = iter(missing)
    workers = {}
    try:
        for _ in range(min(max(jobs, 1), len(missing))):
            worker = Worker(f"generating {identity['name']}", _answer, domain, identity, work)
            workers[worker.connection] = worker
            worker.send(next(remaining))
        waiting = set(workers)
        while waiting:
            for connection in multiprocessing.connection.wait(list(waiting)):
                worker = workers[connection]
                yield worker.receive()
                piece = next(remaining, None)
                if piece is None:
                    waiting.discard(connection)
                else:
                    worker.send(piece)
    finally:
        for worker in workers.values():
            worker.close()


def recorder(domain: Domain, procedure: str, seed: int) -> EpisodeRecorder:
    """What records episodes of this domain by this procedure."""
    kind = MazeRecorder if "maze" in domain.environment else Recorder
    return kind(domain, procedure, seed)


def _answer(domain: Domain, identity: Identity, work: Path) -> Answer:
    """Runs in a worker: records the episode that a message names and saves it."""
    mine = recorder(domain, identity["procedure"], identity["seed"])

    def record(piece: Piece) -> Piece:
        _save(_part(work, piece), mine.episode(*piece).items())
        return piece

    return record


def _save(file: Path, columns: Iterable[tuple[str, np.ndarray]]) -> None:
    """Write a compressed .npz that is there whole or not at all, a column at a time."""
    part = file.with_name(f"{file.name}.part")  # a file has one writer: who holds the dataset's lock, or its worker
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, column in columns:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, column, allow_pickle=False)
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SuiteError(
            f"{file} could not be written ({error.strerror or error}): make room there and run again."
        ) from error


def _assemble(domain: Domain, volume: Volume, work: Path) -> None:
    parts = [_part(work, piece) for piece in volume.pieces]
    names = ("observations", "actions", "terminals", *domain.columns)
    _save(work / volume.file, ((name, np.concatenate([_column(part, name) for part in parts])) for name in names))
    for part in parts:
        part.unlink()


def _column(part: Path, name: str) -> np.ndarray:
    try:
        with part.open("rb") as stream, np.load(stream) as columns:
            return columns[name]
    except DAMAGE as error:
        part.unlink()
        raise SuiteError(f"{part} was damaged and has been removed: run again, which makes it anew.") from error


def _card(domain: Domain, identity: Identity, work: Path) -> dict[str, Any]:
    """What the files are, read back from them."""
    files: dict[str, Any] = {}
    for volume in volumes(identity):
        file = work / volume.file
        files[volume.file] = {"rows": rows_of(file, domain), "sha256": checked(file)}
        if volume.split == "train":
            files[volume.file]["statistics"] = statistics(domain, label(domain, file))
    versions = {name: importlib.metadata.version(name) for name in ("mujoco", "ogbench", "dm_control", "gymnasium")}
    card = {"identity": identity, "files": files, "versions": versions}
    if "maze" in domain.environment:
        card["controller_sha256"] = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    return card
