"""Acting online: one environment for each seed, chunks executed open loop.

Each seed keeps its own count of steps, so that what it sees does not depend on where its neighbours' episodes end. An
episode is a function of its start and its actions, so a resume replays the actions of the open episode.

Where a row of replay is a step, each step of a chunk is one. Where it is a decision, it is complete once the chunk that
follows it is decided; after a success none follows, and after the last step of an episode that found none, one more is
decided and not executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmark.training import agents, trainer
from benchmark.training.episode import Episode, written
from benchmark.training.replay import Table, Transition, interrupt
from envs._suite import Pool, Steps

UNIFORM = 0x0A11
"""Tells the noise of a warm-up from other numbers that a seed draws."""
COLLECTION = 2**32 - 1
"""Where an evaluation's decisions name the step of training, those of collection name this."""


class Block(NamedTuple):
    """Rows (S, R, ...) to append, as far as they are ``present`` (S, R)."""

    rows: Transition
    present: np.ndarray


class Collected(NamedTuple):
    """What executing a chunk of each seed brings: rows that its updates sample from, rows that come after these, and
    the steps of the environment (S,)."""

    rows: Block
    later: Block | None
    steps: np.ndarray


@dataclass(frozen=True)
class WarmUp:
    """Who acts in a seed's first ``steps``: ``uniform`` noise in [-1, 1], the ``base`` or the ``policy`` itself."""

    who: str = "policy"
    steps: int = 0


POLICY = WarmUp()


