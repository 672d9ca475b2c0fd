"""Acting online: one environment for each seed, chunks executed open loop.

Each seed keeps its own count of steps, so that what it sees does not depend on where its neighbours' episodes end. An
episode is a function of its reset seed and its actions, so a resume replays the actions of the open episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from benchmark.training import agents, trainer
from benchmark.training.replay import Table, Transition, interrupt
from envs._suite import Pool, Steps

UNIFORM = 0x0A11
"""Tells the noise of a warm-up from other numbers that a seed draws."""
COLLECTION = 2**32 - 1
"""Where an evaluation's decisions name the step of training, those of collection name this."""


@dataclass
class Episode:
    """One seed's open episode: its number, the actions so far, those still to execute, and where it stands."""

    slot: int
    seed: int
    number: int = 0
    steps: int = 0
    decisions: int = 0
    actions: list[np.ndarray] = field(default_factory=list)
    queue: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    obs: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def reset_seed(self) -> int:
        """The initial state's seed: far from those of evaluation, which count from 0."""
        words = np.random.SeedSequence([self.seed, self.number, 0x0911E]).generate_state(1)
        return int(words[0]) % 2**31 + 2**31

    def begin(self, obs: np.ndarray) -> None:
        self.decisions, self.actions, self.queue, self.obs = 0, [], self.queue[:0], obs


class Collector:
    """The open episodes of a pack; ``begun`` once the online phase has started.

    A seed's first ``uniform_steps`` actions are uniform in [-1, 1].
    """

    def __init__(self, agent: agents.Agent, seeds: Sequence[int], width: int, uniform_steps: int = 0) -> None:
        self.agent, self.width, self.uniform_steps = agent, width, uniform_steps
        self.episodes = [Episode(slot, seed) for slot, seed in enumerate(seeds)]
        self.begun = False

    @property
    def steps(self) -> list[int]:
        """Environment steps of each seed."""
        return [each.steps for each in self.episodes]

    def start(self, pool: Pool) -> None:
        self.begun = True
        self._reset(pool, self.episodes)

    def _reset(self, pool: Pool, episodes: Sequence[Episode]) -> None:
        if episodes:
            first = pool.reset({each.slot: each.reset_seed for each in episodes})
            for each in episodes:
                each.begin(first[each.slot])

    def collect(self, pool: Pool, state: agents.State, target: int) -> tuple[Transition, np.ndarray]:
        """Execute each seed's chunk, or its rest, up to ``target`` steps: block (S, H, ...), present (S, H)."""
        for each in self.episodes:
            if not len(each.queue) and each.steps < self.uniform_steps:
                each.queue, each.decisions = self._uniform(each), each.decisions + 1
        if any(not len(each.queue) and each.steps < target for each in self.episodes):
            self._decide(state)
        taking = {each.slot: each.queue[: target - each.steps] for each in self.episodes if each.steps < target}
        found = pool.step(taking)
        block, present = self._empty_block()
        ended = []
        for s, each in enumerate(self.episodes):
            if each.slot not in taking:
                continue
            steps = found[each.slot]
            count = len(steps.rewards)
            self._write(block, s, each, steps, taking[each.slot])
            present[s, :count] = True
            each.actions.extend(taking[each.slot][:count])
            each.queue, each.obs, each.steps = each.queue[count:], steps.observations[-1], each.steps + count
            if steps.measures is not None:
                each.number += 1
                ended.append(each)
        self._reset(pool, ended)
        return block, present

    def _uniform(self, episode: Episode) -> np.ndarray:
        """A chunk of noise, cut where the policy takes over."""
        problem = self.agent.problem
        words = [episode.seed, episode.number, episode.decisions, UNIFORM]
        size = (problem.chunk_length, problem.action_size)
        chunk = np.random.default_rng(words).uniform(-1.0, 1.0, size).astype(np.float32)
        return chunk[: self.uniform_steps - episode.steps]

    def _decide(self, state: agents.State) -> None:
        # As many rows as an evaluation has, so that one compiled program serves both; the first one counts.
        obs = np.repeat(np.stack([each.obs for each in self.episodes])[:, None], self.width, axis=1)
        counters = [[[COLLECTION, each.number, each.decisions]] * self.width for each in self.episodes]
        chunks = trainer.act_rows(self.agent, state, obs, np.asarray(counters, np.uint32), trainer.vectorised_here())
        for each, chunk in zip(self.episodes, np.asarray(chunks)[:, 0], strict=True):
            if not len(each.queue):
                each.queue, each.decisions = chunk, each.decisions + 1

    def _empty_block(self) -> tuple[Transition, np.ndarray]:
        problem, rows = self.agent.problem, (len(self.episodes), self.agent.problem.chunk_length)

        def zeros(*shape: int) -> np.ndarray:
            return np.zeros((*rows, *shape), np.float32)

        obs, action = problem.observation, problem.action_size
        block: Any = Transition(zeros(*obs), zeros(action), zeros(), zeros(), zeros(), zeros(*obs))
        return block, np.zeros(rows, bool)

    def _write(self, block: Any, s: int, episode: Episode, steps: Steps, actions: np.ndarray) -> None:
        count = len(steps.rewards)
        block.obs[s, 0], block.obs[s, 1:count] = episode.obs, steps.observations[:-1]
        block.action[s, :count] = actions[:count]
        block.reward[s, :count] = steps.rewards
        block.mask[s, :count] = 1.0 - steps.terminated
        block.terminal[s, :count] = steps.terminated | steps.truncated
        block.next_obs[s, :count] = steps.observations

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these seeds only."""
        self.episodes = [self.episodes[s] for s in rows]

    def note(self, s: int) -> dict[str, Any]:
        """What a checkpoint holds of one seed, as JSON. Floats survive: a float32 has an exact decimal."""
        each = self.episodes[s]
        lists = {name: np.asarray(getattr(each, name)).tolist() for name in ("actions", "queue", "obs")}
        return {"begun": self.begun, "number": each.number, "steps": each.steps, "decisions": each.decisions} | lists

    def restore(self, s: int, note: dict[str, Any]) -> None:
        each = self.episodes[s]
        self.begun = note["begun"]
        each.number, each.steps, each.decisions = note["number"], note["steps"], note["decisions"]
        each.actions = list(np.asarray(note["actions"], np.float32))
        each.queue, each.obs = np.asarray(note["queue"], np.float32), np.asarray(note["obs"], np.float32)

    def resume(self, pool: Pool, online: Table) -> Table:
        """Take up the open episodes again by replaying their actions.

        A machine with other rounding may end up elsewhere: then the episode is ended where it was, and the next begun.
        """
        for s, each in enumerate(self.episodes):
            found = pool.reset({each.slot: each.reset_seed})[each.slot]
            if each.actions:
                found = pool.step({each.slot: np.stack(each.actions)})[each.slot].observations[-1]
            if not np.allclose(found, each.obs, rtol=0.0, atol=1e-6):
                mine = interrupt(jax.tree.map(lambda leaf, s=s: leaf[s], online))
                online = jax.tree.map(lambda leaf, one, s=s: leaf.at[s].set(one), online, mine)
                each.number += 1
                self._reset(pool, [each])
        return online
