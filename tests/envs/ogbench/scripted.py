"""Solving tasks by OGBench's closed-loop oracles, for tests that need a solved episode."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.ogbench._environments import Environment, reset


def solve(env: Environment, targets: list[tuple[str, int]], seed: int) -> list[dict[str, Any]]:
    """Pursue sub-goals (kind, object) in turn until the episode ends or 150 steps; one record for each step."""
    observation, info = reset(env, seed)
    steps: list[dict[str, Any]] = []
    for kind, number in targets:
        oracle = _oracle(env, kind)
        oracle.reset(observation, info)
        while not oracle.done and len(steps) < 150:
            action = np.clip(oracle.select_action(observation, _with_goal(env, info, kind, number)), -1, 1)
            observation, reward, terminated, truncated, info = env.step(action)
            steps.append(
                {
                    "action": action,
                    "reward": reward,
                    "terminated": terminated,
                    "success": bool(info["success"]),
                    "qpos": info["prev_qpos"],
                    "button_states": info.get("prev_button_states"),
                }
            )
            if terminated or truncated:
                return steps
    return steps


def _oracle(env: Environment, kind: str) -> Any:
    from ogbench.manipspace.oracles.markov import button_markov, cube_markov, drawer_markov, window_markov

    if kind == "button":
        return button_markov.ButtonMarkovOracle(env=env, min_norm=0.4, gripper_always_closed=True)
    classes = {
        "cube": cube_markov.CubeMarkovOracle,
        "drawer": drawer_markov.DrawerMarkovOracle,
        "window": window_markov.WindowMarkovOracle,
    }
    return classes[kind](env=env, min_norm=0.4)


def _with_goal(env: Environment, info: dict[str, Any], kind: str, number: int) -> dict[str, Any]:
    """``info`` with the sub-goal keys that the environments give only while collecting data."""
    inner = env.unwrapped
    if kind == "button":
        goal = {
            "privileged/target_button": number,
            "privileged/target_button_state": inner._target_button_states[number],
            "privileged/target_button_top_pos": inner._data.site_xpos[inner._button_site_ids[number]].copy(),
        }
    elif kind == "cube":
        goal = {
            "privileged/target_block": number,
            "privileged/target_block_pos": inner._data.mocap_pos[inner._cube_target_mocap_ids[number]].copy(),
            "privileged/target_block_yaw": np.zeros(1),
        }
    else:
        site = getattr(inner, f"_{kind}_target_site_id")
        goal = {f"privileged/target_{kind}_handle_pos": inner._data.site_xpos[site].copy()}
    return info | goal
