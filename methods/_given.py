"""What a method is given: the problem, a batch, named randomness, and three copies of its networks.

Letters: B batch, H chunk length, A action size, D = H A, W width of a latent, J critic heads, N samples, K flow steps.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from methods._latent import Latent

Array = jax.Array
Losses = dict[str, Array]
"""Scalars by name; their sum is minimised."""


class Leaf(NamedTuple):
    """One array of an observation: its name, its shape, and its type as NumPy calls it."""

    name: str
    shape: tuple[int, ...]
    type: str = "float32"


@dataclass(frozen=True)
class Space:
    """What one observation is: arrays by name or, where the only name is empty, one array."""

    leaves: tuple[Leaf, ...]

    @classmethod
    def array(cls, *shape: int) -> Space:
        """One array of floats."""
        return cls((Leaf("", shape),))

    @property
    def frames(self) -> tuple[str, ...]:
        """Names of the images: leaves of height, width and channels."""
        return tuple(leaf.name for leaf in self.leaves if len(leaf.shape) == 3)

    def of(self, make: Callable[[Leaf], Any]) -> Any:
        """An observation's structure with what ``make`` says of each leaf."""
        found = {leaf.name: make(leaf) for leaf in self.leaves}
        return found[""] if list(found) == [""] else found

    def zeros(self, *rows: int) -> Any:
        """NumPy's zeros, with leading axes."""
        return self.of(lambda leaf: np.zeros((*rows, *leaf.shape), leaf.type))

    def named(self, obs: Any) -> dict[str, Any]:
        """The leaves of an observation by name."""
        return obs if isinstance(obs, dict) else {"": obs}

    def rows(self, obs: Any) -> tuple[int, ...]:
        """The leading axes of an observation, which may hold more leaves than these."""
        leaf = self.leaves[0]
        shape = jnp.shape(self.named(obs)[leaf.name])
        return shape[: len(shape) - len(leaf.shape)]


@partial(jax.tree_util.register_dataclass, data_fields=["leaves", "shift"], meta_fields=["each"])
@dataclass(frozen=True)
class Seen:
    """An observation as networks are asked at it: it stands for ``each`` candidates (any number of axes), and trained
    networks see its frames moved by ``shift`` (B, 2) pixels, down and right. Nothing is copied for it."""

    leaves: Any
    each: tuple[int, ...] = ()
    shift: Array | None = None


def seen(obs: Any) -> Seen:
    """Any observation as one that is marked."""
    return obs if isinstance(obs, Seen) else Seen(obs)


@dataclass(frozen=True)
class Backbone:
    """The networks that all methods share: a setting of the run, never of a method. ``encoder_*``: of the convolutions
    through which a network sees frames, and the size of what they say together."""

    activation: str
    time_features: str
    actor_widths: tuple[int, ...]
    value_widths: tuple[int, ...]
    heads: int
    actor_layer_norm: bool = False
    value_layer_norm: bool = True
    value_start: float = 0.0
    encoder_channels: tuple[int, ...] = (32, 32, 32, 32)
    encoder_strides: tuple[int, ...] = (2, 1, 1, 1)
    encoder_size: int = 50


@dataclass(frozen=True)
class Problem:
    """What suite and run fix; static. ``observation`` is what replay keeps, and what trained networks see of it;
    ``pessimism`` is rho, ``flow_steps`` K. Where ``decisions``, a row of replay is a decision, else a step. ``latent``
    is what a given flow moves in place of the action; none where these are the same."""

    observation: Space
    action_size: int
    chunk_length: int
    discount: float
    pessimism: float
    flow_steps: int
    backbone: Backbone
    decisions: bool = False
    latent: Latent | None = None

    @property
    def D(self) -> int:
        """Size of a flat chunk, time-major: H A."""
        return self.chunk_length * self.action_size

    @property
    def W(self) -> int:
        """Width of one step of a latent."""
        return self.latent.width if self.latent else self.action_size

    @property
    def L(self) -> int:
        """Size of a flat latent, time-major: H W."""
        return self.chunk_length * self.W

    @property
    def row_discount(self) -> float:
        """Of one row of replay: gamma of a step, gamma^H of a decision."""
        return self.discount**self.chunk_length if self.decisions else self.discount

    def rows(self, obs: Any) -> tuple[int, ...]:
        """What stands before the last axis of a chunk for each observation and each of its candidates: (B, [N])."""
        obs = seen(obs)
        return (*self.observation.rows(obs.leaves), *obs.each)

    def shape(self, obs: Any) -> tuple[int, ...]:
        """Shape of a chunk for each observation: (B, [N,] D)."""
        return (*self.rows(obs), self.D)

    def to_action(self, x: Array) -> Array:
        """The chunk (*, D) that a latent (*, L) stands for."""
        return self.latent.to_action(x) if self.latent else x

    def from_action(self, chunk: Array) -> Array:
        """The latent (*, L) of a chunk (*, D), its padding zero."""
        return self.latent.from_action(chunk) if self.latent else chunk

    def real(self, x: Array) -> Array:
        """A latent (*, L) without what no action shows: its padding is zero."""
        return self.latent.real(x) if self.latent else x


class Batch(NamedTuple):
    """Transitions over one chunk, reduced: ``reward`` sums gamma^k r_k over a chunk of steps, and is the suite's own of
    a decision; ``mask`` is 0 after a success, ``valid`` is 0 where the chunk crosses the end of a trajectory; shapes
    (B, ...). ``kept`` is what the method asked to keep of each decision, by name. The last three are there only for
    rules that need them; ``return_to_go`` is NaN where the trajectory is not over yet."""

    obs: Any
    chunk: Array
    reward: Array
    mask: Array
    valid: Array
    next_obs: Any
    kept: Any = None
    next_chunk: Any = None
    next_chunk_valid: Any = None
    return_to_go: Any = None


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


class ContractError(ValueError):
    """A method or value rule that does not keep the contract, or does not fit what suite and run give."""


class NoSuchNetwork(ContractError, AttributeError):
    """A network that a copy does not hold."""


@dataclass(frozen=True)
class Copy:
    """One copy of the named networks; ``absent`` explains why a network may be missing from it, ``given`` why one that
    comes from outside is."""

    networks: Mapping[str, Any]
    parameters: Mapping[str, Any]
    absent: str
    given: str = ""

    def __getattr__(self, name: str) -> Any:
        if name in self.parameters:
            return self.networks[name].bind(self.parameters[name])
        if self.given and name in self.networks and self.networks[name].frozen:
            raise ContractError(self.given.format(name=name))
        known = ", ".join(sorted(self.networks))
        raise NoSuchNetwork(self.absent.format(name=name) if name in self.networks else f"no {name!r} among {known}")


@dataclass(frozen=True)
class Views:
    """The same networks three times: ``live`` (trained), ``held`` (the same numbers, constant), ``slow`` (averaged).
    Those of ``given`` come from outside and are frozen: all three show the same."""

    problem: Problem
    live: Copy
    held: Copy
    slow: Copy

    @property
    def given(self) -> frozenset[str]:
        return frozenset(name for name, network in self.held.networks.items() if network.frozen)


Act = Callable[[Views, Any, Draw], Any]
"""A chunk (B, D), or a chunk and what is to be kept of it."""
