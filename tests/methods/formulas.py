"""Networks given as formulas, so that a loss can be evaluated a second time in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from methods._contract import Backbone, Batch, Draw, Problem, Space, Views, seen

B, S, A, H = 3, 2, 2, 2
D = A * H
PROBLEM = Problem(Space.array(S), A, H, 0.9, 0.5, 4, Backbone("gelu", "raw", (8,), (8,), heads=3))
DRAW = Draw(jax.random.PRNGKey(5))


@dataclass(frozen=True)
class Formula:
    """A network of observation and inputs; as a flow its latent is the action itself."""

    function: Callable[..., Any]
    obs: Any = None

    def at(self, obs: Any) -> Formula:
        obs = seen(obs)
        repeated = jnp.expand_dims(obs.leaves, tuple(range(1, 1 + len(obs.each))))
        return Formula(self.function, jnp.broadcast_to(repeated, (*PROBLEM.rows(obs), repeated.shape[-1])))

    def __call__(self, *inputs: Any) -> Any:
        return self.function(self.obs, *inputs)

    def start(self, draw: Draw, name: str) -> jax.Array:
        return draw.normal(name, PROBLEM.shape(self.obs))

    def from_action(self, chunk: jax.Array) -> jax.Array:
        return chunk

    def to_action(self, x: jax.Array) -> jax.Array:
        return x

    def real(self, x: jax.Array) -> jax.Array:
        return x


def views(problem: Problem = PROBLEM, **copies: dict[str, Any]) -> Views:
    """Views whose copies hold what is named: ``views(live={"critic": f}, slow=...)``; a missing one is an error."""
    made: dict[str, Any] = {
        name: SimpleNamespace(**{k: Formula(f) if k != "temperature" else f for k, f in copies.get(name, {}).items()})
        for name in ("live", "held", "slow")
    }
    return Views(problem, **made)


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def batch() -> Batch:
    """Three rows, the last of which crosses the end of its trajectory."""
    obs, chunk, reward = numbers(B, S), np.clip(numbers(B, D, seed=1), -0.9, 0.9), numbers(B, seed=2)
    mask, valid = np.asarray([1.0, 0.0, 1.0], np.float32), np.asarray([1.0, 1.0, 0.0], np.float32)
    return Batch(*map(jnp.asarray, (obs, chunk, reward, mask, valid, numbers(B, S, seed=3))))


WEIGHTS = numbers(3, D, seed=7)
"""Of a linear critic with three heads."""


def linear_critic(obs: Any, chunk: Any, scale: float = 1.0) -> Any:
    """(J, B): w_j . chunk + sum of the observation."""
    return scale * (jnp.moveaxis(chunk @ WEIGHTS.T, -1, 0) + obs.sum(-1))
