"""The phases of a run, for the seeds of a pack side by side.

Offline: updates on the dataset alone. Online: each seed acts in an environment of its own, appends what it saw, and
takes one update for each environment step. A pack's seeds run side by side and share the dataset, but nothing that a
seed computes depends on the others: a seed that diverges leaves, the rest go on.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from math import gcd
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmark.planning.plan import Cell
from benchmark.runs import checkpoint
from benchmark.training import trainer
from benchmark.training.build import Shared, Site
from benchmark.training.collect import Collector, WarmUp
from benchmark.training.endings import BaseFailed, DiskTooSmall, Diverged, Stopped
from benchmark.training.evaluate import evaluate, slots_per_seed
from benchmark.training.members import Member
from benchmark.training.online import Online
from benchmark.training.replay import Table
from envs._suite import Pool

DISPATCH = 500
"""Updates of one dispatch, at most: often enough for a prompt stop, seldom enough that the host costs nothing."""
SAVE_SECONDS = 120.0
"""Between two checkpoints, at least; ends of phases and evaluations are always saved."""

Report = Callable[[dict[str, Any]], None]
"""Told what the display shows: phase, step, total, rate, success."""
Stop = Callable[[], str]
"""Whether to pause: nothing, or how the attempt then ends ('stopped', 'requeued')."""


class PackRun:
    """Members of a pack that stand at the same evaluation; ``failed`` lists those that diverged."""

    def __init__(self, site: Site, shared: Shared, members: list[Member], report: Report, stop: Stop):
        self.shared, self.members, self.report, self.stop = shared, members, report, stop
        self.keep = site.keep
        self.settings, self.agent = shared.settings, shared.agent
        self.failed: list[tuple[Cell, str]] = []
        self.evaluated, self.reached, self.saved = -1, -1, time.monotonic()
        self.metrics: trainer.Losses = {}
        self.ready = self.timed = self.paced = False
        environments = shared.suite.environments()
        self.width = slots_per_seed(len(members), self.settings.evaluation_episodes, environments)
        self.first_slot = len(members)
        seeds = [member.cell.seed for member in members]
        # Before training starts, nobody has to ask the policy.
        warm_up = WarmUp(self.settings.warm_up, self.settings.start_training - 1)
        self.collector = Collector(self.agent, seeds, self.width, warm_up)
        self.state = trainer.init(self.agent, seeds)
        self.online = Online(self.agent, self.settings, len(members))
        self._check_disk(site.root)
        for member in members:
            if member.note is None:
                member.records.cut_back(0)
        if members[0].note is not None:
            self._restore()
        self.pool: Pool = shared.suite.pool(shared.task, len(members) * (1 + self.width), site.env_workers)

    def _check_disk(self, root: Path) -> None:
        """Raise DiskTooSmall where the checkpoints, at their largest, would not fit: two kept, each with its rows, and
        one being made."""
        wanted = 3 * sum(leaf.nbytes for leaf in jax.tree.leaves(self.state)) + 2 * self.online.nbytes
        wanted -= sum(checkpoint.size(member.checkpoint) for member in self.members)
        free = shutil.disk_usage(root).free
        if wanted > free:
            raise DiskTooSmall(
                f"the checkpoints of {len(self.members)} seeds take up to {wanted / 1e6:,.1f} MB and {root} has "
                f"{free / 1e6:,.1f} MB left; make room, or give another --out"
            )

    def run(self) -> None:
        """Both phases to the end. Raises Stopped when asked to pause; then everything is saved."""
        try:
            if not self.collector.begun:
                self._offline()
            if self.members and self.settings.online_steps:
                self._online()
            self._finish()
        except jax.errors.JaxRuntimeError as error:
            # What a callback raises arrives as JAX's own words about it.
            if (fault := self.shared.base.fault() if self.shared.base else None) is None:
                raise
            where = f"the base of {self.shared.task.name}"
            raise BaseFailed(f"{where} failed with {type(fault).__name__}: {fault}; mend it, and go on") from error
        finally:
            self.pool.close()

    def _finish(self) -> None:
        for s, member in enumerate(self.members):
            networks = {"parameters": self.state.parameters, "slow": self.state.slow}
            mine = jax.tree.map(lambda leaf, s=s: leaf[s], networks)
            checkpoint.keep_final(member.checkpoint, self.keep, mine)
            member.records.finish(member.final)
            checkpoint.retire(member.checkpoint, self.keep)

    def _offline(self) -> None:
        end, step = self.settings.offline_steps, int(self.state.iteration[0])
        while step < end and self.members:
            target = self._next_boundary(step, end)
            started, table = time.monotonic(), self.shared.table(step + 1)
            count = np.full(len(self.members), target - step)
            self._train(table, trainer.Due(0 * count, count, 0 * count, count))
            self._keep_finite(target)
            rate = (target - step) * len(self.members) / (time.monotonic() - started)
            step = target
            self._boundary("offline", step, 0, end, rate)

    def _online(self) -> None:
        settings, before = self.settings, self.settings.offline_steps
        if self.collector.begun:
            self.online.take(self.collector.resume(self.pool, self.online.table))
        else:
            # Iterations are counted from 1 within each phase.
            self.state = self.state._replace(iteration=jnp.zeros_like(self.state.iteration))
            self.collector.start(self.pool)
        rotations = before // settings.rotate_every * settings.rotate_every
        # From boundary to boundary: a decision, which is executed whole, may step past several of them.
        step = max(0, self.reached - before)
        while self.members and step < settings.online_steps:
            target = self._next_boundary(step, settings.online_steps)
            rate = self._train_online(self.shared.table(rotations + step + 1), target)
            step = target
            self._boundary("online", step, before, settings.online_steps, rate)

    def _train_online(self, table: Table, target: int) -> float:
        """Every seed up to ``target`` steps, a chunk at a time; steps of all seeds in a second."""
        started, taken, rate = time.monotonic(), sum(self.collector.steps), 0.0
        while self.members and min(self.collector.steps) < target:
            found, after = self.collector.collect(self.pool, self.state, target), np.asarray(self.collector.steps)
            self.online.append(found.rows)
            each = self.agent.optimiser.updates_per_step
            self._train(table, trainer.due(after - found.steps, after, self.settings.start_training, each))
            if found.later:
                self.online.append(found.later)
            self._keep_finite(self.settings.offline_steps + min(self.collector.steps))
            step, end = min(self.collector.steps, default=target), self.settings.online_steps
            rate = max(0, sum(self.collector.steps) - taken) / (time.monotonic() - started)
            speed = self._speed(rate if self.paced else 0.0, end - step)
            self.report({"phase": "online", "step": step, "total": end, **speed})
            if not self.paced:  # acting was compiled, too
                self.paced, started, taken = True, time.monotonic(), sum(self.collector.steps)
            # At the target itself the boundary comes first, or a resume would pass over it.
            if step < target and (how := self.stop()):
                self._pause(how)
        return rate

    def _train(self, table: Table, due: trainer.Due) -> None:
        """The updates of each seed that are due; metrics are kept where there is none."""
        self.timed = self.ready  # what is compiled first says nothing of the speed
        mapped = trainer.vectorised_here(self.agent)
        self.state, found = trainer.train(self.agent, self.state, table, self.online.table, due, mapped)
        self.metrics = trainer.latest(found, self.metrics or found, due.updates)
        if not self.ready:
            jax.block_until_ready(self.state)
            for member in self.members:
                member.records.ready()
            self.ready = True

    def _speed(self, rate: float, steps: int) -> dict[str, float | None]:
        """What the display says of ``steps`` more steps of every seed; nothing before that can be told."""
        rate = rate if self.timed else 0.0
        return {"rate": rate, "left": steps * len(self.members) / rate if rate else None}

    def _next_boundary(self, step: int, end: int) -> int:
        """The next step at which the host has something to do."""
        stride = gcd(self.settings.log_every, self.settings.evaluate_every)
        stride = max(n for n in range(1, min(stride, DISPATCH) + 1) if stride % n == 0)
        target = min(end, (step // stride + 1) * stride)
        return target if len(self.shared.dataset) == 1 else min(target, self.shared.next_rotation(step))

    def _boundary(self, phase: str, step: int, before: int, end: int, rate: float) -> None:
        """Log, evaluate and save where each is due; ``before`` is what the earlier phase counted."""
        if not self.members:
            return
        settings, ends = self.settings, step == end
        self.reached = before + step
        if step % settings.log_every == 0 or ends:
            watched = trainer.diagnostics(self.agent, self.state, self.shared.current, self.online.table)
            learns = phase == "offline" or step >= settings.start_training
            numbers_of_all = {**(self.metrics if learns else {}), **watched}
            for s, member in enumerate(self.members):
                numbers = {f"{phase}/{name}": float(value[s]) for name, value in numbers_of_all.items()}
                member.records.log(before + step, numbers | {f"{phase}/steps_per_second": rate})
        due = step % settings.evaluate_every == 0 or ends
        if due and self.evaluated < before + step:
            self._evaluate(phase, before + step, ends)
        self.report(
            {"phase": phase, "step": step, "total": end, **self._speed(rate, end - step), **self._success(phase)}
        )
        if due or time.monotonic() - self.saved > SAVE_SECONDS:
            self._save()
        if how := self.stop():
            self._pause(how)

    def _success(self, phase: str) -> dict[str, float]:
        name = f"{phase}_success"
        found = [member.final[name] for member in self.members if name in member.final]
        return {"success": float(np.mean(found))} if found else {}

    def _evaluate(self, phase: str, step: int, ends: bool) -> None:
        found = evaluate(
            self.agent,
            self.state,
            self.pool,
            self.first_slot,
            self.width,
            self.settings.evaluation_episodes,
            step,
            lambda done, total: self.report({"phase": f"{phase} evaluation", "step": done, "total": total}),
        )
        for member, measures in zip(self.members, found, strict=True):
            member.records.log(step, {f"evaluation/{name}": value for name, value in measures.items()})
            if ends:
                member.final |= {f"{phase}_{name}": value for name, value in measures.items()}
        self.evaluated = step

    def _keep_finite(self, step: int) -> None:
        """Let go of the seeds whose parameters are no longer numbers, before they act or are evaluated."""
        finite = np.asarray(trainer.finite(self.state))
        for s in np.flatnonzero(~finite):
            member = self.members[s]
            text = (
                f"seed {member.cell.seed} of {member.cell.method} on {member.cell.task} diverged by step {step} "
                f"(its loss was {float(self.metrics['loss'][s])}); lower its learning_rate, or see its metrics.jsonl"
            )
            member.records.log(step, {"loss": float("nan")})
            member.records.fail(Diverged.__name__, text)
            self.failed.append((member.cell, text))
        kept = np.flatnonzero(finite)
        if len(kept) < len(finite):
            self.members = [self.members[s] for s in kept]
            self.collector.keep(kept.tolist())
            self.online.keep(kept.tolist())
            self.state, self.metrics = jax.tree.map(lambda leaf: leaf[kept], (self.state, self.metrics))

    def _pause(self, how: str) -> None:
        self._save()
        for member in self.members:
            member.records.stop(how)
        raise Stopped(how)

    def _save(self) -> None:
        """A checkpoint of every member: all that its configuration and the data do not determine."""
        save = uuid.uuid4().hex
        offsets = [member.records.safe_offset() for member in self.members]
        for s, (member, offset) in enumerate(zip(self.members, offsets, strict=True)):
            state, rows = jax.tree.map(lambda leaf, s=s: leaf[s], self.state), self.online.of(s)
            note = {
                "save": save,
                "offset": offset,
                "reached": self.reached,
                "metrics": {name: float(value[s]) for name, value in self.metrics.items()},
                "evaluated": self.evaluated,
                "final": member.final,
                "collector": self.collector.note(s),
            }
            member.save(state, rows, self.collector.arrays(s), note)
        for member, offset in zip(self.members, offsets, strict=True):
            member.records.mark_saved(offset)
        self.saved = time.monotonic()

    def _restore(self) -> None:
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), self.state)
        loaded = [member.load(like) for member in self.members]
        for s, member in enumerate(self.members):
            assert member.note is not None
            member.records.cut_back(member.note["offset"])
            member.records.mark_saved(member.note["offset"])
            member.final = member.note["final"]
            self.collector.restore(s, member.note["collector"], loaded[s].open)
            self.evaluated, self.reached = member.note["evaluated"], member.note["reached"]
        notes = [member.note["metrics"] for member in self.members if member.note]
        self.metrics = {name: jnp.asarray([note[name] for note in notes], jnp.float32) for name in notes[0]}
        self.state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[each.state for each in loaded])
        self.online.refill([(each.past, each.last) for each in loaded], self.collector.steps)
