"""One episode of maze data: an ant is walked from goal to goal along the maze's shortest paths.

OGBench's own maze data come from a controller that is not published; these come from `_controller`, in the same
environment, schema and procedure. They are not the official data.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from envs.ogbench._controller import published
from envs.ogbench._environments import make_for_navigation, reset, seed_global_numpy
from envs.ogbench._files import as_columns
from envs.ogbench._tasks import Domain

NOISE = 0.2
"""Standard deviation of what is added to each entry of an action (OGBench's collection scripts)."""
Cell = tuple[int, int]


class MazeRecorder:
    """Records episodes of an ant maze, each determined by (seed, split, number) alone.

    ``navigate`` is OGBench's procedure: in the goal's cell the shortest-path oracle names the cell's centre, so that
    the ant may hover there without touching a goal that lies aside. ``reach`` walks to the goal itself in that cell.
    """

    def __init__(self, domain: Domain, procedure: str, seed: int) -> None:
        self._domain, self._seed = domain, seed
        self._straight = procedure == "reach"
        self._env = make_for_navigation(domain)
        self._maze: Any = self._env.unwrapped
        self._free = free_cells(self._maze.maze_map)
        self._goals = [cell for cell in self._free if is_vertex(self._maze.maze_map, cell)]

    def episode(self, split: str, number: int) -> dict[str, np.ndarray]:
        """The file columns of an episode, (rows, width) each."""
        sequence = np.random.SeedSequence([self._seed, zlib.crc32(split.encode()), number])
        for_reset, for_goals, ours = (int(word) for word in sequence.generate_state(3))
        random = np.random.default_rng(ours)
        cells = {"init_ij": self._drawn(self._free, random), "goal_ij": self._drawn(self._goals, random)}
        observation, _ = reset(self._env, for_reset, {"task_info": cells})
        seed_global_numpy(for_goals)  # a maze draws the noise of its goals from there
        rows: list[dict[str, Any]] = []
        truncated = False
        while not truncated:
            action = self._action(random)
            following, _, _, truncated, info = self._env.step(action)
            state = {name: info[f"prev_{name}"] for name in self._domain.columns}
            rows.append({"observations": observation, "actions": action, "terminals": truncated, **state})
            observation = following
            if info["success"]:
                cell = self._drawn(self._goals, random)
                self._maze.set_goal(goal_xy=self._maze.add_noise(self._maze.ij_to_xy(cell)))
        return as_columns(rows)

    def _action(self, random: np.random.Generator) -> np.ndarray:
        state = self._maze.data
        walked = published().act(state.qpos, state.qvel, self._direction(state.qpos[:2]))
        return np.clip(walked + random.normal(0.0, NOISE, len(walked)), -1.0, 1.0)

    def _direction(self, place: np.ndarray) -> np.ndarray:
        """Along the shortest path, or straight to the goal in its own cell."""
        goal = np.asarray(self._maze.cur_goal_xy)
        if self._straight and self._maze.xy_to_ij(place) == self._maze.xy_to_ij(goal):
            return _unit(goal - place)
        return along_the_path(self._maze, place)

    @staticmethod
    def _drawn(cells: list[Cell], random: np.random.Generator) -> Cell:
        return cells[random.integers(len(cells))]


def along_the_path(maze: Any, place: np.ndarray) -> np.ndarray:
    """Unit vector from ``place`` (2,) towards the next cell of the shortest path to the maze's goal."""
    return _unit(maze.get_oracle_subgoal(place, np.asarray(maze.cur_goal_xy))[0] - place)


def _unit(way: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(way)
    return way / length if length > 0 else np.array([1.0, 0.0])


def free_cells(maze: np.ndarray) -> list[Cell]:
    """(row, column) of every cell that is no wall."""
    return [(int(i), int(j)) for i, j in np.argwhere(maze == 0)]


def is_vertex(maze: np.ndarray, cell: Cell) -> bool:
    """Whether a free cell is a corner, a crossing or a dead end: anything but a straight corridor."""
    i, j = cell
    up, down, left, right = (maze[i + a, j + b] == 0 for a, b in ((-1, 0), (1, 0), (0, -1), (0, 1)))
    return not ((up and down and not left and not right) or (left and right and not up and not down))
