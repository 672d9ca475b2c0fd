"""Parts that a run gives from outside: a frozen flow, and its meta flow map.

A given part stands where a network would. Its arrays are shared by all seeds; it has no moments, no average and no
place in a checkpoint. QPILOTS (arXiv 2606.14801), Section 5, on a frozen vision-language-action model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from methods._flow_map import posterior_velocity
from methods._given import ContractError, Problem, seen
from methods._nets import FlowAt

Array = jax.Array


@dataclass(frozen=True)
class GivenFlow:
    """A velocity field from outside: ``encode(arrays, obs)`` once for an observation, then ``velocity(arrays, context,
    x (B, M, L), t (B, M, 1))`` for M candidates of each. It ``needs`` these leaves of an observation, by name."""

    problem: Problem
    encode: Callable[[Any, Any], Any]
    velocity: Callable[[Any, Any, Array, Array], Array]
    needs: tuple[str, ...]
    frozen: ClassVar[bool] = True

    def bind(self, arrays: Any) -> BoundGivenFlow:
        return BoundGivenFlow(self, arrays)


@dataclass(frozen=True)
class BoundGivenFlow:
    part: GivenFlow
    arrays: Any

    def at(self, obs: Any) -> FlowAt:
        """The field at an observation; frames are as they are, whatever trained networks see of them. Raises
        ContractError where it needs what this observation does not hold."""
        obs, problem = seen(obs), self.part.problem
        missing = [name for name in self.part.needs if name not in problem.observation.named(obs.leaves)]
        if missing:
            raise ContractError(
                f"the base needs {missing[0]!r} of an observation, which replay does not keep: it can be asked while "
                "acting, and never at a row"
            )
        batch, context = problem.observation.rows(obs.leaves), self.part.encode(self.arrays, obs.leaves)

        def velocity(x: Array, t: Any) -> Array:
            rows = x.shape[:-1]
            lead = x.reshape(*batch, -1, problem.L).shape[:-1]
            times = jnp.broadcast_to(_aligned(t, x.ndim), (*rows, 1)).reshape(*lead, 1)
            return self.part.velocity(self.arrays, context, x.reshape(*lead, problem.L), times).reshape(x.shape)

        return FlowAt(problem, problem.rows(obs), velocity)


@dataclass(frozen=True)
class GivenMap:
    """The meta flow map of a given flow, without a network: the posterior's own flow, followed in ``steps`` steps."""

    flow: GivenFlow
    steps: int
    frozen: ClassVar[bool] = True

    def bind(self, arrays: Any) -> BoundGivenMap:
        return BoundGivenMap(self, arrays)


@dataclass(frozen=True)
class BoundGivenMap:
    part: GivenMap
    arrays: Any

    def at(self, obs: Any) -> Callable[..., Array]:
        """(x_bar, x, t, u, e) -> the average velocity from x_bar at time u to time e, in the context (t, x, s)."""
        flow, steps = self.part.flow.bind(self.arrays).at(obs), self.part.steps

        def average(x_bar: Array, x: Array, t: Any, u: Any, e: Any) -> Array:
            x, t, u, e = (_aligned(each, x_bar.ndim) for each in (x, t, u, e))

            def step(at: Array, k: Array) -> tuple[Array, Array]:
                velocity = posterior_velocity(flow, at, x, t, u + (e - u) * k / steps)
                return at + (e - u) / steps * velocity, velocity

            return jnp.mean(jax.lax.scan(step, x_bar, jnp.arange(steps, dtype=x_bar.dtype))[1], axis=0)

        return average


@dataclass(frozen=True)
class Parts:
    """What a run gives from outside, each in place of the network of its name. Static: it is told from others by its
    functions, and what these are made of, ``arrays``, enters programs beside it. ``called_back`` are functions that
    leave the program."""

    flow: GivenFlow
    map: GivenMap | None = None
    called_back: bool = False
    arrays: Any = field(default=None, compare=False)

    @property
    def by_name(self) -> dict[str, GivenFlow | GivenMap]:
        return {"flow": self.flow} | ({"map": self.map} if self.map else {})

    def stand_for_base(self, networks: Mapping[str, Any]) -> bool:
        """Whether a method with these networks has a base, and this is it."""
        return "flow" in networks

    def learned_with_base(self, networks: Mapping[str, Any]) -> str:
        """A network among those that are trained which only the base's own losses would train."""
        return "map" if "map" in networks else ""


def given_parts(
    problem: Problem,
    encode: Callable[[Any, Any], Any],
    velocity: Callable[[Any, Any, Array, Array], Array],
    needs: tuple[str, ...],
    map_steps: int,
    called_back: bool,
    arrays: Any,
) -> Parts:
    """A base as parts: its flow and, where ``map_steps`` are not too many to ask it for, its posterior's."""
    flow = GivenFlow(problem, encode, velocity, needs)
    return Parts(flow, GivenMap(flow, map_steps) if map_steps else None, called_back, arrays)


def _aligned(value: Any, axes: int) -> Array:
    """A number, or (B, size) with room for the axes between its leading ones and the last."""
    array = jnp.asarray(value, jnp.float32)
    shape = array.shape or (1,)
    return array.reshape(*shape[:-1], *(1,) * (axes - len(shape)), shape[-1])
