"""Starts by their seeds alone."""

from __future__ import annotations

from collections.abc import Mapping

from envs._suite import Start


def starts(seeds: Mapping[int, int]) -> dict[int, Start]:
    return {slot: Start(seed, "evaluation") for slot, seed in seeds.items()}
