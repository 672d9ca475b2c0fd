"""Copies run folders into MLflow from time to time, beside the runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmark.tracking.tracker import Tracker

PUSH_SECONDS = 60.0


class Pusher(threading.Thread):
    """A thread that sends what is new every PUSH_SECONDS; it never ends a run."""

    def __init__(self, tracker: Tracker, folders: Callable[[], Iterable[Path]]) -> None:
        super().__init__(daemon=True)
        self.tracker, self.folders = tracker, folders
        self._over = threading.Event()
        self.problems: list[str] = []

    def run(self) -> None:
        while not self._over.wait(PUSH_SECONDS):
            self.push()

    def push(self) -> list[str]:
        """Send what is new now; what could not be sent."""
        begun = [folder for folder in self.folders() if (folder / "config.json").exists()]
        self.problems = self.tracker.push_all(begun)
        return self.problems

    def finish(self) -> list[str]:
        """Send the rest; what could not be sent."""
        self._over.set()
        if self.is_alive():
            self.join()
        return self.push()
