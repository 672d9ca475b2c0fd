"""What a method is given: the problem, a batch, named randomness, and three copies of its networks.

Letters: B batch, H chunk length, A action size, D = H A, J critic heads, N samples, K flow steps.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array
Losses = dict[str, Array]
"""Scalars by name; their sum is minimised."""


@dataclass(frozen=True)
class Backbone:
    """The networks that all methods share: a setting of the run, never of a method."""

    activation: str
    time_features: str
    actor_widths: tuple[int, ...]
    value_widths: tuple[int, ...]
    heads: int
    actor_layer_norm: bool = False
    value_layer_norm: bool = True
    value_start: float = 0.0


@dataclass(frozen=True)
class Problem:
    """What suite and run fix; static. ``observation`` is one observation's shape, ``pessimism`` rho, flow_steps K."""

    observation: tuple[int, ...]
    action_size: int
    chunk_length: int
    discount: float
    pessimism: float
    flow_steps: int
    backbone: Backbone

    @property
    def D(self) -> int:
        """Size of a flat chunk, time-major: H A."""
        return self.chunk_length * self.action_size

    def shape(self, obs: Any) -> tuple[int, ...]:
        """Shape of a chunk for each observation: (B, D)."""
        return (*jnp.shape(obs)[: jnp.ndim(obs) - len(self.observation)], self.D)


class Batch(NamedTuple):
    """Transitions over one chunk, reduced: ``reward`` sums gamma^k r_k, ``mask`` is 0 after a success, ``valid`` is 0
    where the chunk crosses the end of a trajectory; shapes (B, ...). The last three are there only for rules that need
    them."""

    obs: Any
    chunk: Array
    reward: Array
    mask: Array
    valid: Array
    next_obs: Any
    next_chunk: Array | None = None
    next_chunk_valid: Array | None = None
    return_to_go: Array | None = None


class Draw:
    """The one source of randomness: numbers by name, row i belonging to observation i.

    The key is folded with a hash of the name, so that adding a draw moves no other and methods share the draws they
    have in common. With ``steps`` = K the answer is (K, *shape): K draws, each as if made alone.
    """

    def __init__(self, key: Array, prefix: str = "") -> None:
        self._key = key
        self._prefix = prefix

    def normal(self, name: str, shape: tuple[int, ...], steps: int | None = None) -> Array:
        return self._draw(jax.random.normal, name, shape, steps)

    def uniform(self, name: str, shape: tuple[int, ...], steps: int | None = None) -> Array:
        """In [0, 1); an integer below n is floor(n u)."""
        return self._draw(jax.random.uniform, name, shape, steps)

    def scope(self, prefix: str) -> Draw:
        return Draw(self._key, self._prefix + prefix)

    def _draw(self, sample: Callable, name: str, shape: tuple[int, ...], steps: int | None) -> Array:
        key = named_key(self._key, self._prefix + name)
        if steps is None:
            return sample(key, shape, jnp.float32)
        return jax.vmap(lambda each: sample(each, shape, jnp.float32))(jax.random.split(key, steps))


def named_key(key: Array, name: str) -> Array:
    """A key of its own for each name; stable across processes and versions."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


@dataclass(frozen=True)
class Copy:
    """One copy of the named networks; ``absent`` explains why a network may be missing from it."""

    networks: Mapping[str, Any]
    parameters: Mapping[str, Any]
    absent: str

    def __getattr__(self, name: str) -> Any:
        if name in self.parameters:
            return self.networks[name].bind(self.parameters[name])
        known = ", ".join(sorted(self.networks))
        raise AttributeError(self.absent.format(name=name) if name in self.networks else f"no {name!r} among {known}")


@dataclass(frozen=True)
class Views:
    """The same networks three times: ``live`` (trained), ``held`` (the same numbers, constant), ``slow`` (averaged)."""

    problem: Problem
    live: Copy
    held: Copy
    slow: Copy


Act = Callable[[Views, Any, Draw], Array]
