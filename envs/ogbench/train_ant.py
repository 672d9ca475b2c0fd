"""Trains the ant's controller from nothing: ``python -m envs.ogbench.train_ant --out controller.npz``.

Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905) on the open floor: walk along a direction that changes now
and then. The controller sees neither direction nor heading (`_controller`), and the mirror image of every transition is
stored beside it. Ten minutes on one core reach the goals of the mazes; half an hour walks faster.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Interval

from envs._suite import SuiteError
from envs.ogbench._ants import ACTION_PRICE, COPIES, MOTION, Ants, Replay
from envs.ogbench._commands import Meter, told
from envs.ogbench._controller import ACTION, OBSERVATION, Controller
from envs.ogbench._files import DAMAGE
from envs.ogbench._sac import explore, fresh, normaliser_of, update

Array = jax.Array
STEPS_A_ROUND, UPDATES_A_ROUND, BATCH = 4, 32, 256
"""Steps of each ant, and updates of so many rows, in turn."""
UNIFORM_STEPS = 5_000
"""Steps of random actions before the first update."""
NORMALISED_UNTIL, NORMALISER_ROWS = 60_000, 5_000
"""Environment step after which the normaliser is frozen; rows it is taken from."""
SAVE_SECONDS = 120.0


@dataclass(frozen=True)
class Arguments:
    """Train, evaluate in the mazes and write a controller; interrupt and repeat the command at will."""

    out: Path
    """file for the controller; beside it lies what a resume needs, saved every two minutes"""
    steps: Annotated[int, Ge(1)] = 230_000
    """environment steps: 90000 is about ten minutes on one core"""
    seed: Annotated[int, Interval(ge=0, lt=2**32)] = 0
    runs: Annotated[int, Ge(0)] = 2
    """evaluations of each task of the large maze at the end; 0 for none"""


class Training:
    """A training run from its start or its checkpoint."""

    def __init__(self, arguments: Arguments) -> None:
        self.out = arguments.out
        self.random = np.random.default_rng(arguments.seed)
        self.ants, self.replay = Ants(self.random), Replay()
        self.learner = fresh(arguments.seed)
        self.normalise = normaliser_of(np.zeros((1, OBSERVATION)))
        self.steps, self.speed = 0, 0.0
        if self.checkpoint.exists():
            self._restore(arguments.seed)

    @property
    def checkpoint(self) -> Path:
        return self.out.with_suffix(".checkpoint.npz")

    def round(self) -> None:
        """A few steps of every ant, then a few updates."""
        uniform = self.steps < UNIFORM_STEPS
        for _ in range(STEPS_A_ROUND):
            if uniform:
                actions = self.random.uniform(-1, 1, (COPIES, ACTION))
            else:
                seen = jnp.asarray(self.ants.observations(), jnp.float32)
                chosen, key = explore(self.learner.parameters["actor"], seen, self.normalise, self.learner.key)
                self.learner, actions = self.learner._replace(key=key), np.asarray(chosen, np.float64)
            rows = self.ants.step(actions)
            self.replay.add(rows)
            way = rows.reward + ACTION_PRICE * np.sum(rows.action**2, axis=1)
            self.speed += 0.002 * (float(way.mean()) - self.speed)
            self.steps += COPIES
        if self.steps >= UNIFORM_STEPS:
            if self.steps < NORMALISED_UNTIL:
                at = self.random.integers(self.replay.size, size=NORMALISER_ROWS)
                self.normalise = normaliser_of(self.replay.rows.observation[at])
            self.learner = update(
                self.learner, self.replay.batches(self.random, UPDATES_A_ROUND, BATCH), self.normalise
            )

    def save(self, seed: int) -> None:
        """Everything that a resume needs, as plain arrays, whole or not at all."""
        leaves = jax.tree.leaves((self.learner, self.normalise))
        state = {
            "steps": self.steps,
            "speed": self.speed,
            "seed": seed,
            "size": self.replay.size,
            "place": self.replay.place,
            "random": json.dumps(self.random.bit_generator.state),
            "age": self.ants.age,
            "directions": self.ants.directions,
            **{f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)},
            **{f"row{i}": column[: self.replay.size] for i, column in enumerate(self.replay.rows)},
            **{name: np.stack([getattr(data, name) for data in self.ants.data]) for name in MOTION},
        }
        write(self.checkpoint, state)

    def _restore(self, seed: int) -> None:
        try:
            with self.checkpoint.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                state = dict(stored)
            if int(state["seed"]) != seed:
                raise SuiteError(f"{self.checkpoint} is of seed {state['seed']}: delete it, or write to another --out.")
            self._take(state)
        except (OSError, *DAMAGE) as error:
            raise SuiteError(f"{self.checkpoint} is damaged: delete it to start anew.") from error

    def _take(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `save` wrote."""
        structure = jax.tree.structure((self.learner, self.normalise))
        leaves = [jnp.asarray(state[f"leaf{i}"]) for i in range(structure.num_leaves)]
        self.learner, self.normalise = jax.tree.unflatten(structure, leaves)
        self.steps, self.speed = int(state["steps"]), float(state["speed"])
        self.replay.size, self.replay.place = int(state["size"]), int(state["place"])
        for i, column in enumerate(self.replay.rows):
            column[: self.replay.size] = state[f"row{i}"]
        self.random.bit_generator.state = json.loads(str(state["random"]))
        self.ants.age, self.ants.directions = state["age"], state["directions"]
        for ant, data in enumerate(self.ants.data):
            for name in MOTION:
                getattr(data, name)[:] = state[name][ant]

    def controller(self) -> dict[str, np.ndarray]:
        """The deterministic policy as plain arrays."""
        actor = self.learner.parameters["actor"]
        arrays = {f"w{i}": np.asarray(layer["w"]) for i, layer in enumerate(actor)}
        arrays |= {f"b{i}": np.asarray(layer["b"]) for i, layer in enumerate(actor)}
        arrays["w2"], arrays["b2"] = arrays["w2"][:, :ACTION], arrays["b2"][:ACTION]
        mean, inverse_spread = map(np.asarray, self.normalise)
        return arrays | {"obs_mean": mean, "obs_istd": inverse_spread}


