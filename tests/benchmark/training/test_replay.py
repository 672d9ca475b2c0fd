"""Sequence sampling against the published test vector and against a slow loop; the tables that it reads."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from benchmark.training.replay import (
    Table,
    Transition,
    append,
    empty_table,
    history,
    interrupt,
    offline_table,
    refilled,
    settled,
    tail,
)
from benchmark.training.sampling import sample, sequences
from envs._suite import Rows, SuiteError
from methods._contract import Backbone, Problem, Space

OFFLINE, CAPACITY, STARTS, LONGEST = 9, 7, 16, 5
"""Fixed sizes, so that one program for each chunk length serves all examples."""
GAMMA = 0.9
HERE = jnp.asarray(True)
PROBLEM = Problem(Space.array(2), 1, 1, GAMMA, 0.5, 4, Backbone("gelu", "raw", (8,), (8,), heads=2))
appended = jax.jit(append)
chunks = jax.jit(sequences, static_argnames=("chunk_length", "discount"))


class Row(NamedTuple):
    """A row of the pool in plain numbers; an observation is told by its first component."""

    obs: float
    action: float
    reward: float
    mask: float
    terminal: float
    next_obs: float


class Slow(NamedTuple):
    """What the formulas say of one start."""

    reward: float
    mask: float
    valid: float
    next_obs: float
    actions: list[float]
    inside: list[float]


def slow(rows: list[Row], i: int, length: int, gamma: float) -> Slow:
    """V_0 = 1 and V_k = 1 - max_(l<k) terminals; then reward, mask and s' as they are defined from V, one by one."""
    inside = [1.0 - max([rows[i + before].terminal for before in range(k)], default=0.0) for k in range(length)]
    reward = 0.0
    for k in range(length):
        reward += gamma**k * rows[i + k].reward * inside[k]
    mask = min(rows[i + k].mask for k in range(length) if inside[k] == 1.0)
    last = max(k for k in range(length) if inside[k] == 1.0)
    actions = [rows[i + k].action for k in range(length)]
    return Slow(reward, mask, inside[length - 1], rows[i + last].next_obs, actions, inside)


def as_rows(rows: list[Row]) -> Rows:
    column = {name: np.array([getattr(row, name) for row in rows], np.float32) for name in Row._fields}
    states = np.concatenate([column["obs"], column["next_obs"][column["terminal"] == 1.0]])
    return Rows(
        observations=np.stack([states, -states], axis=1),
        actions=column["action"][:, None],
        rewards=column["reward"],
        masks=column["mask"],
        terminals=column["terminal"],
    )


def as_transition(row: Row) -> Transition:
    one, following = as_rows([row]), np.array([row.next_obs, -row.next_obs], np.float32)
    return Transition(one.observations[0], one.actions[0], one.rewards[0], one.masks[0], one.terminals[0], following)


def online_table(rows: list[Row]) -> Table:
    table = empty_table(CAPACITY, CAPACITY, PROBLEM)
    for row in rows:
        table = appended(table, as_transition(row), HERE)
    return table


def number(terminals: list[bool], first: float, rewards: list[float], masks: list[bool]) -> list[Row]:
    """Rows whose observations count from ``first``; what a trajectory ends in is 0.5 beyond its last one."""
    rows = []
    for i, (terminal, reward, mask) in enumerate(zip(terminals, rewards, masks, strict=True)):
        following = first + i + (0.5 if terminal else 1.0)
        rows.append(Row(first + i, 100.0 + first + i, reward, float(mask), float(terminal), following))
    return rows


VECTOR = {
    0: (-1.9, 0.0, [1, 1, 1, 0], 2),
    1: (-1.0, 0.0, [1, 1, 0, 0], 2),
    2: (0.0, 0.0, [1, 0, 0, 0], 2),
    3: (-2.71, 0.0, [1, 1, 1, 1], 6),
    4: (-2.629, 0.0, [1, 1, 1, 1], 7),
}
"""start -> R, m, V_0..V_3, the row that supplies s'; gamma 0.9, H 4."""


def vector_rows() -> list[Row]:
    terminals = [digit == "1" for digit in "00100001"]
    masks = [digit == "1" for digit in "11011101"]
    return number(terminals, 1.0, [-1.0, -1.0, 0.0, -1.0, -1.0, -1.0, 0.0, -1.0], masks)


