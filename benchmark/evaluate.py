"""Evaluation in lock step: all episodes of all seeds side by side, chunks executed open loop.

Episode i starts from the initial state of seed i, whatever the run's seed and however many episodes run at once; its
policy noise is named by (run's seed, step of training, i, decision). So the numbers do not depend on the parallelism.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmark import trainer
from envs._suite import Pool

Measures = dict[str, float]
SLOTS = 50
"""Episodes side by side, over all seeds."""


def slots_per_seed(seeds: int, episodes: int) -> int:
    """Slots of each seed: at least one, and no more in all than SLOTS where that is possible."""
    return max(1, min(episodes, SLOTS // seeds))


def evaluate(
    agent: trainer.Agent,
    state: trainer.State,
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
    seeds = len(state.iteration)
    episode = np.tile(np.arange(width), (seeds, 1))
    decision = np.zeros((seeds, width), np.int64)
    obs = np.zeros((seeds, width, *agent.problem.observation), np.float32)
    waiting = [list(range(width, episodes)) for _ in range(seeds)]
    found: list[dict[int, Measures]] = [{} for _ in range(seeds)]

    def slot(s: int, j: int) -> int:
        return first_slot + s * width + j

    def start(places: list[tuple[int, int]]) -> None:
        first = pool.reset({slot(s, j): int(episode[s, j]) for s, j in places})
        for s, j in places:
            obs[s, j], decision[s, j] = first[slot(s, j)], 0

    active = {(s, j) for s in range(seeds) for j in range(width)}
    start(sorted(active))
    while active:
        counters = np.stack([np.full_like(episode, step), episode, decision], axis=-1).astype(np.uint32)
        chunks = np.asarray(trainer.act_rows(agent, state, obs, counters, trainer.vectorised_here()))
        steps = pool.step({slot(s, j): chunks[s, j] for s, j in sorted(active)})
        ended = []
        for s, j in sorted(active):
            taken = steps[slot(s, j)]
            obs[s, j] = taken.observations[-1]
            decision[s, j] += 1
            if taken.measures is not None:
                found[s][int(episode[s, j])] = taken.measures
                ended.append((s, j))
        again = []
        for s, j in ended:
            if waiting[s]:
                episode[s, j] = waiting[s].pop(0)
                again.append((s, j))
            else:
                active.discard((s, j))
        if again:
            start(again)
        progress(sum(len(each) for each in found), seeds * episodes)
    return [_means([each[i] for i in sorted(each)]) for each in found]


def _means(episodes: list[Measures]) -> Measures:
    return {name: float(np.mean([each[name] for each in episodes])) for name in episodes[0]}