def write(file: Path, arrays: dict[str, Any]) -> None:
    """An .npz that is there whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    with part.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
    part.replace(file)


def evaluate(controller: Controller, runs: int) -> Iterator[tuple[int, int]]:
    """(task, steps; 0 where the goal was not reached) of ``runs`` walks through each task of the large maze, along the
    shortest path, with a goal at its cell's centre."""
    from envs.ogbench._environments import make, reset
    from envs.ogbench._navigate import NOISE, along_the_path
    from envs.ogbench._tasks import domains

    for number, task in enumerate(domains()["antmaze-large-navigate"].tasks, start=1):
        env = make(task)
        maze: Any = env.unwrapped
        for run in range(runs):
            reset(env, run)
            random, reached = np.random.default_rng(run), 0
            for step in range(1, task.horizon + 1):
                way = along_the_path(maze, maze.data.qpos[:2])
                action = controller.act(maze.data.qpos, maze.data.qvel, way) + random.normal(0, NOISE, ACTION)
                _, _, terminated, truncated, _ = env.step(np.clip(action, -1, 1))
                if terminated or truncated:
                    reached = step if terminated else 0
                    break
            yield number, reached
        env.close()


def _trained(training: Training, arguments: Arguments) -> bool:
    """Train to the end, or to the round in which Ctrl-C (or a polite kill) comes; saved either way. True at the end."""
    stop = threading.Event()
    endings = {each: signal.signal(each, lambda *_: stop.set()) for each in (signal.SIGINT, signal.SIGTERM)}
    meter, saved = Meter("steps"), time.monotonic()
    try:
        while training.steps < arguments.steps and not stop.is_set():
            training.round()
            meter.note = f", {training.speed:.2f} per s along the direction"
            meter("training", training.steps, arguments.steps)
            if time.monotonic() - saved > SAVE_SECONDS:
                training.save(arguments.seed)
                saved = time.monotonic()
        training.save(arguments.seed)
    finally:
        for each, before in endings.items():
            signal.signal(each, before)
    return training.steps >= arguments.steps


def run(arguments: Arguments) -> None:
    """Train to ``steps``, write the controller, walk the mazes with it. Raises SuiteError on a checkpoint of another
    run."""
    if arguments.out.suffix != ".npz":
        raise SuiteError(f"--out {arguments.out} must end in .npz.")
    training = Training(arguments)
    if training.steps > arguments.steps:
        raise SuiteError(
            f"{training.checkpoint} has {training.steps} steps already: ask for more --steps, delete it to start anew, "
            "or write to another --out."
        )
    write(arguments.out, training.controller())  # what cannot be written at the end is known at the start
    if not _trained(training, arguments):
        raise KeyboardInterrupt
    write(arguments.out, training.controller())
    print(f"wrote {arguments.out}")
    reached = [(task, steps) for task, steps in evaluate(Controller.load(arguments.out), arguments.runs)]
    for task in sorted({task for task, _ in reached}):
        walks = [steps for each, steps in reached if each == task]
        good = [steps for steps in walks if steps]
        mean = f", {np.mean(good):.0f} steps" if good else ""
        print(f"antmaze-large task {task}: {len(good)} of {len(walks)} walks reached the goal{mean}")


if __name__ == "__main__":
    sys.exit(told(Arguments, run))
