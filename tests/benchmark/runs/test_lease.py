"""Leases: one owner at a time, the dead are followed at once where they can be seen, and nobody writes who lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.runs import lease as lease_module
from benchmark.runs.lease import STALE_SECONDS, Lease, LeaseHeld, LeaseLost, holder

ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lease.json"


def left_by(path: Path, age: float, **changes: object) -> None:
    """A lease that another owner left so many seconds ago."""
    mine = Lease(path)
    owner = json.loads(path.read_text()) | {"token": "other"} | changes
    mine.release()
    path.write_text(json.dumps(owner))
    now = path.stat().st_mtime
    os.utime(path, (now - age, now - age))


def test_one_owner_at_a_time(path: Path) -> None:
    first = Lease(path)
    owner = holder(path)
    assert owner is not None
    assert owner.pid == os.getpid()
    with pytest.raises(LeaseHeld, match=f"process {os.getpid()}"):
        Lease(path)
    first.check()
    first.release()
    assert holder(path) is None
    Lease(path).release()
    assert list(path.parent.iterdir()) == []


def test_a_killed_owner_of_this_machine_is_followed_at_once(path: Path) -> None:
    code = "import os, signal; from benchmark.runs.lease import Lease; from pathlib import Path; "
    code += f"Lease(Path({str(path)!r})); "
    code += "os.kill(os.getpid(), signal.SIGKILL)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert path.exists()
    assert holder(path) is None
    beat = path.stat().st_mtime
    mine = Lease(path)
    assert mine.left_at == beat
    mine.release()


def test_a_number_that_another_process_got_is_not_the_owner(path: Path) -> None:
    left_by(path, 0.0, started="1")
    assert holder(path) is None
    Lease(path).release()


@pytest.mark.parametrize(("age", "lives"), [(0.0, True), (STALE_SECONDS - 5, True), (STALE_SECONDS + 5, False)])
def test_an_owner_elsewhere_lives_as_long_as_it_beats(path: Path, age: float, lives: bool) -> None:
    left_by(path, age, machine="another", host="n7")
    assert (holder(path) is not None) == lives
    if lives:
        with pytest.raises(LeaseHeld, match="n7"):
            Lease(path)
    else:
        Lease(path).release()


@pytest.mark.parametrize(("job", "restart", "lives"), [("12", "1", False), ("12", "0", True), ("13", "1", True)])
def test_the_next_start_of_a_job_follows_the_one_before(
    path: Path, monkeypatch: pytest.MonkeyPatch, job: str, restart: str, lives: bool
) -> None:
    """Whatever a cut-off node still does."""
    left_by(path, 0.0, machine="another", job="12", restart=0)
    monkeypatch.setenv("SLURM_JOB_ID", job)
    monkeypatch.setenv("SLURM_RESTART_COUNT", restart)
    if lives:
        with pytest.raises(LeaseHeld):
            Lease(path)
    else:
        Lease(path).release()


def test_who_lost_it_is_told_before_it_writes(path: Path) -> None:
    mine = Lease(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"token": "other", "host": "n9"}))
    with pytest.raises(LeaseLost, match="n9"):
        mine.check()
    before = path.stat().st_mtime_ns
    mine.beat()
    mine.release()
    assert path.stat().st_mtime_ns == before  # another's lease is neither kept alive nor removed


def test_a_beat_shows_that_the_owner_lives(path: Path) -> None:
    mine = Lease(path)
    os.utime(path, (0, 0))
    mine.beat()
    assert path.stat().st_mtime > 0
    mine.release()


def test_a_lease_without_its_text_is_waited_for(path: Path) -> None:
    """It is being written, or a crash of the machine emptied it: nobody knows, until it is old."""
    path.touch()
    with pytest.raises(LeaseHeld):
        Lease(path)
    os.utime(path, (0, 0))
    Lease(path).release()


def test_a_faster_one_keeps_what_it_took(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking at a dead owner's lease and taking it, somebody else has taken it over."""
    left_by(path, 0.0, started="1")
    judged = lease_module.alive
    winner: list[Lease] = []

    def alive(owner: lease_module.Owner | None, place: Path) -> bool:
        found = judged(owner, place)
        monkeypatch.setattr(lease_module, "alive", judged)
        winner.append(Lease(path))
        return found

    monkeypatch.setattr(lease_module, "alive", alive)
    with pytest.raises(LeaseHeld):
        Lease(path)
    winner[0].check()
    winner[0].release()
    assert list(path.parent.iterdir()) == []


def test_a_take_over_that_was_killed_half_way_does_not_lock_anybody_out(path: Path) -> None:
    left_by(path, 0.0, started="1")
    (path.parent / ".lease.json.taking").write_bytes(path.read_bytes())
    Lease(path).release()
    assert list(path.parent.iterdir()) == []


def test_a_full_disk_leaves_no_lease(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    with pytest.raises(OSError, match="No space left"):
        Lease(path)
    assert not path.exists()


RACE = """
import os, sys, time
from pathlib import Path
from benchmark.runs.lease import Lease, LeaseHeld
path, start = Path(sys.argv[1]), float(sys.argv[2])
children = []
for _ in range(8):
    if not (child := os.fork()):
        time.sleep(max(0.0, start - time.time()))
        try:
            Lease(path)
        except LeaseHeld:
            os._exit(1)
        time.sleep(1.0)
        os._exit(0)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


@pytest.mark.parametrize("dead", [False, True])
def test_of_eight_that_try_one_gets_it(path: Path, dead: bool) -> None:
    import time

    for round_ in range(3):
        place = path.with_name(f"{round_}.json")
        if dead:
            left_by(place, 0.0, started="1")
        command = [sys.executable, "-c", RACE, str(place), str(time.time() + 0.5)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert sorted(json.loads(said)) == [0] + 7 * [1]