@pytest.mark.parametrize("start", VECTOR)
def test_the_published_test_vector(start: int) -> None:
    rows = vector_rows()
    reward, mask, inside, source = VECTOR[start]
    by_hand = slow(rows, start, 4, 0.9)
    assert by_hand.inside == inside
    batch = chunks(offline_table(as_rows(rows), PROBLEM), empty_table(1, 1, PROBLEM), jnp.arange(5), 4, 0.9)
    assert float(batch.reward[start]) == pytest.approx(reward, abs=1e-6)
    assert float(batch.mask[start]) == mask
    assert float(batch.valid[start]) == inside[3]
    np.testing.assert_array_equal(batch.next_obs[start], as_transition(rows[source]).next_obs)
    np.testing.assert_array_equal(batch.obs[start], as_rows(rows).observations[start])
    np.testing.assert_array_equal(batch.chunk[start], as_rows(rows).actions[start : start + 4, 0])


def padded(table: Table) -> Table:
    """Room for as many final observations as there can be, so that every example has the same shapes."""
    missing = 2 * OFFLINE - len(table.observations)
    return table._replace(observations=jnp.asarray(np.pad(table.observations, ((0, missing), (0, 0)))))


def bits(size: int) -> st.SearchStrategy[list[bool]]:
    return st.lists(st.booleans(), min_size=size, max_size=size)


def numbers(size: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(-10.0, 1.0, width=32), min_size=size, max_size=size)


@settings(deadline=None, max_examples=150, derandomize=True, database=None, phases=[Phase.generate])
@given(
    *(bits(OFFLINE), numbers(OFFLINE), bits(OFFLINE)),
    *(bits(CAPACITY), numbers(CAPACITY), bits(CAPACITY)),
    st.integers(0, CAPACITY),
    st.integers(1, LONGEST),
)
def test_any_pool_equals_the_slow_loop(
    ends: list[bool],
    rewards: list[float],
    masks: list[bool],
    online_ends: list[bool],
    online_rewards: list[float],
    online_masks: list[bool],
    size: int,
    length: int,
) -> None:
    """Trajectories of any length from 1 on, and chunks that cross from the offline rows to the appended ones."""
    offline = number([*ends[:-1], True], 1.0, rewards, masks)
    online = number(online_ends, 50.0, online_rewards, online_masks)[:size]
    pool = offline + online
    starts = np.minimum(np.arange(STARTS), len(pool) - length)
    batch = chunks(
        padded(offline_table(as_rows(offline), PROBLEM)), online_table(online), jnp.asarray(starts), length, GAMMA
    )
    for place, start in enumerate(starts):
        wanted = slow(pool, int(start), length, GAMMA)
        assert float(batch.reward[place]) == pytest.approx(wanted.reward, rel=1e-5, abs=1e-5)
        assert float(batch.mask[place]) == wanted.mask
        assert float(batch.valid[place]) == wanted.valid
        if not (wanted.mask == 0.0 and start + sum(wanted.inside) > len(offline)):
            assert batch.next_obs[place].tolist() == [wanted.next_obs, -wanted.next_obs]
        assert batch.obs[place].tolist() == [pool[start].obs, -pool[start].obs]
        assert batch.chunk[place].tolist() == wanted.actions


def read_back(table: Table) -> list[Row]:
    """A table's rows, read as it says they lie; what a success ends in lies nowhere."""
    stored = {name: np.asarray(value) for name, value in table._asdict().items()}
    size, places = int(table.size), stored["next_row"]
    columns = [stored["observations"][:size, 0], stored["actions"][:size, 0]]
    columns += [stored[name][:size] for name in ("rewards", "masks", "terminals")]
    columns += [stored["observations"][places[:size], 0]]
    rows = [Row(*map(float, values)) for values in zip(*columns, strict=True)]
    return [row._replace(next_obs=NOWHERE) if over(row) else row for row in rows]


NOWHERE = -1.0


def over(row: Row) -> bool:
    """Whether nobody looks at what comes after it."""
    return row.terminal == 1.0 and row.mask == 0.0


def looked_at(rows: list[Row]) -> list[Row]:
    return [row._replace(next_obs=NOWHERE) if over(row) else row for row in rows]


ONLINE = number([False, True, True, False, False], 50.0, [-1.0, 0.0, -2.0, -1.0, -3.0], [True, False, True, True, True])


def test_append_is_a_list() -> None:
    for size in range(1, len(ONLINE) + 1):
        assert read_back(online_table(ONLINE[:size])) == looked_at(ONLINE[:size])


def test_a_full_table_holds_every_row() -> None:
    """Each of them ends a trajectory, so that all the room for final observations is used as well."""
    rows = number([True] * CAPACITY, 50.0, [-1.0] * CAPACITY, [True] * CAPACITY)
    assert read_back(online_table(rows)) == rows


