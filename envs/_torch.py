"""PyTorch behind JAX: any velocity field of PyTorch as JAX functions that can be jitted, scanned and mapped.

Two callbacks: one for the velocity, one for its pullback, whose cotangent comes from a critic that is JAX's, after the
velocity is known. The host remembers its last input with the graph, so that drift, guidance and pullback at one point
share one forward pass; it also remembers the last observations that it encoded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import jax
import numpy as np
import torch
from jax.custom_derivatives import SymbolicZero

Arrays = Any
"""A pytree of arrays."""


class Field(Protocol):
    """A module with a velocity: rows R of observations, M latents of each; ``context`` is the shape of what it makes of
    one observation."""

    context: tuple[int, ...]

    def encode(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """What it makes of observations (R, ...), once for each: (R, *context)."""
        ...

    def __call__(self, context: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """The velocity at x (R, M, L), t (R, M, 1)."""
        ...


@dataclass(frozen=True)
class Called:
    """The field as JAX functions, see `envs._suite.Base`; ``fault`` is the error that ended a program, once."""

    encode: Callable[[Any, Any], jax.Array]
    velocity: Callable[[Any, Any, Any, Any], jax.Array]
    fault: Callable[[], BaseException | None]


class Aside(AbstractContextManager):
    """Lets one callback in at a time, and keeps an error of the field, since what arrives on the other side is JAX's
    own about it."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.alone = threading.Lock()

    def __enter__(self) -> None:
        self.alone.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):  # Ctrl-C is nobody's fault
            self.error = error
        self.alone.release()

    def take(self) -> BaseException | None:
        error, self.error = self.error, None
        return error


def _tensor(array: Any) -> torch.Tensor:
    # What a callback is given can't be written to, and PyTorch warns of that.
    return torch.tensor(np.asarray(array))


def _key(*arrays: Any) -> tuple[tuple[Any, ...], ...]:
    """What tells inputs from others, to the bit."""
    return tuple((np.shape(each), np.asarray(each).tobytes()) for each in arrays)


class Host:
    """The field on its side of the callbacks; it forgets all but the last input."""

    def __init__(self, field: Any) -> None:
        self.field, self.aside = field, Aside()
        self._seen: tuple[Any, np.ndarray] | None = None
        self._point: tuple[Any, torch.Tensor, torch.Tensor] | None = None
        field.requires_grad_(False)
        torch.set_num_threads(1)  # a pool of threads of its own would wait for those of JAX

    def encode(self, obs: Mapping[str, np.ndarray], axes: int) -> np.ndarray:
        """The contexts of observations with ``axes`` leading axes; those that are the same are encoded once."""
        with self.aside:
            lead = np.broadcast_shapes(*(leaf.shape[:axes] for leaf in obs.values()))
            rows = {name: _rows(leaf, lead, axes) for name, leaf in obs.items()}
            key = _key(*rows.values())
            if self._seen is None or self._seen[0] != key:
                with torch.no_grad():
                    found = self.field.encode({name: _tensor(leaf) for name, leaf in rows.items()})
                self._seen = key, found.numpy()
            found = self._seen[1]
            return found.reshape(*lead, *found.shape[1:])

    def velocity(self, context: np.ndarray, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        """(*, B, M, L), with any number of mapped axes in front of B."""
        with self.aside:
            lead, *rows = _together(context, x, t)
            velocity = self._at(*rows)[1].detach().numpy()
            return velocity.reshape(*lead, *velocity.shape[1:])

    def pullback(self, context: np.ndarray, x: np.ndarray, t: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
        """(dv/dx)^T of a cotangent."""
        with self.aside:
            lead, *rows, cotangents = _together(context, x, t, cotangent)
            point, velocity = self._at(*rows)
            (pulled,) = torch.autograd.grad(velocity, point, _tensor(cotangents), retain_graph=True)
            return pulled.numpy().reshape(*lead, *pulled.shape[1:])

    def _at(self, context: np.ndarray, x: np.ndarray, t: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """The input and the velocity, joined by a graph: that of the last time, where it was the same."""
        key = _key(context, x, t)
        if self._point is None or self._point[0] != key:
            self._point = None
            point = _tensor(x).requires_grad_(True)
            self._point = key, point, self.field(_tensor(context), point, _tensor(t))
        return self._point[1:]


def _rows(leaf: np.ndarray, lead: tuple[int, ...], axes: int) -> np.ndarray:
    """A leaf with its leading axes, all of ``lead``, as one."""
    leaf = np.asarray(leaf)
    return np.broadcast_to(leaf, (*lead, *leaf.shape[axes:])).reshape(-1, *leaf.shape[axes:])


def _together(context: np.ndarray, *points: np.ndarray) -> tuple[Any, ...]:
    """The leading axes (*, B), and all arrays with these as one. What was not mapped has a 1 where others have more."""
    axes = np.ndim(points[0]) - 2
    lead = np.broadcast_shapes(context.shape[:axes], *(each.shape[:axes] for each in points))
    return (lead, *(_rows(each, lead, axes) for each in (context, *points)))


def behind_jax(field: Any, needs: tuple[str, ...]) -> Called:
    """A module of PyTorch (see `Field`), frozen, that ``needs`` these leaves of an observation.

    A derivative in the time, in what it made of the observation (TypeError) or in the observation itself is an error,
    since it would be a silent zero.
    """
    host = Host(field)

    def encode(arrays: Any, obs: Any) -> jax.Array:
        named = {name: obs[name] for name in needs}  # JAX itself refuses a derivative of this callback
        name, leaf = next(iter(named.items()))
        result = jax.ShapeDtypeStruct((leaf.shape[0], *field.context), np.float32)

        def called(**leaves: Any) -> np.ndarray:
            return host.encode(leaves, np.ndim(leaves[name]) - leaf.ndim + 1)

        return jax.pure_callback(called, result, vmap_method="expand_dims", **named)

    @jax.custom_vjp
    def velocity(context: Any, x: Any, t: Any) -> Any:
        return jax.pure_callback(host.velocity, _like(x), context, x, t, vmap_method="expand_dims")

    def forward(context: Any, x: Any, t: Any) -> Any:
        for what, value in (("the observation", context), ("the time", t)):
            if value.perturbed:
                raise TypeError(f"a velocity behind a callback has no derivative in {what}")
        saved = context.value, x.value, t.value
        return velocity(*saved), saved

    def backward(saved: Any, cotangent: Any) -> Any:
        context, x, t = saved
        if isinstance(cotangent, SymbolicZero):
            return None, None, None
        pulled = jax.pure_callback(host.pullback, _like(x), context, x, t, cotangent, vmap_method="expand_dims")
        return None, pulled, None

    velocity.defvjp(forward, backward, symbolic_zeros=True)
    return Called(encode, lambda arrays, context, x, t: velocity(context, x, t), host.aside.take)


def _like(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)
