"""Means over seeds with bootstrap intervals; the seed of a run is the unit, never an episode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95


def mean(strata: Sequence[np.ndarray], weights: Sequence[float]) -> float:
    """Weighted mean over strata (tasks) of the mean over each one's values (one per seed); weights sum to one."""
    return float(sum(weight * values.mean() for values, weight in zip(strata, weights, strict=True)))


def interval(
    strata: Sequence[np.ndarray], weights: Sequence[float], resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """The 95 % percentile bootstrap interval of `mean`: seeds are drawn anew within each stratum, counts may differ.

    None where a stratum has fewer than two values: it would count as known exactly, and the interval be too narrow.
    """
    if min(len(values) for values in strata) < 2:
        return None
    generator = np.random.default_rng(0)  # the same numbers in, the same interval out
    means = np.zeros(resamples)
    for values, weight in zip(strata, weights, strict=True):
        draws = generator.integers(len(values), size=(resamples, len(values)))
        means += weight * values[draws].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
