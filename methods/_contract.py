"""The whole interface: what a method is asked, and what it is given.

A method is a frozen value (its hyperparameters) plus pure functions of arrays. Letters: B batch, H chunk length,
A action size, D = H A, J critic heads, N samples, K flow steps. The trainer owns parameters, optimiser, averages, jit
and the map over seeds; no function here sees a seed axis.

``diagnostics`` is the one question added to the design this grew from: what a paper says to watch (a plain residual, an
effective sample size) belongs in the record, but not in the loss.
"""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from methods._flow import flow_matching
from methods._nets import Network, Parameters, critic, velocity_field
from methods._traced import Traced
from methods._values import TD, NextAct

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

    networks: Mapping[str, Network]
    parameters: Mapping[str, Parameters]
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


class ValueRule(Protocol):
    """How the critic learns; see `methods._values`."""

    averaged: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]]

    def networks(self, problem: Problem) -> dict[str, Network]: ...

    def losses(self, views: Views, batch: Batch, next_act: NextAct, draw: Draw) -> Losses: ...


@dataclass(frozen=True)
class Method(Traced):
    """The questions a method answers. Its fields are its hyperparameters; a ``float`` is traced, the rest is static."""

    best_of_n: int = field(default=1, kw_only=True)
    """Candidates for each action, the best kept by the held critic's mean; the trainer wraps `act` and `next_act`."""

    averaged: ClassVar[tuple[str, ...]] = ("critic",)
    """Networks with a slow copy, beside the value rule's."""
    average_every: ClassVar[int] = 1
    """Slow copies move in iterations that are a multiple of this."""
    clip_norm: ClassVar[float] = 0.0
    """Global norm over all networks together that gradients are clipped to; 0 is no clipping."""
    critic_terms: ClassVar[tuple[str, ...]] = ()
    """Terms of `losses` that train the critic."""
    published_backbone: ClassVar[str] = "reference"
    """The backbone that its published numbers were made with, for ``--backbone as_published``."""
    known_failures: ClassVar[Mapping[str, str]] = {}
    """Checks of the contract test that it fails, each with the reason."""

    def networks(self, problem: Problem) -> dict[str, Network]:
        return {"flow": velocity_field(problem), "critic": critic(problem)}

    def base_loss(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        """Behaviour cloning of the base policy; not called where the base is frozen."""
        return {"flow_loss": flow_matching(views.live.flow, batch, draw)}

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        """Every further term."""
        return {}

    @abstractmethod
    def act(self, views: Views, obs: Any, draw: Draw) -> Array:
        """Chunks (B, D) in [-1, 1]; reads ``held`` and ``slow``, never ``live``."""

    def next_act(self, views: Views, obs: Any, draw: Draw) -> Array:
        """The action of the TD target."""
        return self.act(views, obs, draw)

    @property
    def value(self) -> ValueRule:
        """The rule that its critic learns by, unless the run asks for another."""
        return TD()

    def diagnostics(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        """Numbers to record beside the losses; computed at log points only, never differentiated."""
        return {}
