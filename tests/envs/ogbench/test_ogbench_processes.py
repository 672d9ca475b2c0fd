"""Worker processes: they end with their parent, and their end is an error, not a wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envs._suite import SuiteError
from envs.ogbench._processes import Worker


def build(offset: int) -> Callable[[Any], Any]:
    """Runs in the worker: a small set of ways to answer."""

    def answer(message: Any) -> Any:
        if message == "fault":
            raise SuiteError("the fault's sentence.")
        if message == "exit":
            os._exit(3)
        if message == "sleep":
            time.sleep(60)
            return None
        if message == "threads":
            return os.environ["OMP_NUM_THREADS"]
        return os.getpid() if message == "pid" else offset + message

    return answer


def test_messages_are_answered_in_order_and_faults_do_not_end_the_worker():
    before = os.environ.get("OMP_NUM_THREADS")
    worker = Worker("that adds", build, 10)
    for message in (1, "fault", 2, "threads"):
        worker.send(message)
    assert worker.receive() == 11
    with pytest.raises(SuiteError, match=r"^the fault's sentence\.$"):
        worker.receive()
    assert worker.receive() == 12
    assert worker.receive() == "1"
    assert os.environ.get("OMP_NUM_THREADS") == before
    worker.close()


def test_a_worker_that_ends_is_an_error_that_says_how():
    worker = Worker("that adds", build, 0)
    worker.send("exit")
    with pytest.raises(SuiteError, match="a process that adds ended with code 3"):
        worker.receive()
    killed = Worker("that adds", build, 0)
    killed.send("pid")
    os.kill(killed.receive(), signal.SIGKILL)
    with pytest.raises(SuiteError, match=r"code -9 .*memory"):
        _exchange(killed)
    worker.close()
    killed.close()


def _exchange(worker: Worker) -> None:
    """Ask until it fails: the pipe takes messages until the death is noticed."""
    for _ in range(100):
        worker.send(1)
        worker.receive()


@pytest.mark.parametrize("busy", [False, True])
def test_a_worker_ends_when_its_parent_is_killed(busy: bool):
    program = (
        f"import sys, time; sys.path[:0] = [{str(Path(__file__).parent)!r}]\n"
        "from envs.ogbench._processes import Worker\n"
        "from test_ogbench_processes import build\n"
        "worker = Worker('that waits', build, 0); worker.send('pid'); print(worker.receive(), flush=True)\n"
        f"worker.send('sleep') if {busy} else None\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.2)
        parent.kill()
    deadline = time.monotonic() + 10
    while _alive(pid):
        assert time.monotonic() < deadline, "the worker outlives its parent"
        time.sleep(0.1)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
