"""A worker process: packs from start or checkpoint to done, one after another.

It reads JSON lines ({"site": ...}, {"run": [cells]}, {"stop": how}) and answers with JSON lines (progress, outcomes).
It ends when its input ends, which is also how it notices that its launcher is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import jax

from benchmark.execution.code import Code, left_as_begun, left_as_sent
from benchmark.planning.plan import Cell, task_of
from benchmark.runs import checkpoint
from benchmark.runs.attempts import METHOD_CODE
from benchmark.runs.fingerprint import Sources
from benchmark.runs.lease import LeaseHeld, LeaseLost
from benchmark.runs.records import NoProgress, Records, RunDamaged, folder_of, state_of
from benchmark.training import agents
from benchmark.training.build import Site, share
from benchmark.training.endings import BaseFailed, DiskTooSmall, Stopped
from benchmark.training.members import Member, side_by_side
from benchmark.training.pack import PackRun, Report, Stop
from envs import load_suite
from envs._documents import DocumentError
from envs._suite import SuiteError
from methods import UnavailableMethod

MENDABLE = (
    SuiteError,
    DocumentError,
    UnavailableMethod,
    RunDamaged,
    DiskTooSmall,
    BaseFailed,
    agents.ContractError,
    checkpoint.CheckpointError,
    OSError,
)
"""Errors of one pack whose text tells the user what to do. Any other ends the process, and the launcher reports it."""


@dataclass
class Result:
    """What became of a pack's cells beside those that are done: failed, those that another process works on, and those
    that were left as they are, since the code of their method is another than they were begun or sent with."""

    failed: list[tuple[Cell, str]] = field(default_factory=list)
    held: list[tuple[Cell, str]] = field(default_factory=list)
    changed: list[tuple[Cell, str]] = field(default_factory=list)

    @property
    def told(self) -> set[str]:
        """Keys of all of these."""
        return {cell.key for cell, _ in (*self.failed, *self.held, *self.changed)}


def run_pack(site: Site, cells: Sequence[Cell], report: Report, stop: Stop) -> Result:
    """Run what is unfinished of a pack, and leave to others what is theirs. Raises Stopped when asked to pause."""
    result, members, about = Result(), [], site.about
    try:
        suite = load_suite(cells[0].configuration["suite"])
        about = about | {"versions": about["versions"] | suite.versions(task_of(cells[0]))}
        for cell in cells:
            try:
                members.append(Member(cell, Records(site.root, cell)))
            except LeaseHeld as error:
                result.held.append((cell, str(error)))
        mine = [each for each in members if state_of(each.records.folder) != "done"]  # by another, before the lease
        mine = _of_this_code(site, mine, result)
        if mine:
            _run_members(site, mine, about, report, stop, result)
        return result
    except Stopped as stopped:
        for member in members:
            if not member.records.ended and member.records.attempt:  # its group's turn had not come
                member.records.stop(str(stopped))
        raise
    except LeaseLost:
        taken = [each.cell for each in members if each.records.lost]
        result.held += [(cell, f"{cell.key} was taken over by another process") for cell in taken]
    except MENDABLE as error:
        text, others = sentence(error, site.root), result.told
        left = [cell for cell in cells if cell.key not in others and state_of(folder_of(site.root, cell.key)) != "done"]
        _note_failure([each for each in members if each.cell.key not in others], about, type(error).__name__, text)
        result.failed += [(cell, text) for cell in left]
        return result
    finally:
        for member in members:
            member.records.close()
    rest = [cell for cell in cells if cell.key not in result.told]
    if taken and rest:  # the others of the pack go on from their last checkpoint
        more = run_pack(site, rest, report, stop)
    else:
        more = Result(held=[(cell, f"the lease of {cell.key} could not be read") for cell in rest])
    return Result(result.failed + more.failed, result.held + more.held, result.changed + more.changed)


def _of_this_code(site: Site, members: list[Member], result: Result) -> list[Member]:
    """The members that no other code of their method began, or all where that does not matter."""
    mine = site.about.get(METHOD_CODE)
    if mine and not site.keep_stale:
        result.changed += left_as_begun(site.root, [member.cell for member in members], mine)
    return [member for member in members if member.cell.key not in result.told]


def _note_failure(members: Sequence[Member], about: Mapping[str, Any], error: str, text: str) -> None:
    """In the records of all members that have not ended."""
    for member in members:
        if not member.records.ended and state_of(member.records.folder) != "done":
            with contextlib.suppress(OSError, LeaseLost, DocumentError):  # a full disk takes no record
                if not member.records.attempt:
                    with contextlib.suppress(NoProgress):  # which is noted, and the next line says how it ended
                        member.records.begin(about)
                member.records.fail(error, text)


def _run_members(
    site: Site, members: list[Member], about: Mapping[str, Any], report: Report, stop: Stop, result: Result
) -> None:
    """Members that an interruption left at different steps run in groups, one after another."""
    members = _still_hopeful(members, result, lambda member: member.records.begin(about))
    if not members:
        return
    shared = share(site, members[0].cell)
    first, *others = side_by_side(members)
    for member in (member for group in others for member in group):
        member.records.wait()
    noted = {"dataset_sha256": shared.dataset.sha256, "gpu": jax.devices()[0].device_kind, **site.later()}
    for group in (first, *others):
        noted["device_share"] = about.get("device_share", 1.0) / len(group)
        hopeful = _still_hopeful(group, result, lambda member: member.records.opened(member.reached, **noted))
        if hopeful:
            run = PackRun(site, shared, hopeful, report, stop)
            run.run()
            result.failed += run.failed


def _still_hopeful(members: list[Member], result: Result, note: Callable[[Member], None]) -> list[Member]:
    """The members without those that get nowhere, which fail."""
    hopeful = []
    for member in members:
        try:
            note(member)
            hopeful.append(member)
        except NoProgress as error:
            member.records.fail(type(error).__name__, str(error))
            result.failed.append((member.cell, str(error)))
    return hopeful


def sentence(error: Exception, root: Path) -> str:
    """An error as one line; the operating system's with its file, or the folder it was about, and what to do."""
    if isinstance(error, OSError) and error.strerror:
        return (
            f"{error.strerror} ({error.filename or root}); make room or mend the path, then run the same command again"
        )
    return " ".join(str(error).split())


