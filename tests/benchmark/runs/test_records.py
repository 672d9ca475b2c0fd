"""The run directory: one writer, nothing half-written, and "done" comes last."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.planning.plan import Cell
from benchmark.runs.attempts import attempts_of, cost_of, ends_of, failures_in_a_row
from benchmark.runs.lease import LeaseHeld, LeaseLost
from benchmark.runs.records import (
    NoProgress,
    Records,
    RunDamaged,
    fail_for_the_dead,
    folder_of,
    state_of,
    write_json,
)
from envs._suite import SuiteError

ROOT = Path(__file__).parents[3]
CELL = Cell({"method": "m", "task": "t", "seed": 0}, {"settings.x": "program"})
ABOUT = {"dataset_sha256": "abc", "host": "h"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of(tmp_path, CELL.key)


def said(path: Path) -> Any:
    return json.loads(path.read_text())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def story(folder: Path) -> list[tuple[int, str]]:
    """When attempts began, and how they ended."""
    found = lines(folder / "attempts.jsonl")
    return [(each["attempt"], each.get("how", "start")) for each in found if {"start", "how"} & set(each)]


Begin = Callable[..., Records]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Begin the run, as a process does; whoever began it before is gone."""
    opened: list[Records] = []

    def begin(reached: int = 0, **about: Any) -> Records:
        for earlier in opened:
            earlier.close()
        opened.append(Records(tmp_path, CELL))
        try:
            opened[-1].begin({"host": "h"})
            opened[-1].opened(reached, **(ABOUT | about))
        except NoProgress as error:
            opened[-1].fail(type(error).__name__, str(error))
            raise
        return opened[-1]

    yield begin
    for each in opened:
        each.close()


def test_a_run_lies_where_its_key_says(tmp_path: Path, folder: Path) -> None:
    assert folder == tmp_path / "runs" / CELL.key[:2] / CELL.key
    Records(tmp_path, CELL).close()
    assert said(folder / "config.json") == CELL.configuration
    assert said(folder / "provenance.json") == CELL.provenance


def test_states_in_the_order_of_a_life(begin: Begin, tmp_path: Path, folder: Path) -> None:
    assert state_of(folder) == "planned"
    records = Records(tmp_path, CELL)
    assert state_of(folder) == "planned"
    records.begin(ABOUT)
    assert state_of(folder) == "begun"
    records.fail("Diverged", "why")
    assert state_of(folder) == "failed"
    assert said(folder / "failed.json") == {"error": "Diverged", "message": "why", "attempt": 1}
    records.close()
    again = begin()
    assert state_of(folder) == "begun"
    assert not (folder / "failed.json").exists()
    again.stop("stopped")
    assert state_of(folder) == "begun"
    last = begin()
    last.finish({"x": 1.0})
    assert state_of(folder) == "done"
    attempts = lines(folder / "attempts.jsonl")
    assert story(folder) == [*((1, "start"), (1, "failed"), (2, "start"), (2, "stopped"), (3, "start"), (3, "done"))]
    assert attempts[0]["host"] == "h"


