"""State and one update: losses -> gradient -> clip -> Adam -> averages; and the one place for jit, scan and seeds.

It alone owns parameters, the optimiser and the averaged copies, and knows no method by name. Averages move from the
parameters BEFORE the step, as in the reference implementation (Li & Levine 2026, arXiv 2601.14234), so that after the
very first update they still equal the initial parameters.

Every array of a `State` has a leading seed axis. On accelerators the seeds are mapped (vmap); on a CPU, where a batched
matrix product gains nothing, they run one after the other in one program. Results agree to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmark.replay import Table, Transition, append, sample
from methods._contract import Batch, Copy, Draw, Losses, Method, Problem, ValueRule, Views, named_key
from methods._critic import best_of
from methods._nets import Network
from methods._traced import constant

Array = jax.Array
Trees = dict[str, Any]
"""Parameters of each network by its name."""


class ContractError(ValueError):
    """A method or value rule that does not keep the contract."""


@dataclass(frozen=True)
class Optimiser:
    """Adam with one learning rate for all networks; ``clip_norm`` 0 is none; ``target_rate`` of the averages."""

    learning_rate: float
    target_rate: float
    clip_norm: float
    batch_size: int

    def transformation(self) -> optax.GradientTransformation:
        adam = optax.adam(self.learning_rate)
        return optax.chain(optax.clip_by_global_norm(self.clip_norm), adam) if self.clip_norm else adam


@partial(jax.tree_util.register_dataclass, data_fields=["method", "rule"], meta_fields=["problem", "optimiser"])
@dataclass(frozen=True)
class Agent:
    """What is trained: traced hyperparameters of method and value rule; problem and optimiser are static."""

    method: Method
    rule: ValueRule
    problem: Problem
    optimiser: Optimiser

    @property
    def networks(self) -> dict[str, Network]:
        return _merged("network", self.method.networks(self.problem), self.rule.networks(self.problem))

    @property
    def averaged(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.method.averaged, *self.rule.averaged)))


class State(NamedTuple):
    """Everything that an update changes, and a seed's own key; each leaf has a leading seed axis."""

    parameters: Trees
    slow: Trees
    moments: Any
    iteration: Array
    key: Array
    seed_key: Array


def _merged(what: str, *owners: dict[str, Any]) -> dict[str, Any]:
    together: dict[str, Any] = {}
    for each in owners:
        if twice := sorted(together.keys() & each.keys()):
            raise ContractError(
                f"the {what} {twice[0]!r} has two owners; the method and the value rule cannot be joined"
            )
        together |= each
    return together


def build(method: Method, rule: ValueRule, problem: Problem, optimiser: Optimiser) -> Agent:
    """An agent whose parts fit together; raises ContractError where a network or a loss term has two owners."""
    agent = Agent(method, rule, problem, optimiser)
    missing = set(agent.averaged) - set(agent.networks)
    if missing:
        raise ContractError(f"{sorted(missing)[0]!r} is to be averaged and is no network")
    jax.eval_shape(partial(_abstract_losses, agent), jax.ShapeDtypeStruct((2,), jnp.uint32))
    return agent


def _abstract_losses(agent: Agent, key: Array) -> Losses:
    state, problem = _init_one(agent, key), agent.problem
    obs, scalar = jnp.zeros((1, *problem.observation)), jnp.zeros((1,))
    batch = Batch(obs, jnp.zeros((1, problem.D)), scalar, scalar, scalar, obs)
    return losses(agent, state.parameters, state.slow, batch, Draw(key))


def make_views(agent: Agent, live: Trees | None, held: Trees, slow: Trees) -> Views:
    """The three copies; without ``live`` (acting) reading it is an error."""
    networks = agent.networks
    return Views(
        agent.problem,
        live=Copy(networks, live or {}, "{name!r} is read live while acting; read it held or slow"),
        held=Copy(networks, constant(held), "{name!r} has no parameters"),
        slow=Copy(networks, constant(slow), "{name!r} has no slow copy; name it in `averaged`"),
    )


