"""Environments in slots, in this process (`Slots`) or spread over worker processes (`Processes`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from envs._suite import Start, Steps, SuiteError, Task
from envs.ogbench._environments import Environment, make_several, reset
from envs.ogbench._measures import Control, Episode, RandomPresses
from envs.ogbench._processes import Answer, Worker
from envs.ogbench._relabel import stored_rewards
from envs.ogbench._tasks import domains


class Slots:
    """The slots of one process. Not safe to use from two threads."""

    def __init__(self, task: Task, slots: Iterable[int]) -> None:
        numbers = list(slots)
        self._task = task
        self._wanted = domains()[task.domain].measures
        self._environments: dict[int, Environment] = dict(zip(numbers, make_several(task, len(numbers)), strict=True))
        self._episodes: dict[int, Episode] = {}
        self._control: Control | None = None

    def reset(self, starts: Mapping[int, Start]) -> dict[int, np.ndarray]:
        """See `envs._suite.Pool.reset`."""
        first = {}
        for slot, start in starts.items():
            env = self._environment(slot)
            observation, _ = reset(env, start.seed)
            if "presses" in self._wanted and self._control is None:
                puzzle = env.unwrapped
                self._control = RandomPresses(puzzle._cur_button_states, puzzle._target_button_states, puzzle._num_cols)
            self._episodes[slot] = Episode(self._wanted, self._control)
            first[slot] = observation.astype(np.float32)
        return first

    def step(self, chunks: Mapping[int, np.ndarray]) -> dict[int, Steps]:
        """See `envs._suite.Pool.step`; nothing moves if any chunk of this process is unusable."""
        for slot, chunk in chunks.items():
            self._check(slot, chunk)
        return {slot: self._run(slot, chunk) for slot, chunk in chunks.items()}

    def close(self) -> None:
        """Release the environments."""
        for env in self._environments.values():
            env.close()
        self._environments.clear()

    def _environment(self, slot: int) -> Environment:
        if slot not in self._environments:
            raise SuiteError(f"the pool of {self._task.name} has no open slot {slot}: use one that it was made with.")
        return self._environments[slot]

    def _check(self, slot: int, chunk: np.ndarray) -> None:
        self._environment(slot)
        if slot not in self._episodes:
            raise SuiteError(f"slot {slot} of {self._task.name} has no running episode: reset it before stepping it.")
        if chunk.ndim != 2 or not len(chunk) or chunk.shape[1] != self._task.action_size:
            raise SuiteError(
                f"actions of shape {chunk.shape} do not fit {self._task.name}: give (steps, {self._task.action_size})."
            )
        if not np.isfinite(chunk).all():
            raise SuiteError(
                f"an action for {self._task.name} is not finite: the policy diverged, so lower its learning rate."
            )

    def _run(self, slot: int, chunk: np.ndarray) -> Steps:
        env, episode = self._environments[slot], self._episodes[slot]
        observations, rewards, ends, measures = [], [], [], None
        for action in np.clip(chunk, -1.0, 1.0):  # the package clips nothing: a larger action would move further
            observation, reward, terminated, truncated, info = env.step(action)
            episode.add(float(reward), info)
            observations.append(observation)
            rewards.append(reward)
            ends.append((bool(terminated), bool(truncated)))
            if terminated or truncated:
                measures = self._episodes.pop(slot).measures(info)
                break
        return Steps(
            observations=np.array(observations, np.float32),
            rewards=stored_rewards(self._task, np.array(rewards, np.float32)),
            terminated=np.array([terminated for terminated, _ in ends]),
            truncated=np.array([truncated for _, truncated in ends]),
            measures=measures,
        )


class Processes:
    """Slots spread evenly over worker processes; each call sends one message to each worker it concerns."""

    def __init__(self, task: Task, slots: int, workers: int) -> None:
        count = min(workers, slots)
        self._workers = [
            Worker(f"with environments of {task.name}", _answer, task, range(i, slots, count)) for i in range(count)
        ]

    def reset(self, starts: Mapping[int, Start]) -> dict[int, np.ndarray]:
        """See `envs._suite.Pool.reset`."""
        return self._ask("reset", starts)

    def step(self, chunks: Mapping[int, np.ndarray]) -> dict[int, Steps]:
        """See `envs._suite.Pool.step`; nothing moves in a worker of which any chunk is unusable."""
        return self._ask("step", chunks)

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def _ask(self, what: str, slots: Mapping[int, Any]) -> dict[int, Any]:
        if not self._workers:
            raise SuiteError("the pool is closed: make a new one.")
        parts: dict[int, dict[int, Any]] = {}
        for slot, value in slots.items():
            parts.setdefault(slot % len(self._workers), {})[slot] = value
        for number, part in parts.items():
            self._workers[number].send((what, part))
        answers, fault = {}, None
        for number in parts:  # every answer is taken, or a later call would find this one's
            try:
                answers.update(self._workers[number].receive())
            except SuiteError as error:
                fault = error
        if fault is not None:
            raise fault
        return {slot: answers[slot] for slot in slots}


def _answer(task: Task, slots: Iterable[int]) -> Answer:
    """Runs in a worker."""
    pool = Slots(task, slots)

    def answer(message: tuple[str, Mapping[int, Any]]) -> dict[int, Any]:
        what, values = message
        return pool.reset(values) if what == "reset" else pool.step(values)

    return answer
