"""What a data file holds: support of the five tasks, actions and observations; for cards and for `inspect`."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.ogbench._relabel import Labelled
from envs.ogbench._tasks import Domain

STILL_STEPS = 20
AT_LIMIT = 1.0 - 1e-4
"""An action entry beyond this counts as at its limit."""


def statistics(domain: Domain, data: Labelled) -> dict[str, Any]:
    """Counts and moments of transitions, as JSON.

    ``success_rows``, ``entries`` (rows that succeed after one that did not, or first in a trajectory) and ``reward``
    (mean, dense) have an entry for each of the five tasks.
    """
    columns = data.columns
    actions = columns["actions"]
    observations = columns["observations"][: len(actions)]
    spread = observations.std(axis=0, dtype=np.float64)
    found: dict[str, Any] = {
        "transitions": len(actions),
        "trajectories": int(columns["terminals"].sum()),
        "success_rows": [],
        "entries": [],
        "reward": [],
        "action_mean_abs": _rounded(np.abs(actions).mean(dtype=np.float64)),
        "action_std": _rounded(actions.std(axis=0, dtype=np.float64)),
        "action_at_limit": _rounded((np.abs(actions) > AT_LIMIT).mean(axis=0)),
        "observation_max_abs": _rounded(np.abs(observations).max()),
        "observation_std_range": _rounded([spread.min(), spread.max()]),
    }
    if "maze" in domain.environment:
        found |= _walking(columns)
    for rewards, masks in zip(data.rewards, data.masks, strict=True):
        solved = masks == 0
        before = np.concatenate([[False], solved[:-1] & (columns["terminals"][:-1] == 0)])
        found["success_rows"].append(int(solved.sum()))
        found["entries"].append(int((solved & ~before).sum()))
        found["reward"].append(_rounded(rewards.mean(dtype=np.float64)))
    return found


def _walking(columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """Mean way in a step, share of rows from which 20 steps lead less than 0.5 away, and free cells (of 4 x 4) seen."""
    place, ends = columns["qpos"][:, :2], np.cumsum(columns["terminals"]) - columns["terminals"]
    same = ends[1:] == ends[:-1]
    steps = np.linalg.norm(np.diff(place, axis=0), axis=1)[same]
    later = np.linalg.norm(place[STILL_STEPS:] - place[:-STILL_STEPS], axis=1)
    later = later[ends[STILL_STEPS:] == ends[:-STILL_STEPS]]
    cells = np.unique(np.floor((place + 6.0) / 4.0).astype(int), axis=0)
    return {
        "step_length": _rounded(steps.mean()),
        "still": _rounded((later < 0.5).mean()) if len(later) else 0.0,
        "cells_visited": len(cells),
    }


def _rounded(value: Any) -> Any:
    """Four significant digits, as plain numbers."""
    if np.ndim(value):
        return [_rounded(each) for each in value]
    return float(f"{float(value):.4g}")
