"""CGQL-L: classifier guidance with a critic of noisy actions, fitted by the linear-exponential loss.

Reference: Li & Levine 2026 (arXiv 2601.14234), CGQL-LINEX.
Differs from the paper: the loss jumps where the linear branch begins, in value and in slope, as released.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from methods.cgql_m import CgqlM

LARGEST = 5.0
"""Where the exponential gives way to the straight line."""


@dataclass(frozen=True)
class CgqlL(CgqlM):
    """The expectation of exp(tau Q) decides at noisy actions, in place of the expectation of Q."""

    def discrepancy(self, clean: jax.Array, noisy: jax.Array) -> jax.Array:
        gap = self.inverse_temperature * (clean - noisy)
        # The bound inside the exponential changes nothing there; without it the branch not taken gives NaN gradients.
        exponential = jnp.exp(jnp.minimum(gap, LARGEST)) + self.inverse_temperature * noisy
        return jnp.where(gap > LARGEST, gap, exponential)
