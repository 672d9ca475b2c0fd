"""Value learning, an axis of its own: how the critic learns, whatever the method does with it.

A rule brings its own networks and losses, says which networks are averaged, and which optional fields of a batch it
``needs``. The ``next_act(views, obs)`` that it is given is the method's own sampler, already best-of-n and held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from methods._critic import backed_up, pessimistic_value, td_loss
from methods._given import Batch, ContractError, Draw, Problem, Views
from methods._nets import value
from methods._ranges import Fraction
from methods._traced import Traced

Array = jax.Array
NextAct = Callable[[Views, Any], Array]


@dataclass(frozen=True)
class TD(Traced):
    """y = R + gamma^H m Qbar'(s', a') with a' from the method's own sampler and the averaged, pessimistic critic."""

    averaged: ClassVar[tuple[str, ...]] = ("critic",)
    needs: ClassVar[tuple[str, ...]] = ()

    def networks(self, problem: Problem) -> dict[str, Any]:
        return {}

    def losses(self, views: Views, batch: Batch, next_act: NextAct, draw: Draw) -> dict[str, Array]:
        value_at = pessimistic_value(views.slow.critic.at(batch.next_obs), views.problem)
        target = backed_up(views.problem, batch, value_at(next_act(views, batch.next_obs)))
        return {"critic_loss": td_loss(views, batch, target)}


@dataclass(frozen=True)
class IQL(Traced):
    """Implicit Q-learning (Kostrikov et al. 2021, arXiv 2110.06169) over chunks: V by expectile regression.

    u = Qbar'(s, a) - V(s), L_V = E_b[|kappa - 1{u < 0}| u^2] (not weighted by ``valid``, as released by Li & Levine
    2026), and y = R + gamma^H m V(s') with the trained V, held.
    """

    expectile: Fraction

    averaged: ClassVar[tuple[str, ...]] = ("critic",)
    needs: ClassVar[tuple[str, ...]] = ()

    def networks(self, problem: Problem) -> dict[str, Any]:
        return {"value": value(problem)}

    def losses(self, views: Views, batch: Batch, next_act: NextAct, draw: Draw) -> dict[str, Array]:
        better = pessimistic_value(views.slow.critic.at(batch.obs), views.problem)(batch.chunk)
        surprise = better - views.live.value.at(batch.obs)()
        value_loss = jnp.mean(jnp.abs(self.expectile - (surprise < 0)) * jnp.square(surprise))
        target = backed_up(views.problem, batch, views.held.value.at(batch.next_obs)())
        return {"value_loss": value_loss, "critic_loss": td_loss(views, batch, target)}


@dataclass(frozen=True)
class SARSA(Traced):
    """y = R + gamma^H m Qbar'(s', a') with the chunk that was executed at s': nobody is asked for an action there.

    A row counts where its next chunk lies wholly in the same trajectory, or nothing is backed up (m = 0). QPILOTS
    (arXiv 2606.14801), Appendix C, on LIBERO.
    """

    averaged: ClassVar[tuple[str, ...]] = ("critic",)
    needs: ClassVar[tuple[str, ...]] = ("next_chunk", "next_chunk_valid")

    def networks(self, problem: Problem) -> dict[str, Any]:
        return {}

    def losses(self, views: Views, batch: Batch, next_act: NextAct, draw: Draw) -> dict[str, Array]:
        value_at = pessimistic_value(views.slow.critic.at(batch.next_obs), views.problem)
        target = backed_up(views.problem, batch, value_at(batch.next_chunk))
        valid = batch.valid * jnp.where(batch.mask == 0.0, 1.0, batch.next_chunk_valid)
        return {"critic_loss": td_loss(views, batch, target, valid)}


@dataclass(frozen=True)
class MC(Traced):
    """y = the discounted return from here to the end of the trajectory, Monte Carlo: nothing is backed up.

    It ends at the first mask of 0; where the trajectory ends without one, the last reward goes on for ever. A row whose
    trajectory is not over yet has none, and does not count.
    """

    averaged: ClassVar[tuple[str, ...]] = ("critic",)
    needs: ClassVar[tuple[str, ...]] = ("return_to_go",)

    def networks(self, problem: Problem) -> dict[str, Any]:
        return {}

    def losses(self, views: Views, batch: Batch, next_act: NextAct, draw: Draw) -> dict[str, Array]:
        if views.problem.discount == 1.0:
            raise ContractError("with a discount of 1 a reward that goes on for ever has no sum; lower the discount")
        known = jnp.isfinite(batch.return_to_go)
        target = jnp.where(known, batch.return_to_go, 0.0)
        return {"critic_loss": td_loss(views, batch, target, batch.valid * known)}


RULES: dict[str, type] = {"td": TD, "iql": IQL, "sarsa": SARSA, "mc": MC}
"""What ``--value`` can name."""