def losses(agent: Agent, live: Trees, slow: Trees, batch: Batch, draw: Draw) -> Losses:
    """All terms by name; the value rule's, the base's and the method's."""
    method, rule = agent.method, agent.rule
    views = make_views(agent, live, live, slow)

    def next_act(views: Views, obs: Any) -> Array:
        return constant(best_of(method.best_of_n, method.next_act)(views, obs, draw.scope("next_")))

    return _merged(
        "loss term",
        rule.losses(views, batch, next_act, draw),
        method.base_loss(views, batch, draw),
        method.losses(views, batch, draw),
    )


def update(agent: Agent, state: State, batch: Batch, draw: Draw) -> tuple[State, Losses]:
    """One step of one seed: state and batch without a seed axis."""

    def total(live: Trees) -> tuple[Array, Losses]:
        terms = losses(agent, live, state.slow, batch, draw)
        return jnp.asarray(sum(terms.values())), terms

    (loss, terms), gradients = jax.value_and_grad(total, has_aux=True)(state.parameters)
    steps, moments = agent.optimiser.transformation().update(gradients, state.moments)
    rate = agent.optimiser.target_rate
    moves = state.iteration % agent.method.average_every == 0
    slow = jax.tree.map(
        lambda before, average: jnp.where(moves, rate * before + (1.0 - rate) * average, average),
        {name: state.parameters[name] for name in state.slow},
        state.slow,
    )
    parameters = optax.apply_updates(state.parameters, steps)
    metrics = {"loss": loss, "gradient_norm": optax.tree.norm(gradients)} | terms
    return state._replace(parameters=parameters, slow=slow, moments=moments), metrics


@jax.jit
def finite(state: State) -> Array:
    """Which seeds (S,) have parameters that are all numbers."""
    leaves = [jnp.isfinite(leaf).reshape(leaf.shape[0], -1).all(axis=1) for leaf in jax.tree.leaves(state.parameters)]
    return jnp.stack(leaves).all(axis=0)


def act(agent: Agent, parameters: Trees, slow: Trees, obs: Any, draw: Draw) -> Array:
    """Chunks (B, D) of one seed."""
    views = make_views(agent, None, parameters, slow)
    return best_of(agent.method.best_of_n, agent.method.act)(views, obs, draw)


def over_seeds(function: Callable[..., Any], vectorised: bool) -> Callable[..., Any]:
    """``function`` over the leading axis of every argument."""
    if vectorised:
        return jax.vmap(function)
    return lambda *mapped: jax.lax.map(lambda each: function(*each), mapped)


def vectorised_here() -> bool:
    """Whether seeds are mapped on this machine's device."""
    return jax.default_backend() != "cpu"


def _init_one(agent: Agent, key: Array) -> State:
    networks = agent.networks
    parameters = {name: net.init(named_key(named_key(key, "init"), name)) for name, net in networks.items()}
    # A copy, because a state whose leaves share a buffer cannot be donated.
    slow = jax.tree.map(jnp.copy, {name: parameters[name] for name in agent.averaged})
    moments = agent.optimiser.transformation().init(parameters)
    return State(parameters, slow, moments, jnp.zeros((), jnp.int32), named_key(key, "train"), key)


# Initialisation runs once: optimising it would cost far more than it takes.
@partial(jax.jit, compiler_options={"xla_backend_optimization_level": "0"})
def _init(agent: Agent, keys: Array) -> State:
    return jax.vmap(partial(_init_one, agent))(keys)


def init(agent: Agent, seeds: Sequence[int]) -> State:
    """Fresh states; a seed's numbers do not depend on the seeds beside it."""
    return _init(agent, jnp.stack([jax.random.PRNGKey(seed) for seed in seeds]))


def _sampled_update(agent: Agent, state: State, offline: Table, online: Table) -> tuple[State, Losses]:
    key, sample_key, draw_key = jax.random.split(state.key, 3)
    problem, size = agent.problem, agent.optimiser.batch_size
    batch = sample(offline, online, sample_key, size, problem.chunk_length, problem.discount)
    return update(agent, state._replace(key=key), batch, Draw(draw_key))


@partial(jax.jit, static_argnames=("length", "vectorised"), donate_argnames="state")
def train_offline(
    agent: Agent, state: State, offline: Table, online: Table, length: int, vectorised: bool
) -> tuple[State, Losses]:
    """``length`` updates of every seed in one dispatch; metrics (S,) are means over them."""

    def seed(state: State, online: Table) -> tuple[State, Losses]:
        def step(state: State, _: None) -> tuple[State, Losses]:
            return _sampled_update(agent, state._replace(iteration=state.iteration + 1), offline, online)

        state, metrics = jax.lax.scan(step, state, None, length)
        return state, jax.tree.map(jnp.mean, metrics)

    return over_seeds(seed, vectorised)(state, online)


