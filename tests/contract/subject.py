"""A method in a tiny problem, and the programs that its checks share: each is compiled once."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import methods
from benchmark.execution.serving import run_pack
from benchmark.planning.plan import build_method, make, value_rule
from benchmark.planning.request import ask
from benchmark.planning.settings import BACKBONES
from benchmark.runs.records import folder_of
from benchmark.training import agents, assembly, trainer
from benchmark.training.build import Site
from benchmark.training.evaluate import evaluate
from benchmark.training.replay import Table, empty_table, offline_table
from envs import load_suite
from methods._contract import Backbone, Batch, Draw, Leaf, Problem, Space

SEEDS = (3, 5)
LENGTH = 20
"""Updates of one dispatch."""
UPDATES = 400
"""After which a method must have learned."""
ROWS = 4


class RowDraw(Draw):
    """What row ``row`` of a batch of ROWS draws, when it is alone."""

    def __init__(self, key: jax.Array, row: int, prefix: str = "") -> None:
        super().__init__(key, prefix)
        self._row = row

    def scope(self, prefix: str) -> RowDraw:
        return RowDraw(self._key, self._row, self._prefix + prefix)

    def _draw(self, sample: Any, name: str, shape: tuple[int, ...], steps: int | None) -> jax.Array:
        together = super()._draw(sample, name, (ROWS, *shape[1:]), steps)
        row = slice(self._row, self._row + 1)
        return together[row] if steps is None else together[:, row]


class Subject:
    """One method on the two-mode bandit, width 16."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.task = load_suite("toy").tasks()["bandit-v0"]
        plan = make(ask("toy", "quick", methods=name, tasks=(self.task.name,)))
        self.configuration = plan.cells[0].configuration
        self.cls = methods.load(name)
        self.method: Any = build_method(self.cls, self.configuration)
        backbone = Backbone(**BACKBONES["reference"], actor_widths=(16, 16), value_widths=(16, 16), heads=3)
        self.problem = Problem(
            observation=Space(tuple(Leaf(*leaf) for leaf in self.task.observation)),
            action_size=self.task.action_size,
            chunk_length=self.task.chunk_length,
            discount=self.task.discount,
            pessimism=self.task.pessimism,
            flow_steps=4,
            backbone=backbone,
        )
        self.rule = value_rule(self.configuration, self.method)
        self.agent = self.agent_of(self.method)

    def agent_of(self, method: Any) -> agents.Agent:
        optimiser = agents.Optimiser(3e-3, 0.02, self.cls.clip_norm, 64)
        return assembly.build(method, self.rule, self.problem, optimiser)

    @cached_property
    def data(self) -> Table:
        return bandit_data(self.problem)

    def online(self, seeds: int) -> Table:
        return jax.tree.map(lambda leaf: jnp.stack([leaf] * seeds), empty_table(1, 1, self.problem))

    def train(self, state: agents.State, agent: agents.Agent | None = None, vectorised: bool = False) -> Any:
        seeds = len(state.iteration)
        state = jax.tree.map(jnp.copy, state)  # it is donated, and the checks use it again
        none, updates = np.zeros(seeds, int), np.full(seeds, LENGTH)
        due = trainer.Due(none, updates, none, updates)
        return trainer.train(agent or self.agent, state, self.data, self.online(seeds), due, vectorised)

    @cached_property
    def fresh(self) -> agents.State:
        return trainer.init(self.agent, SEEDS)

    @cached_property
    def trained(self) -> agents.State:
        return self.train(self.fresh)[0]

    @cached_property
    def batch(self) -> Batch:
        """A batch of ROWS rows, one of which crosses the end of its trajectory."""
        rng = np.random.default_rng(0)
        obs, chunk, reward, next_obs = (
            jnp.asarray(rng.normal(size=shape), jnp.float32)
            for shape in (
                (ROWS, *self.task.observation[0].shape),
                (ROWS, self.problem.D),
                (ROWS,),
                (ROWS, *self.task.observation[0].shape),
            )
        )
        valid = jnp.asarray([1.0, 0.0, 1.0, 1.0])
        return Batch(obs, jnp.clip(chunk, -1, 1), reward, jnp.asarray([1.0, 1.0, 0.0, 1.0]), valid, next_obs)

    @cached_property
    def act(self) -> Any:
        """(method, obs, draw's key, row or None) -> chunks; compiled for each batch size."""
        parameters, slow = self.first.parameters, self.first.slow

        def act(method: Any, obs: jax.Array, key: jax.Array, row: int | None) -> jax.Array:
            draw = Draw(key) if row is None else RowDraw(key, row)
            agent = replace(self.agent, method=method)
            return agents.act(agent, parameters, slow, obs, draw)[0]

        return jax.jit(act, static_argnames="row")

    @cached_property
    def update(self) -> Any:
        """(state, batch) -> the state after one update of the first seed, its metrics, and the gradient that the terms
        beside the value rule's, and beside those that train the critic by name, have in each network."""
        draw = Draw(jax.random.PRNGKey(7))

        def update(state: agents.State, batch: Batch) -> Any:
            def extraction(live: agents.Trees) -> Any:
                views = agents.make_views(self.agent, live, live, state.slow)
                found = self.method.base_loss(views, batch, draw) | self.method.losses(views, batch, draw)
                return sum((found[name] for name in found.keys() - set(self.cls.critic_terms)), jnp.zeros(()))

            return *agents.update(self.agent, state, batch, draw), jax.grad(extraction)(state.parameters)

        return jax.jit(update)

    @cached_property
    def first(self) -> agents.State:
        """The first seed, trained."""
        return jax.tree.map(lambda leaf: leaf[0], self.trained)

    def learned(self) -> float:
        """Success on the bandit after UPDATES updates, over 2 seeds x 100 episodes."""
        if self.configuration["settings"]["offline_steps"] == 0:
            return self.learned_online()
        state = self.fresh
        for _ in range(UPDATES // LENGTH):
            state, _ = self.train(state)
        width = 25
        pool = load_suite("toy").pool(self.task, len(SEEDS) * width, 0)
        found = evaluate(self.agent, state, pool, 0, width, 100, 0, lambda done, total: None)
        return float(np.mean([each["success"] for each in found]))

    def learned_online(self) -> float:
        """The same for a method without an offline phase: a whole run of it."""
        sizes = {"online_steps": UPDATES + 50, "start_training": 51, "evaluation_episodes": 100}
        sizes |= {"actor_widths": [16, 16], "value_widths": [16, 16], "flow_steps": 4}
        words = tuple(f"{self.name}.{key}={value}" for key, value in sizes.items())
        request = ask("toy", "quick", methods=self.name, tasks=(self.task.name,), seeds="3,5", settings=words)
        (pack,) = make(request).packs
        with TemporaryDirectory() as folder:
            site = Site(Path(folder), Path(folder), 0, {"versions": {}})
            assert run_pack(site, pack.cells, lambda event: None, lambda: "").failed == []
            done = [json.loads((folder_of(Path(folder), cell.key) / "done.json").read_text()) for cell in pack.cells]
        return float(np.mean([each["final"]["online_success"] for each in done]))


@cache
def bandit_data(problem: Problem) -> Table:
    task = load_suite("toy").tasks()["bandit-v0"]
    identity = load_suite("toy").identity(task, "generated", {"episodes": 200})
    return offline_table(load_suite("toy").load(task, identity, Path())[0], problem)


@cache
def subject(name: str) -> Subject:
    return Subject(name)


@cache
def success(name: str) -> float:
    return subject(name).learned()