def test_done_is_written_last_and_holds_the_checksum(
    begin: Begin, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever can fail before it leaves a run that is not done."""
    records = begin()
    records.log(1, {"a": 1.0})
    for failing in range(4):  # metrics to disk, how it ended, the new file to disk, its name
        left = iter([False] * failing + [True])

        def full(function: Callable[..., Any], left: Iterator[bool] = left) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                if next(left):
                    raise OSError(28, "No space left on device")
                return function(*arguments)

            return call

        with monkeypatch.context() as patch:
            for owner, name in ((os, "fsync"), (Records, "_append_attempt"), (Path, "replace")):
                patch.setattr(owner, name, full(getattr(owner, name)))
            with pytest.raises(OSError, match="No space"):
                records.finish({"x": 1.0})
        assert state_of(folder) == "begun"
    records.finish({"x": 1.0})
    checksum = hashlib.sha256((folder / "metrics.jsonl").read_bytes()).hexdigest()
    assert said(folder / "done.json") == {"final": {"x": 1.0}, "metrics_sha256": checksum}


def test_metrics_are_lines_and_what_is_no_number_is_flagged(begin: Begin, folder: Path) -> None:
    records = begin()
    records.log(5, {"a": 1.5, "b": 2.0})
    records.log(10, {"a": float("nan"), "b": float("inf"), "c": 3.0})
    found = lines(folder / "metrics.jsonl")  # at once, without closing
    assert [(each["step"], each["m"]) for each in found] == [
        (5, {"a": 1.5, "b": 2.0}),
        (10, {"c": 3.0, "diverged": 1.0}),
    ]
    assert found[0]["t"] <= found[1]["t"]


def test_cut_back_forgets_what_came_after(begin: Begin, folder: Path) -> None:
    records = begin()
    records.log(1, {"a": 1.0})
    offset = records.safe_offset()
    records.log(2, {"a": 2.0})
    records.cut_back(offset)
    assert records.safe_offset() == offset
    records.log(3, {"a": 3.0})
    assert [each["step"] for each in lines(folder / "metrics.jsonl")] == [1, 3]
    again = begin()
    assert again.safe_offset() == (folder / "metrics.jsonl").stat().st_size
    again.cut_back(offset)
    again.log(4, {"a": 4.0})
    assert [each["step"] for each in lines(folder / "metrics.jsonl")] == [1, 4]


def test_metrics_that_were_cut_short_are_told(begin: Begin, folder: Path) -> None:
    """A crash of the machine can lose the end of a file; what a checkpoint counts on must not be filled with zeros."""
    records = begin()
    records.log(1, {"a": 1.0})
    offset = records.safe_offset()
    with (folder / "metrics.jsonl").open("r+b") as file:
        file.truncate(offset - 5)
    with pytest.raises(RunDamaged, match=r"metrics.jsonl is shorter .* delete"):
        begin().cut_back(offset)


def test_a_torn_line_of_an_attempt_is_forgotten(begin: Begin, folder: Path) -> None:
    """A crash or a full disk may leave half a line; the run goes on, and the next line stands alone."""
    begin()
    with (folder / "attempts.jsonl").open("a") as file:
        file.write('{"attempt": 1, "en')
    assert begin().attempt == 2
    assert story(folder) == [(1, "start"), (1, "lost"), (2, "start")]


def test_a_full_disk_is_an_error_once(begin: Begin, folder: Path) -> None:
    """What could not be logged is not tried again on closing, where nobody expects it to fail."""
    records = begin()
    (folder / "metrics.jsonl").unlink()
    (folder / "metrics.jsonl").symlink_to("/dev/full")
    records.close()
    records = begin()
    with pytest.raises(OSError, match="No space left"):
        records.log(1, {"a": 1.0})
    records.close()


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    records = Records(tmp_path, CELL)
    with pytest.raises(LeaseHeld, match=CELL.key):
        Records(tmp_path, CELL)
    records.close()
    Records(tmp_path, CELL).close()


SECOND = f"""
import sys
from pathlib import Path
from benchmark.planning.plan import Cell
from benchmark.runs.lease import LeaseHeld
from benchmark.runs.records import Records
try:
    Records(Path(sys.argv[1]), Cell({CELL.configuration!r}, {{}}))
except LeaseHeld as error:
    print("locked")
else:
    print("open")
"""


def in_another_process(root: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SECOND, str(root)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    records = Records(tmp_path, CELL)
    assert in_another_process(tmp_path) == "locked"
    records.close()
    assert in_another_process(tmp_path) == "open"
    Records(tmp_path, CELL).close()  # a process that ended holds nothing


def test_other_data_are_refused(begin: Begin, folder: Path) -> None:
    begin()
    with pytest.raises(SuiteError, match="began with other data"):
        begin(dataset_sha256="other")
    assert "other" not in (folder / "attempts.jsonl").read_text()
    assert begin().attempt == 3


def test_json_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            write_json(path, {"a": 2})
    assert said(path) == {"a": 1}
    write_json(path, {"a": 3})
    assert said(path) == {"a": 3}
    assert [each.name for each in tmp_path.iterdir()] == ["x.json"]


# --- attempts


def test_an_attempt_that_left_no_word_is_ended_by_the_next(begin: Begin, folder: Path) -> None:
    """At the last sign of life, so that what it cost is counted."""
    begin().log(1, {"a": 1.0})
    os.utime(folder / "metrics.jsonl", (2_000_000_000, 2_000_000_000))
    begin()
    found = attempts_of(folder)
    assert story(folder) == [(1, "start"), (1, "lost"), (2, "start")]
    assert ends_of(found)[1]["end"] == 2_000_000_000_000


def test_a_run_that_gets_nowhere_is_ended(begin: Begin) -> None:
    """Killed at the same step three times in a row; a retry by hand has three more."""
    for _ in range(3):
        begin(40)
    with pytest.raises(NoProgress, match="at step 40 without getting further"):
        begin(40)
    assert begin(40).attempt == 5


def test_a_run_that_gets_further_is_not_ended(begin: Begin) -> None:
    for reached in (0, 0, 20, 20, 40, 40, 60):
        assert begin(reached).attempt > 0


def test_a_run_that_was_stopped_or_requeued_in_between_is_not_ended(begin: Begin) -> None:
    for how in ("stopped", "requeued"):
        begin(40)
        begin(40).stop(how)
    begin(40)
    assert begin(40).attempt == 6


def test_cost_is_what_all_attempts_took_by_their_share_of_a_device() -> None:
    lines: list[dict[str, Any]] = [{"attempt": 1, "start": 0, "device_share": 0.5}, {"attempt": 1, "end": 3_600_000}]
    lines += [{"attempt": 2, "start": 10_000_000, "device_share": 0.25}, {"attempt": 2, "end": 17_200_000}]
    lines += [{"attempt": 3, "end": 99_000_000}, {"attempt": 4, "start": 99_000_000}]  # never began; still runs
    assert cost_of(lines) == (3.0, 1.0)
    assert cost_of([]) == (0.0, 0.0)


def test_who_lost_the_run_writes_no_more(begin: Begin, folder: Path) -> None:
    """Another machine took it over, while this one was thought dead."""
    records = begin()
    records.log(1, {"a": 1.0})
    lease = folder / "lease.json"
    mine = lease.read_text()
    lease.write_text(json.dumps(json.loads(mine) | {"token": "other"}))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for write in (lambda: records.log(2, {"a": 2.0}), lambda: records.finish({}), lambda: records.fail("E", "m")):
        with pytest.raises(LeaseLost):
            write()
    with pytest.raises(LeaseLost):
        records.stop("stopped")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    lease.write_text(mine)


def test_a_failure_is_noted_for_a_process_that_died(begin: Begin, tmp_path: Path, folder: Path) -> None:
    records = begin()
    with pytest.raises(LeaseHeld):
        fail_for_the_dead(tmp_path, CELL, "WorkerEnded", "why")
    records.close()
    fail_for_the_dead(tmp_path, CELL, "WorkerEnded", "why")
    assert state_of(folder) == "failed"
    assert attempts_of(folder)[-1]["error"] == "WorkerEnded"
    assert said(folder / "failed.json") == {"error": "WorkerEnded", "message": "why", "attempt": 1}


def test_a_full_disk_leaves_a_whole_line_of_an_attempt_or_none(
    begin: Begin, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = begin()
    before = (folder / "attempts.jsonl").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="No space"):
            records.stop("stopped")
    assert (folder / "attempts.jsonl").read_bytes() == before
    (folder / "attempts.jsonl").rename(folder / "kept")
    (folder / "attempts.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space|Invalid"):
        records.stop("stopped")


def full_disk(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_an_illegible_line_is_passed_over(begin: Begin, folder: Path) -> None:
    """A power cut may leave anything in a file; the run goes on with the lines that can be read."""
    begin().stop("stopped")
    with (folder / "attempts.jsonl").open("ab") as file:
        file.write(b"\x00\x00\x00\n[1]\n{}\n")
    assert begin().attempt == 2


def test_records_that_cannot_be_opened_are_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="No space"):
            Records(tmp_path, CELL)
    Records(tmp_path, CELL).close()


def test_who_waits_for_others_of_its_pack_does_not_get_nowhere(begin: Begin, tmp_path: Path) -> None:
    """Its attempts are lost with theirs, and it had no turn."""
    for _ in range(5):
        records = Records(tmp_path, CELL)
        records.begin({})
        records.wait()
        records.close()
    assert begin(0).attempt == 6


def test_a_run_that_is_killed_before_it_has_its_data_is_ended(tmp_path: Path) -> None:
    for _ in range(3):
        records = Records(tmp_path, CELL)
        records.begin({})
        records.close()
    records = Records(tmp_path, CELL)
    with pytest.raises(NoProgress, match="before it had its data"):
        records.begin({})
    records.close()


def test_a_failure_noted_later_costs_nothing(tmp_path: Path, folder: Path) -> None:
    """An attempt that was requeued days ago ended then."""
    records = Records(tmp_path, CELL)
    records.begin({})
    records.stop("requeued")
    records.close()
    before = (folder / "attempts.jsonl").read_text()
    fail_for_the_dead(tmp_path, CELL, "OutOfMemory", "why")
    assert (folder / "attempts.jsonl").read_text() == before
    assert state_of(folder) == "failed"


@pytest.mark.parametrize(
    ("ends", "count"),
    [
        ([], 0),
        (["failed A"], 1),
        (["failed A", "failed A", "failed A"], 3),
        (["failed A", "failed B", "failed B"], 2),
        (["failed A", "lost", "failed A"], 1),
        (["failed A", "done"], 0),
    ],
)
def test_failures_in_a_row(ends: list[str], count: int) -> None:
    lines = []
    for number, end in enumerate(ends):
        how, _, error = end.partition(" ")
        lines += [{"attempt": number, "start": 0}, {"attempt": number, "end": 1, "how": how, "error": error}]
    assert failures_in_a_row(lines) == count