@partial(jax.jit, static_argnames=("start_training", "vectorised"), donate_argnames=("state", "online", "metrics"))
def train_online(
    agent: Agent,
    state: State,
    offline: Table,
    online: Table,
    metrics: Losses,
    block: Transition,
    present: Array,
    start_training: int,
    vectorised: bool,
) -> tuple[State, Table, Losses]:
    """Append a chunk's transitions (S, H, ...) one by one, an update after each from ``start_training`` on.

    No action is chosen inside an open-loop chunk, so this is what a loop of one step at a time would do. ``present``
    (S, H) marks the steps that were taken; ``metrics`` (S,) are replaced by those of the last update.
    """

    def seed(state: State, online: Table, metrics: Losses, block: Transition, present: Array) -> Any:
        def taken(carry: tuple[State, Table, Losses], step: Transition) -> tuple[State, Table, Losses]:
            state, online, metrics = carry
            online = append(online, step)
            state = state._replace(iteration=state.iteration + 1)
            state, metrics = jax.lax.cond(
                state.iteration >= start_training,
                lambda state, _: _sampled_update(agent, state, offline, online),
                lambda state, metrics: (state, metrics),
                state,
                metrics,
            )
            return state, online, metrics

        def step(carry: tuple[State, Table, Losses], inputs: tuple[Transition, Array]) -> tuple[Any, None]:
            transition, here = inputs
            return jax.lax.cond(here, taken, lambda carry, _: carry, carry, transition), None

        return jax.lax.scan(step, (state, online, metrics), (block, present))[0]

    return over_seeds(seed, vectorised)(state, online, metrics, block, present)


def no_metrics(agent: Agent, state: State, offline: Table, online: Table) -> Losses:
    """Zeros in the place of metrics, for `train_online` before its first update."""
    shapes = jax.eval_shape(partial(train_offline, length=1, vectorised=True), agent, state, offline, online)[1]
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


@partial(jax.jit, static_argnames="vectorised")
def act_rows(agent: Agent, state: State, obs: Array, counters: Array, vectorised: bool) -> Array:
    """Chunks (S, M, H, A) for observations (S, M, d), each with noise of its own.

    ``counters`` (S, M, n) name the decision: with the seed they decide the noise, so that an action depends on neither
    its neighbours nor the order of the episodes.
    """
    problem = agent.problem

    def row(parameters: Trees, slow: Trees, key: Array, obs: Array, counters: Array) -> Array:
        key = jax.lax.fori_loop(0, counters.shape[0], lambda i, key: jax.random.fold_in(key, counters[i]), key)
        return act(agent, parameters, slow, obs[None], Draw(key))[0]

    def seed(parameters: Trees, slow: Trees, key: Array, obs: Array, counters: Array) -> Array:
        rows = partial(row, parameters, slow, named_key(key, "act"))
        return jax.vmap(rows)(obs, counters)

    chunks = over_seeds(seed, vectorised)(state.parameters, state.slow, state.seed_key, obs, counters)
    return chunks.reshape(*chunks.shape[:2], problem.chunk_length, problem.action_size)


def diagnostics(agent: Agent, state: State, offline: Table, online: Table) -> Losses:
    """The method's diagnostics (S,) on a batch of their own; changes nothing. Most methods have none."""
    if type(agent.method).diagnostics is Method.diagnostics:
        return {}
    return _diagnostics(agent, state, offline, online)


@jax.jit
def _diagnostics(agent: Agent, state: State, offline: Table, online: Table) -> Losses:

    def seed(state: State, online: Table) -> Losses:
        sample_key, draw_key = jax.random.split(named_key(state.key, "diagnostics"))
        problem, size = agent.problem, agent.optimiser.batch_size
        batch = sample(offline, online, sample_key, size, problem.chunk_length, problem.discount)
        views = make_views(agent, state.parameters, state.parameters, state.slow)
        return agent.method.diagnostics(views, batch, Draw(draw_key))

    return over_seeds(seed, vectorised=False)(state, online)