def test_interrupt_ends_the_open_trajectory_and_changes_nothing_else() -> None:
    table = interrupt(online_table(ONLINE))
    ended = looked_at([*ONLINE[:-1], ONLINE[-1]._replace(terminal=1.0)])
    assert read_back(table) == ended
    more = number([False, True], 70.0, [-1.0, -1.0], [True, True])
    for row in more:
        table = appended(table, as_transition(row), HERE)
    assert read_back(table) == ended + more


@pytest.mark.parametrize("size", [0, 1, 3, 5])
@pytest.mark.parametrize("since", [0, 1, 2])
def test_what_a_checkpoint_holds_fills_a_table_again(size: int, since: int) -> None:
    """Also a larger one, and where what is settled was written down in two turns."""
    table, early = online_table(ONLINE[:size]), online_table(ONLINE[: min(since, size)])
    first, second = history(early, (0, 0)), history(table, settled(early))
    past = {name: np.concatenate([first[name], second[name]]) for name in first}
    again = refilled(empty_table(CAPACITY + 3, CAPACITY + 2, PROBLEM), past, tail(table))
    assert read_back(again) == looked_at(ONLINE[:size])
    for name, wanted in history(table, (0, 0)).items():
        np.testing.assert_array_equal(history(again, (0, 0))[name], wanted)
    grown = [read_back(appended(each, as_transition(ONLINE[4]), HERE)) for each in (table, again)]
    assert grown[0] == grown[1]


def test_samples_are_uniform_over_every_start_and_only_those() -> None:
    offline = number([False, False, False, True], 0.0, [0.0] * 4, [True] * 4)
    pool = offline + number([False] * 3, 4.0, [0.0] * 3, [True] * 3)
    draw = jax.jit(partial(sample, batch_size=6000, chunk_length=3, discount=GAMMA, balanced=False))
    batch = draw(offline_table(as_rows(offline), PROBLEM), online_table(pool[4:]), jax.random.PRNGKey(0))
    counts = np.bincount(np.asarray(batch.obs[:, 0]).astype(int), minlength=7)
    assert counts[5:].sum() == 0  # N - H = 4 is the last start, although the table has room for more rows
    expected = 6000 / 5
    assert ((counts[:5] - expected) ** 2 / expected).sum() < 18.5  # chi-square, 4 degrees of freedom, p = 0.001


def test_balanced_batches_are_half_offline_and_half_online() -> None:
    """Offline first; within each half uniform over its own starts, none of which crosses into the other."""
    offline = number([False, False, False, True], 0.0, [0.0] * 4, [True] * 4)
    pool = offline + number([False] * 5, 4.0, [0.0] * 5, [True] * 5)
    draw = jax.jit(partial(sample, batch_size=6001, chunk_length=3, discount=GAMMA, balanced=True))
    batch = draw(offline_table(as_rows(offline), PROBLEM), online_table(pool[4:]), jax.random.PRNGKey(0))
    starts = np.asarray(batch.obs[:, 0]).astype(int)
    for half, first, kinds in ((starts[:3001], 0, 2), (starts[3001:], 4, 3)):
        counts = np.bincount(half - first, minlength=kinds)
        assert len(counts) == kinds
        expected = len(half) / kinds
        assert ((counts - expected) ** 2 / expected).sum() < 13.8  # chi-square, 2 degrees of freedom, p = 0.001


def test_a_pool_of_exactly_one_chunk_is_sampled_at_its_start() -> None:
    offline = offline_table(as_rows(number([False, False, True], 1.0, [0.0] * 3, [True] * 3)), PROBLEM)
    draw = jax.jit(partial(sample, batch_size=8, chunk_length=3, discount=GAMMA, balanced=False))
    batch = draw(offline, empty_table(1, 1, PROBLEM), jax.random.PRNGKey(1))
    assert set(np.asarray(batch.obs[:, 0]).tolist()) == {1.0}


def test_rows_without_what_their_trajectories_end_in_are_refused() -> None:
    rows = as_rows(number([False, False, True], 1.0, [0.0] * 3, [True] * 3))
    with pytest.raises(SuiteError, match=r"3 transitions and 1 ends .* has 3 observations"):
        offline_table(dataclasses.replace(rows, observations=rows.observations[:3]), PROBLEM)


def test_data_that_break_off_are_refused() -> None:
    rows = as_rows(number([True, False, False], 1.0, [-1.0] * 3, [True] * 3))
    with pytest.raises(SuiteError, match="the last row being an end"):
        offline_table(rows, PROBLEM)
