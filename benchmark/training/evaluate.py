"""Evaluation in lock step: all episodes of all seeds side by side, chunks executed open loop.

Episode i starts from the initial state of seed i, whatever the run's seed and however many episodes run at once; its
policy noise is named by (run's seed, step of training, i, decision). So the numbers do not depend on the parallelism.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmark.training import agents, trainer
from benchmark.training.episode import written
from envs._suite import Pool, Start

Measures = dict[str, float]


def slots_per_seed(seeds: int, episodes: int, environments: int) -> int:
    """Slots of each seed: at least one, and no more in all than the suite's ``environments`` where that is possible."""
    return max(1, min(episodes, environments // seeds))


def evaluate(
    agent: agents.Agent,
    state: agents.State,
    pool: Pool,
    first_slot: int,
    width: int,
    episodes: int,
    step: int,
    progress: Callable[[int, int], None],
) -> list[Measures]:
    """Mean of every measure over ``episodes`` episodes, for each seed. ``step`` counts training so far.

    Each seed has ``width`` slots, the first at ``first_slot``. Raises SuiteError on a non-finite action.
    """
    rollouts = Rollouts(pool, len(state.iteration), first_slot, width, episodes)
    while rollouts.active:
        counters = np.stack([np.full_like(rollouts.episode, step), rollouts.episode, rollouts.decision], axis=-1)
        rows = (rollouts.obs, counters.astype(np.uint32))
        chunks, _ = trainer.act_rows(agent, state, *rows, trainer.vectorised_here(agent))
        rollouts.advance(np.asarray(chunks))
        progress(sum(len(each) for each in rollouts.found), len(rollouts.found) * episodes)
    return [_means([each[i] for i in sorted(each)]) for each in rollouts.found]


Place = tuple[int, int]
"""A seed and one of its slots."""


class Rollouts:
    """Where every slot's episode stands: seeds S, slots M of each. A slot that ends takes its seed's next episode."""

    def __init__(self, pool: Pool, seeds: int, first_slot: int, width: int, episodes: int) -> None:
        self._pool, self._first_slot, self._width = pool, first_slot, width
        self.episode = np.tile(np.arange(width), (seeds, 1))
        self.decision = np.zeros((seeds, width), np.int64)
        self.obs: Any = None
        self._waiting = [list(range(width, episodes)) for _ in range(seeds)]
        self.found: list[dict[int, Measures]] = [{} for _ in range(seeds)]
        self.active = {(s, j) for s in range(seeds) for j in range(width)}
        self._start(sorted(self.active))

    def _slot(self, place: Place) -> int:
        s, j = place
        return self._first_slot + s * self._width + j

    def _start(self, places: list[Place]) -> None:
        starts = {self._slot(place): Start(int(self.episode[place]), "evaluation") for place in places}
        first = self._pool.reset(starts)
        if self.obs is None:  # every slot begins
            shape = self.episode.shape
            observed = first[self._slot(places[0])]
            self.obs = jax.tree.map(lambda leaf: np.zeros((*shape, *leaf.shape), leaf.dtype), observed)
        for place in places:
            written(self.obs, place, first[self._slot(place)])
            self.decision[place] = 0

    def advance(self, chunks: np.ndarray) -> None:
        """Execute a chunk (S, M, H, A) in every active slot, and begin the episodes that then have room."""
        steps = self._pool.step({self._slot(place): chunks[place] for place in sorted(self.active)})
        begin = []
        for place in sorted(self.active):
            taken = steps[self._slot(place)]
            written(self.obs, place, jax.tree.map(lambda leaf: leaf[-1], taken.observations))
            self.decision[place] += 1
            if taken.measures is None:
                continue
            seed, episode = place[0], int(self.episode[place])
            self.found[seed][episode] = taken.measures
            if self._waiting[seed]:
                self.episode[place] = self._waiting[seed].pop(0)
                begin.append(place)
            else:
                self.active.discard(place)
        if begin:
            self._start(begin)


def _means(episodes: list[Measures]) -> Measures:
    return {name: float(np.mean([each[name] for each in episodes])) for name in episodes[0]}
