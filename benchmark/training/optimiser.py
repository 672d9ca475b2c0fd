"""The one optimiser: Adam, its schedule, and what goes with it in an update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import optax

Trees = dict[str, Any]
"""Parameters of each network by its name."""


@dataclass(frozen=True)
class Optimiser:
    """Adam with one learning rate for all networks but those of ``rates``, by name; it rises over ``warm_up`` updates
    and falls over the ``decay`` after them, as a cosine, to the share ``end`` of itself (0: it does not). ``clip_norm``
    0 is none; ``target_rate`` of the averages; ``balanced``: half of every batch is offline data, half the run's own;
    ``shift``: pixels by which frames are moved at most, at random; ``updates_per_step`` of an environment."""

    learning_rate: float
    target_rate: float
    clip_norm: float
    batch_size: int
    balanced: bool = False
    rates: tuple[tuple[str, float], ...] = ()
    warm_up: int = 0
    decay: int = 0
    end: float = 1.0
    shift: int = 0
    updates_per_step: Fraction = Fraction(1)

    def transformation(self) -> optax.GradientTransformation:
        adam = optax.adam(self._schedule() if self.warm_up or self.decay else self.learning_rate)
        return optax.chain(optax.clip_by_global_norm(self.clip_norm), adam) if self.clip_norm else adam

    def _schedule(self) -> Callable[[Any], Any]:
        def rate(count: Any) -> Any:
            rising = jnp.minimum(1.0, (count + 1) / max(self.warm_up, 1))
            share = jnp.clip((count - self.warm_up) / max(self.decay, 1), 0.0, 1.0) if self.decay else 0.0
            falling = self.end + (1.0 - self.end) * 0.5 * (1.0 + jnp.cos(jnp.pi * share))
            return self.learning_rate * rising * falling

        return rate

    def scaled(self, steps: Any) -> Trees:
        """Steps of Adam, those of the networks that have a learning rate of their own brought to it."""
        own = dict(self.rates)
        return {
            name: jax.tree.map(lambda leaf, name=name: leaf * (own[name] / self.learning_rate), tree)
            if name in own
            else tree
            for name, tree in steps.items()
        }
