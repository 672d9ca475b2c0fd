"""A worker process: packs from start or checkpoint to done, one after another.

Run as ``python -m benchmark.worker``; it reads JSON lines ({"site": ...}, {"run": [cells]}, {"stop": true}) and answers
with JSON lines (progress, outcomes). It ends when its input ends, which is also how it notices that its launcher is
gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import jax

from benchmark import agents, checkpoint
from benchmark.build import Site, share
from benchmark.pack import Member, PackRun, Report, Stopped
from benchmark.plan import Cell
from benchmark.records import Records, RunDamaged, RunLocked, state_of
from benchmark.settings import SettingsError
from envs import load_suite
from envs._suite import SuiteError
from methods import UnavailableMethod

MENDABLE = (
    SuiteError,
    SettingsError,
    UnavailableMethod,
    RunLocked,
    RunDamaged,
    agents.ContractError,
    checkpoint.CheckpointError,
    OSError,
)
"""Errors of one pack whose text tells the user what to do. Any other ends the process, and the launcher reports it."""


def run_pack(site: Site, cells: Sequence[Cell], report: Report, stop: Callable[[], bool]) -> list[tuple[Cell, str]]:
    """Run what is unfinished of a pack; the failures, each with one sentence. Raises Stopped when asked to pause."""
    members: list[Member] = []
    about = site.about | {"versions": site.about["versions"] | load_suite(cells[0].configuration["suite"]).versions()}
    try:
        for cell in cells:
            records = Records(site.root, cell)
            if state_of(records.folder) == "done":  # by another worker, before this one had the lock
                records.close()
            else:
                members.append(Member(cell, records))
        return _run_members(site, members, about, report, stop) if members else []
    except Stopped:
        for member in members:
            if not member.records.ended:  # its group's turn had not come
                member.records.stop()
        raise
    except MENDABLE as error:
        text = sentence(error)
        for member in members:
            if not member.records.ended:
                with contextlib.suppress(OSError):  # a full disk takes no record of itself
                    if not member.records.attempt:
                        member.records.begin(about)
                    member.records.fail(type(error).__name__, text)
        ended = {member.cell.key for member in members if state_of(member.records.folder) == "done"}
        return [(cell, text) for cell in cells if cell.key not in ended]
    finally:
        for member in members:
            member.records.close()


def _run_members(
    site: Site, members: Sequence[Member], about: Mapping[str, Any], report: Report, stop: Callable[[], bool]
) -> list[tuple[Cell, str]]:
    """Members that an interruption left at different steps run in groups, one after another."""
    shared = share(site, members[0].cell)
    about = {**about, "dataset_sha256": shared.dataset.sha256, "gpu": jax.devices()[0].device_kind}
    groups: dict[Any, list[Member]] = {}
    for member in members:
        member.records.begin(about)
        member.open()
        groups.setdefault(member.stands, []).append(member)
    failed: list[tuple[Cell, str]] = []
    for group in groups.values():
        run = PackRun(site, shared, group, report, stop)
        run.run()
        failed += run.failed
    return failed


def sentence(error: Exception) -> str:
    """An error as one line; the operating system's with its file and what to do."""
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{where}; make room or mend the path, then run the same command again"
    return " ".join(str(error).split())


class Channel:
    """The launcher's side of this process, over its standard streams."""

    def __init__(self, incoming: TextIO, outgoing: TextIO) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._stop = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._incoming:
            message = json.loads(line)
            if "stop" in message:
                self._stop.set()
            self._messages.put(message)
        # The launcher is gone, however it ended. Nothing is lost: the checkpoint is on disk.
        os._exit(3)

    def next(self) -> dict[str, Any]:
        return self._messages.get()

    def stopped(self) -> bool:
        return self._stop.is_set()

    def tell(self, message: dict[str, Any]) -> None:
        self._outgoing.write(json.dumps(message) + "\n")
        self._outgoing.flush()


def serve(channel: Channel) -> None:
    """Run packs until told to stop."""
    site = channel.next()["site"]
    if site["cores"]:
        os.sched_setaffinity(0, site["cores"])  # before JAX sizes its thread pools
    jax.config.update("jax_compilation_cache_dir", str(Path(site["root"]) / "cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    while "run" in (message := channel.next()):
        cells = [Cell(each["configuration"], each["provenance"]) for each in message["run"]]
        about = site["about"] | {"pack": message["pack"]}
        here = Site(Path(site["root"]), Path(site["data"]), site["env_workers"], about)
        try:
            failed = run_pack(here, cells, lambda event: channel.tell({"progress": event}), channel.stopped)
        except Stopped:
            channel.tell({"stopped": True})
            return
        channel.tell({"done": [{"key": cell.key, "message": text} for cell, text in failed]})


def main() -> None:
    # What libraries print must not mix with the answers: from here on it goes where standard error goes.
    outgoing = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(Channel(sys.stdin, outgoing))


if __name__ == "__main__":
    main()
