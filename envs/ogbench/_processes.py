"""Worker processes that answer messages, end with their parent however it ends, and never leave it waiting."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from envs._suite import SuiteError

Answer = Callable[[Any], Any]
"""What a worker does with a message; may raise `SuiteError`, which is raised again in the parent."""


class Worker:
    """A spawned process that builds an `Answer` and applies it to one message after another.

    ``build(*arguments)`` runs in the process; both must be picklable. Spawned because a threaded parent must not fork.
    """

    def __init__(self, what: str, build: Callable[..., Answer], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._what = what
        self.connection, child = context.Pipe()
        self._process = context.Process(target=_serve, args=(os.getpid(), child, build, arguments), daemon=True)
        with _one_thread():
            self._process.start()
        child.close()

    def send(self, message: Any) -> None:
        """Hand over a message; its answer waits in `receive`."""
        try:
            self.connection.send(message)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._ended() from error

    def receive(self) -> Any:
        """The answer to the oldest message not yet answered; raises if the process failed or ended."""
        try:
            answer, fault = self.connection.recv()
        except (EOFError, ConnectionResetError) as error:
            raise self._ended() from error
        if fault is not None:
            raise SuiteError(fault)
        return answer

    def close(self) -> None:
        """End the process, in the middle of a message if need be."""
        self.connection.close()
        self._process.kill()
        self._process.join()

    def _ended(self) -> SuiteError:
        self._process.join()
        code = self._process.exitcode
        cause = "killed, often for lack of memory" if code == -signal.SIGKILL else "see its messages above"
        return SuiteError(
            f"a process {self._what} ended with code {code} ({cause}): mend the cause or use fewer processes, "
            "then run again."
        )


def _serve(parent: int, connection: Connection, build: Callable[..., Answer], arguments: tuple[Any, ...]) -> None:
    """Body of a worker: answer until the other end is closed."""
    # Ctrl-C, and a scheduler that ends a job, mean the parent: it saves what this process is still needed for, and its
    # end ends this process.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    answer = build(*arguments)
    while True:
        try:
            message = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        try:
            reply = (answer(message), None)
        except SuiteError as error:
            reply = (None, str(error))
        try:
            connection.send(reply)
        except (BrokenPipeError, ConnectionResetError):
            return


def _end_with(parent: int) -> None:
    """Poll for the parent's end: the kernel's death signal would follow the parent's thread, not the parent."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes started here use one thread each for linear algebra: there are as many processes as cores."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
