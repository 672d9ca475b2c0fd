"""What is measured of an episode, and the control that tells purposeful from undirected button pressing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

SCORES = {"above_control": "best reward of an episode, less what random presses of the same number reach at best"}
"""Beside success; means over episodes."""

Control = Callable[[int], tuple[float, float]]
"""Number of presses -> expected (best reward, success) of as many undirected presses."""


class Episode:
    """Running account of one episode, from the environment's own rewards (before any sparse conversion)."""

    def __init__(self, wanted: frozenset[str], control: Control | None) -> None:
        """``wanted`` names the measures beyond success, return and length; presses need a ``control``, which is then
        measured too."""
        self._wanted = wanted
        self._control = control
        self._rewards: list[float] = []
        self._presses = 0
        self._buttons: np.ndarray | None = None

    def add(self, reward: float, info: dict[str, Any]) -> None:
        """Account for one step. Presses are counted up to the state that the step's reward describes."""
        self._rewards.append(reward)
        if self._control is not None:
            buttons = info["prev_button_states"]
            if self._buttons is not None:
                self._presses += bool((buttons != self._buttons).any())
            self._buttons = buttons

    def measures(self, info: dict[str, Any]) -> dict[str, float]:
        """The finished episode's measures; ``info`` is that of its last step."""
        values = {
            "success": float(info["success"]),
            "return": float(sum(self._rewards)),
            "length": float(len(self._rewards)),
        }
        if "best" in self._wanted:
            values["best"] = float(max(self._rewards))
        if self._control is not None:
            best, success = self._control(self._presses)
            values |= {"presses": float(self._presses), "control_best": best, "control_success": success}
            values["above_control"] = float(max(self._rewards)) - best
        return values


class RandomPresses:
    """Best reward and success of uniformly random presses from a puzzle's start, by simulation.

    A press toggles a button and its neighbours above, below, left and right; the reward is (number of buttons at their
    goal) - (number of buttons); an episode that has reached the goal has succeeded, whatever would follow.
    """

    def __init__(self, start: np.ndarray, goal: np.ndarray, columns: int, sequences: int = 4000) -> None:
        """``start`` and ``goal`` (n,) are button states 0 or 1, row by row; ``sequences`` are simulated."""
        self._wrong = (start != goal).astype(np.int64)  # (n,)
        self._toggles = _toggles(len(start), columns)
        self._sequences = sequences
        self._table = np.zeros((0, 2))

    def __call__(self, presses: int) -> tuple[float, float]:
        """Expected (best reward, success) after this many presses; the best includes the start."""
        if presses >= len(self._table):
            self._table = self._simulate(2 * presses + 8)
        best, success = self._table[presses]
        return float(best), float(success)

    def _simulate(self, presses: int) -> np.ndarray:
        """(presses + 1, 2) of best reward and success. Longer simulations begin with the shorter ones."""
        pressed = np.random.default_rng(0).integers(len(self._wrong), size=(presses, self._sequences))
        counts = np.cumsum(self._toggles[pressed], axis=0)  # (presses, sequences, n): how often each button was toggled
        rewards = -((self._wrong + counts) % 2).sum(axis=-1)
        start = np.full((1, self._sequences), -self._wrong.sum())
        best = np.maximum.accumulate(np.concatenate([start, rewards]), axis=0)
        return np.stack([best.mean(axis=1), (best == 0).mean(axis=1)], axis=1)


def _toggles(buttons: int, columns: int) -> np.ndarray:
    """(n, n): row i has ones at the buttons that pressing button i toggles."""
    row, column = np.divmod(np.arange(buttons), columns)
    distance = np.abs(row[:, None] - row) + np.abs(column[:, None] - column)
    return (distance <= 1).astype(np.int64)
