"""One seed's open episode, and how it is written down and taken up again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from envs._suite import Start, Steps

EMPTY = np.zeros((0, 0), np.float32)


@dataclass(eq=False)
class Episode:
    """Its number, the actions so far, those still to execute with what is ``kept`` of them, and where it stands.

    Where rows of replay are decisions, the last one that was executed is ``waiting`` for the chunk that follows it.
    """

    slot: int
    seed: int
    number: int = 0
    steps: int = 0
    decisions: int = 0
    actions: list[np.ndarray] = field(default_factory=list)
    queue: np.ndarray = field(default_factory=lambda: EMPTY)
    kept: dict[str, np.ndarray] = field(default_factory=dict)
    obs: Any = field(default_factory=lambda: np.zeros(0, np.float32))
    waiting: dict[str, Any] = field(default_factory=dict)
    over: bool = False

    @property
    def start(self) -> Start:
        """A start whose seed is far from those of evaluation, which count from 0."""
        words = np.random.SeedSequence([self.seed, self.number, 0x0911E]).generate_state(1)
        return Start(int(words[0]) % 2**31 + 2**31, "training")

    def next(self) -> Start:
        """Where it starts, or where the one after it does if it is over."""
        self.number += self.over
        self.over = False
        return self.start

    def begin(self, obs: Any) -> None:
        self.decisions, self.actions, self.queue, self.obs = 0, [], EMPTY, obs
        self.kept, self.waiting = {}, {}

    def execute(self, steps: Steps) -> None:
        """The first of the queue were executed."""
        self.actions.extend(self.queue[: steps.count])
        self.queue, self.steps = self.queue[steps.count :], self.steps + steps.count
        self.obs = jax.tree.map(lambda leaf: leaf[-1], steps.observations)
        self.over = steps.measures is not None

    def wait(self, steps: Steps) -> None:
        """The whole queue was executed, or as much of it as the episode lasted: a decision that waits for the next."""
        self.waiting = {
            "obs": self.obs,
            "action": self.queue,
            "kept": self.kept,
            "reward": steps.rewards[-1],
            "mask": np.float32(not steps.terminated[-1]),
        }
        self.execute(steps)
        self.queue = EMPTY

    def arrays(self) -> dict[str, np.ndarray]:
        """What its counts do not say."""
        tree = {"actions": np.asarray(self.actions, np.float32), "queue": self.queue, "obs": self.obs}
        tree |= {"kept": self.kept, "waiting": self.waiting}
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """What `arrays` said, on top of the counts."""
        found = _nested(arrays)
        self.actions, self.queue, self.obs = list(found["actions"]), found["queue"], found["obs"]
        self.kept, self.waiting = found.get("kept", {}), found.get("waiting", {})
        if self.waiting:
            self.waiting.setdefault("kept", {})

    def stands_at(self, obs: Any) -> bool:
        """Whether an observation is the one where it was left, but for rounding."""
        near = jax.tree.map(lambda one, other: np.allclose(one, other, rtol=0.0, atol=1e-6), obs, self.obs)
        return all(jax.tree.leaves(near))


def _nested(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Arrays by the path of their leaf, as `jax.tree_util.keystr` writes it, in dictionaries again."""
    found: dict[str, Any] = {}
    for path, array in arrays.items():
        *parents, last = path.strip("[]'").split("']['")
        place = found
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = array
    return found


def written(into: Any, where: Any, values: Any) -> None:
    """Write values at an index of NumPy's arrays; of a dictionary those that there is a place for."""
    if isinstance(into, dict):
        for name, place in into.items():
            written(place, where, values[name])
    else:
        into[where] = values
