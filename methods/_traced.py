"""Frozen values whose floats are traced: one compiled program serves every value of them."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any, get_type_hints

import jax
import numpy as np

constant = jax.lax.stop_gradient
"""The same numbers, without a gradient: sg[.] in the papers."""


def added(before: Any, default: Any = dataclasses.MISSING) -> Any:
    """A setting that there was not from the start: ``before`` is the value that says what was so far. At that value it
    is left out of a run's configuration, and so of its key, and it is filled in where a configuration is read."""
    return dataclasses.field(default=default, kw_only=True, metadata={"before": before})


class Traced:
    """Parent of frozen dataclasses: a field that is a ``float`` is a traced leaf, every other field is static.

    A float becomes a float32 scalar once, when the value is built, so that it is strongly typed wherever it goes and a
    second value of it never compiles again.
    """

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        jax.tree_util.register_pytree_node(cls, _flatten, lambda static, leaves: _unflatten(cls, static, leaves))

    def __post_init__(self) -> None:
        for name in traced_names(type(self)):
            value = getattr(self, name)
            if isinstance(value, int | float):
                object.__setattr__(self, name, np.float32(value))


@cache
def traced_names(cls: type) -> tuple[str, ...]:
    """Names of the fields of a dataclass that are traced."""
    hints = get_type_hints(cls)
    return tuple(field.name for field in dataclasses.fields(cls) if hints[field.name] is float)


def _flatten(value: Any) -> tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]]:
    traced = traced_names(type(value))
    static = tuple((f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.name not in traced)
    return tuple(getattr(value, name) for name in traced), static


def _unflatten(cls: type, static: tuple[tuple[str, Any], ...], leaves: tuple[Any, ...]) -> Any:
    # Not through __init__: inside a transformation the leaves are tracers or placeholders, not numbers to convert.
    value = object.__new__(cls)
    for name, leaf in (*static, *zip(traced_names(cls), leaves, strict=True)):
        object.__setattr__(value, name, leaf)
    return value