class Channel:
    """The launcher's side of this process, over its standard streams."""

    def __init__(self, incoming: TextIO, outgoing: TextIO) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._stop = ""
        # A scheduler that cancels a job tells every process of it: save, as when the launcher asks.
        signal.signal(signal.SIGTERM, lambda *_: self._ask("stopped"))
        # Its warning is for the process that launched this one, which then asks.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._incoming:
            message = json.loads(line)
            if "stop" in message:
                self._ask(message["stop"])
            self._messages.put(message)
        # The launcher is gone, however it ended. Nothing is lost: the checkpoint is on disk.
        os._exit(3)

    def _ask(self, how: str) -> None:
        self._stop = self._stop or how

    def next(self) -> dict[str, Any]:
        return self._messages.get()

    def stopped(self) -> str:
        return self._stop

    def tell(self, message: dict[str, Any]) -> None:
        self._outgoing.write(json.dumps(message) + "\n")
        self._outgoing.flush()


def serve(channel: Channel, sources: Sources) -> None:
    """Run packs until told to stop; ``sources`` were read before anything of them was imported."""
    code = Code(sources)
    site = channel.next()["site"]
    if site["cores"]:
        os.sched_setaffinity(0, site["cores"])  # before JAX sizes its thread pools
    jax.config.update("jax_compilation_cache_dir", str(Path(site["root"]) / "cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    while "run" in (message := channel.next()):
        cells = [Cell(each["configuration"], each["provenance"]) for each in message["run"]]
        edited = code.was_edited(cells[0].method)
        try:
            result = _run_or_leave(channel, site, message["pack"], cells, code, edited)
        except Stopped:
            channel.tell({"stopped": True})
            return
        told = {each.name: [(c.key, text) for c, text in getattr(result, each.name)] for each in fields(Result)}
        channel.tell(told | {"leaves": edited})
        if edited:
            return


def _run_or_leave(
    channel: Channel, site: Mapping[str, Any], pack: str, cells: Sequence[Cell], code: Code, edited: bool
) -> Result:
    """Run a pack if its method is the one that it was sent with."""
    root = Path(site["root"])
    if left := left_as_sent(root, cells, site.get("codes", {}), code, edited):
        return Result(changed=left)
    about = site["about"] | code.about(cells[0]) | {"pack": pack, "device_share": site["device_share"]}
    about["xla_flags"] = os.environ.get("XLA_FLAGS", "")
    more = partial(code.shared, cells[0])
    here = Site(root, Path(site["data"]), site["env_workers"], about, site["keep"], site.get("keep_stale", False), more)
    return run_pack(here, cells, lambda event: channel.tell({"progress": event}), channel.stopped)
