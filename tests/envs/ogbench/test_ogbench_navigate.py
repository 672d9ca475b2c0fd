"""Maze data: an ant that walks to its goals, in the official schema, by its numbers alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from envs.ogbench._controller import published
from envs.ogbench._navigate import MazeRecorder, free_cells, is_vertex
from envs.ogbench._tasks import Domain, domains

MAZE = np.array(
    [
        [1, 1, 1, 1, 1],
        [1, 0, 0, 0, 1],
        [1, 1, 1, 0, 1],
        [1, 0, 0, 0, 1],
        [1, 1, 1, 1, 1],
    ]
)


def test_vertices_are_all_but_straight_corridors():
    assert len(free_cells(MAZE)) == 7
    assert [cell for cell in free_cells(MAZE) if is_vertex(MAZE, cell)] == [(1, 1), (1, 3), (3, 1), (3, 3)]
    crossing = MAZE.copy()
    crossing[2, 2] = 0
    assert {(1, 2), (2, 2), (2, 3), (3, 2)} <= {cell for cell in free_cells(crossing) if is_vertex(crossing, cell)}


def short(rows: int) -> Domain:
    return dataclasses.replace(domains()["antmaze-large-navigate"], rows=rows)


@pytest.fixture(scope="module")
def recorder() -> MazeRecorder:
    return MazeRecorder(short(400), "navigate", 0)


def test_an_episode_depends_on_its_numbers_alone(recorder: MazeRecorder):
    first = recorder.episode("train", 0)
    others = [recorder.episode("train", 1), recorder.episode("val", 0)]
    again = MazeRecorder(short(400), "navigate", 0).episode("train", 0)
    for name, values in first.items():
        np.testing.assert_array_equal(again[name], values)
    for other in others:
        assert not np.array_equal(other["observations"], first["observations"])
    assert {name: (values.shape, values.dtype.name) for name, values in first.items()} == {
        "observations": ((400, 29), "float32"),
        "actions": ((400, 8), "float32"),
        "terminals": ((400,), "bool"),
        "qpos": ((400, 15), "float32"),
        "qvel": ((400, 14), "float32"),
    }
    np.testing.assert_array_equal(first["terminals"], np.arange(400) == 399)
    np.testing.assert_array_equal(first["observations"], np.concatenate([first["qpos"], first["qvel"]], axis=1))
    assert np.abs(first["actions"]).max() == 1.0


def test_the_ant_walks(recorder: MazeRecorder):
    """About 0.2 in a step, on free cells only, upright."""
    columns = recorder.episode("train", 2)
    place = columns["qpos"][:, :2]
    assert 0.12 < np.linalg.norm(np.diff(place, axis=0), axis=1).mean() < 0.26
    cells = np.floor((place[:, ::-1] + 6.0) / 4.0).astype(int)
    maze = recorder._maze.maze_map
    assert (maze[cells[:, 0], cells[:, 1]] == 0).all()
    assert (columns["qpos"][:, 2] > 0.2).all()


def test_actions_are_the_controllers_with_noise(monkeypatch: pytest.MonkeyPatch):
    """Of a standard deviation of 0.2, where nothing is clipped."""
    recorder, direction = MazeRecorder(short(300), "navigate", 0), np.array([0.6, 0.8])
    monkeypatch.setattr(recorder, "_direction", lambda place: direction)
    columns = recorder.episode("train", 0)
    states = zip(columns["qpos"], columns["qvel"], strict=True)
    meant = np.stack([published().act(qpos, qvel, direction) for qpos, qvel in states])
    noise = (columns["actions"] - meant)[np.abs(meant) < 0.2]
    assert len(noise) > 300
    assert noise.std() == pytest.approx(0.2, rel=0.1)
    assert abs(noise.mean()) < 0.03


@pytest.mark.slow
def test_reaching_walks_to_the_goal_itself():
    """In the goal's cell `navigate` hovers at the centre; `reach` touches a goal that lies aside, and goes on."""
    goals = {}
    for procedure in ("navigate", "reach"):
        recorder = MazeRecorder(short(1001), procedure, 0)
        before = recorder._maze.set_goal
        counted: list[object] = []

        def counting(before: Any = before, counted: list[object] = counted, **goal: Any) -> None:
            counted.append(goal)
            before(**goal)

        recorder._maze.set_goal = counting
        for number in range(3):
            recorder.episode("train", number)
        goals[procedure] = len(counted)
    assert goals["reach"] > goals["navigate"] > 3 * 2
