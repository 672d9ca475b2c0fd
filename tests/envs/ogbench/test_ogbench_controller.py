"""The controller against its stored self-test cases, and against the symmetries that it claims."""

from __future__ import annotations

import numpy as np
import pytest

from envs.ogbench._controller import WEIGHTS, observe, published, rotation, to_actuators

with np.load(WEIGHTS, allow_pickle=False) as stored:
    CASES = {name: stored[name].astype(np.float64) for name in stored.files if name.startswith("check_")}


@pytest.mark.parametrize("case", range(len(CASES["check_k"])))
def test_stored_cases(case: int):
    """Computed by another implementation, in float32."""
    state = CASES["check_qpos"][case], CASES["check_qvel"][case], CASES["check_dir"][case]
    seen, turns = observe(*state)
    assert turns == CASES["check_k"][case]
    np.testing.assert_allclose(seen, CASES["check_obs"][case], atol=1e-5)
    np.testing.assert_allclose(published().act(*state), CASES["check_action"][case], atol=1e-5)


def about_z(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def turned(qpos: np.ndarray, qvel: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """The state after a turn of the whole world."""
    w, x, y, z = qpos[3:7]
    c, s = np.cos(angle / 2), np.sin(angle / 2)
    quaternion = [c * w - s * z, c * x - s * y, c * y + s * x, c * z + s * w]
    place = about_z(angle) @ qpos[:3]
    velocity = about_z(angle) @ qvel[:3]
    return np.concatenate([place, quaternion, qpos[7:]]), np.concatenate([velocity, qvel[3:]])


@pytest.mark.parametrize("angle", [0.3, 1.7, -2.5])
def test_turning_the_world_changes_nothing(angle: float):
    for case in range(8):
        qpos, qvel, direction = (CASES[f"check_{name}"][case] for name in ("qpos", "qvel", "dir"))
        action = published().act(*turned(qpos, qvel, angle), (about_z(angle) @ [*direction, 0.0])[:2])
        np.testing.assert_allclose(action, published().act(qpos, qvel, direction), atol=1e-9)


def test_moving_the_world_changes_nothing():
    qpos, qvel, direction = (CASES[f"check_{name}"][0] for name in ("qpos", "qvel", "dir"))
    moved = qpos + np.array([3.0, -7.0, *np.zeros(13)])
    np.testing.assert_array_equal(published().act(moved, qvel, direction), published().act(qpos, qvel, direction))


def test_rotation_is_mujocos():
    import mujoco

    mujoco_matrix = np.zeros(9)
    for quaternion in np.random.default_rng(0).normal(size=(5, 4)):
        unit = quaternion / np.linalg.norm(quaternion)
        mujoco.mju_quat2Mat(mujoco_matrix, unit)  # pyright: ignore[reportAttributeAccessIssue] -- no stub
        np.testing.assert_allclose(rotation(quaternion), mujoco_matrix.reshape(3, 3), atol=1e-12)


def test_each_slot_drives_its_own_joints():
    """A slot's number reaches the actuators of one leg: the hip as it is, the ankle with the leg's sign."""
    from envs.ogbench._environments import make_for_navigation
    from envs.ogbench._tasks import domains

    model = make_for_navigation(domains()["antmaze-large-navigate"]).unwrapped.model
    joints = [int(joint) for joint in model.actuator_trnid[:, 0]]  # of each actuator
    for turns in range(4):
        for slot in range(4):
            action = to_actuators(np.repeat(np.eye(4)[slot], 2), turns)
            moved = sorted(joints[actuator] for actuator in np.flatnonzero(action))
            leg = (slot - turns) % 4
            assert moved == [1 + 2 * leg, 2 + 2 * leg]  # joint 0 is the free one
