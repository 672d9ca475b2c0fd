"""Measures of an episode and the control of undirected presses."""

from __future__ import annotations

import numpy as np
import pytest

from envs.ogbench._measures import Episode, RandomPresses

CORNERS = np.array([1, 1, 0, 1, 0, 1, 0, 1, 1])
"""Lights of a 3x3 board that are wrong if corners 0 and 8 must be pressed."""


def test_the_control_matches_the_known_curve():
    control = RandomPresses(CORNERS, np.zeros(9, int), 3)
    curve = [control(presses) for presses in (0, 1, 2, 4, 8, 12)]
    np.testing.assert_allclose([best for best, _ in curve], [-6, -4.8, -3.9, -3.2, -2.6, -2.2], atol=0.06)
    np.testing.assert_allclose([success for _, success in curve], [0, 0, 2 / 81, 0.035, 0.047, 0.055], atol=0.009)


def test_asking_for_more_presses_changes_no_earlier_answer():
    grown, direct = (RandomPresses(CORNERS, np.zeros(9, int), 3) for _ in range(2))
    first = grown(2)
    grown(50)
    assert grown(2) == first
    direct(50)
    assert direct(2) == first


def test_one_press_on_a_four_by_four_board_is_the_exact_mean():
    rng = np.random.default_rng(0)
    start, goal = rng.integers(2, size=(2, 16))
    rewards = []
    for button in range(16):
        lights = start.reshape(4, 4).copy()
        row, column = divmod(button, 4)
        for r, c in [(row, column), (row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]:
            if 0 <= r < 4 and 0 <= c < 4:
                lights[r, c] ^= 1
        rewards.append(-float((lights.ravel() != goal).sum()))
    expected = np.mean(np.maximum(rewards, -float((start != goal).sum())))
    best, _ = RandomPresses(start, goal, 4, sequences=40_000)(1)
    assert best == pytest.approx(expected, abs=0.03)


def test_an_episode_counts_presses_up_to_the_state_its_last_reward_describes():
    asked = []
    episode = Episode(frozenset({"best", "presses"}), lambda presses: (asked.append(presses), (-1.5, 0.25))[1])
    for reward, buttons in [(-2, [0, 0]), (-2, [0, 0]), (-1, [1, 0]), (-2, [1, 1]), (-2, [1, 1])]:
        episode.add(reward, {"prev_button_states": np.array(buttons)})
    assert episode.measures({"success": np.bool_(False)}) == {
        "success": 0.0,
        "return": -9.0,
        "length": 5.0,
        "best": -1.0,
        "presses": 2.0,
        "control_best": -1.5,
        "control_success": 0.25,
        "above_control": 0.5,
    }
    assert asked == [2]


def test_a_maze_reports_no_more_than_success_return_and_length():
    episode = Episode(frozenset(), None)
    episode.add(-1.0, {})
    episode.add(0.0, {})
    assert episode.measures({"success": 1.0}) == {"success": 1.0, "return": -1.0, "length": 2.0}