class Collector:
    """The open episodes of a pack; ``begun`` once the online phase has started."""

    def __init__(self, agent: agents.Agent, seeds: Sequence[int], width: int, warm_up: WarmUp = POLICY) -> None:
        self.agent, self.warm_up = agent, warm_up
        # On vectors a second program costs more than rows: as many as an evaluation has, so that one serves both.
        dear = agent.problem.observation.frames or agent.parts
        self.width = 1 if dear else width
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
            first = pool.reset({each.slot: each.next() for each in episodes})
            for each in episodes:
                each.begin(first[each.slot])

    def collect(self, pool: Pool, state: agents.State, target: int) -> Collected:
        """Execute each seed's chunk, or its rest. Where rows are steps it goes up to ``target`` and no further; a
        decision is executed whole."""
        taking = [each for each in self.episodes if each.steps < target]
        self._decide(state, [each for each in taking if not len(each.queue)])
        if self.agent.problem.decisions:
            return self._decisions(pool, state, taking)
        actions = {each.slot: each.queue[: target - each.steps] for each in taking}
        found = pool.step(actions)
        block, counts = self._empty(self.agent.problem.chunk_length), np.zeros(len(self.episodes), int)
        for s, each in self._placed(taking):
            steps = found[each.slot]
            _write_steps(block, s, each, steps, actions[each.slot])
            each.execute(steps)
            counts[s] = steps.count
        self._reset(pool, [each for each in taking if each.over])
        return Collected(block, None, counts)

    def _decisions(self, pool: Pool, state: agents.State, taking: Sequence[Episode]) -> Collected:
        block, later = self._empty(1), self._empty(1)
        for s, each in self._placed(taking):
            if each.waiting:
                _write_decision(block, s, each.waiting, each.obs, each.queue)
        found = pool.step({each.slot: each.queue for each in taking})
        counts = np.zeros(len(self.episodes), int)
        for s, each in self._placed(taking):
            each.wait(found[each.slot])
            counts[s] = found[each.slot].count
        over = [each for each in taking if each.over]
        self._decide(state, [each for each in over if each.waiting["mask"] > 0])
        for s, each in self._placed(over):
            chunk = each.queue if len(each.queue) else np.zeros_like(each.waiting["action"])
            _write_decision(later, s, each.waiting, each.obs, chunk, over=True)
        self._reset(pool, over)
        return Collected(block, later, counts)

    def _placed(self, episodes: Sequence[Episode]) -> list[tuple[int, Episode]]:
        """These episodes with their place among all."""
        return [(s, each) for s, each in enumerate(self.episodes) if each in episodes]

    def _decide(self, state: agents.State, episodes: Sequence[Episode]) -> None:
        """Give each of these a chunk to execute."""
        early = [each for each in episodes if each.steps < self.warm_up.steps]
        if self.warm_up.who == "uniform":
            for each in early:
                each.queue, each.decisions = self._uniform(each), each.decisions + 1
        elif self.warm_up.who == "base":
            self._ask(state, early, base=True)
        else:
            early = []
        self._ask(state, [each for each in episodes if each not in early], base=False)

    def _uniform(self, episode: Episode) -> np.ndarray:
        """A chunk of noise, cut where the policy takes over."""
        problem = self.agent.problem
        words = [episode.seed, episode.number, episode.decisions, UNIFORM]
        size = (problem.chunk_length, problem.action_size)
        chunk = np.random.default_rng(words).uniform(-1.0, 1.0, size).astype(np.float32)
        return chunk if problem.decisions else chunk[: self.warm_up.steps - episode.steps]

    def _ask(self, state: agents.State, episodes: Sequence[Episode], base: bool) -> None:
        if not episodes:
            return
        seen = [each.obs for each in self.episodes]
        obs = jax.tree.map(lambda *rows: np.repeat(np.stack(rows)[:, None], self.width, axis=1), *seen)
        counters = [[[COLLECTION, each.number, each.decisions]] * self.width for each in self.episodes]
        names, mapped = np.asarray(counters, np.uint32), trainer.vectorised_here(self.agent)
        found = trainer.act_rows(self.agent, state, obs, names, mapped, base)
        chunks, kept = jax.tree.map(lambda leaf: np.asarray(leaf)[:, 0], found)
        for s, each in self._placed(episodes):
            each.queue, each.decisions = chunks[s], each.decisions + 1
            each.kept = {name: value[s] for name, value in kept.items()}

    def _empty(self, rows: int) -> Block:
        problem, seeds = self.agent.problem, len(self.episodes)
        size = problem.D if problem.decisions else problem.action_size

        def zeros(*shape: int) -> np.ndarray:
            return np.zeros((seeds, rows, *shape), np.float32)

        obs, following = (problem.observation.zeros(seeds, rows) for _ in range(2))
        more: dict[str, Any] = {}
        if problem.decisions:
            kept = {name: zeros(width) for name, width in self.agent.method.keeps(problem).items()}
            more = {"next_action": zeros(size), "kept": kept}
        block = Transition(obs, zeros(size), zeros(), zeros(), zeros(), following, **more)
        return Block(block, np.zeros((seeds, rows), bool))

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these seeds only."""
        self.episodes = [self.episodes[s] for s in rows]

    def note(self, s: int) -> dict[str, Any]:
        """What a checkpoint holds of one seed beside its `arrays`, as JSON."""
        each = self.episodes[s]
        return {"begun": self.begun, "number": each.number, "steps": each.steps, "decisions": each.decisions}

    def arrays(self, s: int) -> dict[str, np.ndarray]:
        """What a checkpoint holds of one seed's open episode."""
        return self.episodes[s].arrays()

    def restore(self, s: int, note: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        each = self.episodes[s]
        self.begun = note["begun"]
        each.number, each.steps, each.decisions = note["number"], note["steps"], note["decisions"]
        each.restore(arrays)

    def resume(self, pool: Pool, online: Table) -> Table:
        """Take up the open episodes again by replaying their actions.

        A machine with other rounding may end up elsewhere: then the episode is ended where it was, and the next begun.
        """
        for s, each in enumerate(self.episodes):
            found = pool.reset({each.slot: each.start})[each.slot]
            if each.actions:
                last = pool.step({each.slot: np.stack(each.actions)})[each.slot].observations
                found = jax.tree.map(lambda leaf: leaf[-1], last)
            if not each.stands_at(found):
                mine = jax.tree.map(lambda leaf, s=s: leaf[s], online)
                if int(mine.size) and not float(mine.terminals[mine.size - 1]):
                    ended = interrupt(mine)
                    online = jax.tree.map(lambda leaf, one, s=s: leaf.at[s].set(one), online, ended)
                each.number += 1
                self._reset(pool, [each])
        return online


def _write_steps(block: Block, s: int, episode: Episode, steps: Steps, actions: np.ndarray) -> None:
    rows, count = block.rows, steps.count
    written(rows.obs, (s, 0), episode.obs)
    written(rows.obs, (s, slice(1, count)), jax.tree.map(lambda leaf: leaf[:-1], steps.observations))
    rows.action[s, :count] = actions[:count]
    rows.reward[s, :count] = steps.rewards
    rows.mask[s, :count] = 1.0 - steps.terminated
    rows.terminal[s, :count] = steps.terminated | steps.truncated
    written(rows.next_obs, (s, slice(0, count)), steps.observations)
    block.present[s, :count] = True


def _write_decision(
    block: Block, s: int, waiting: dict[str, Any], following: Any, chunk: np.ndarray, over: bool = False
) -> None:
    rows = block.rows
    written(rows.obs, (s, 0), waiting["obs"])
    written(rows.next_obs, (s, 0), following)
    written(rows.kept, (s, 0), waiting["kept"])
    rows.action[s, 0], rows.next_action[s, 0] = waiting["action"].ravel(), chunk.ravel()
    rows.reward[s, 0], rows.mask[s, 0], rows.terminal[s, 0] = waiting["reward"], waiting["mask"], float(over)
    block.present[s, 0] = True
