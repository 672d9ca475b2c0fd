"""What follows a chunk, and how it ends: next chunks and returns against slow loops, for steps and for decisions."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from benchmark.training import trainer
from benchmark.training.replay import Transition, append, empty_table, interrupt, offline_table
from benchmark.training.sampling import Pool, returns_to_go, sample, sequences, with_returns
from envs._suite import Rows, SuiteError
from methods._contract import Backbone, Problem, Space

GAMMA, COUNT, LENGTH = 0.9, 10, 3
STEPS = Problem(Space.array(1), 1, LENGTH, GAMMA, 0.5, 2, Backbone("gelu", "raw", (8,), (8,), heads=2))
DECISIONS = replace(STEPS, decisions=True)
EXAMPLES = settings(deadline=None, max_examples=80, derandomize=True, database=None, phases=[Phase.generate])
returns = jax.jit(returns_to_go, static_argnames="discount")
following = jax.jit(sequences, static_argnames=("chunk_length", "discount", "needs"))


def bits(size: int = COUNT) -> st.SearchStrategy[list[bool]]:
    return st.lists(st.booleans(), min_size=size, max_size=size)


def numbers(size: int = COUNT) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(-5.0, 1.0, width=32), min_size=size, max_size=size)


def slow_return(i: int, rewards: list[float], masks: list[bool], ends: list[bool], size: int) -> float:
    """Step by step to the first mask of 0, or to the end, whose reward then goes on for ever."""
    total, weight = 0.0, 1.0
    for k in range(i, size):
        if not masks[k]:
            return total + weight * rewards[k]
        if ends[k]:
            return total + weight * rewards[k] / (1.0 - GAMMA)
        total, weight = total + weight * rewards[k], weight * GAMMA
    return np.nan


@EXAMPLES
@given(numbers(), bits(), bits(), st.integers(0, COUNT))
def test_returns_equal_the_slow_loop(rewards: list[float], masks: list[bool], ends: list[bool], size: int) -> None:
    columns = [np.asarray(each, np.float32) for each in (rewards, masks, ends)]
    found = returns(*columns, size, discount=GAMMA)
    wanted = [slow_return(i, rewards, masks, ends, size) for i in range(size)] + [np.nan] * (COUNT - size)
    np.testing.assert_allclose(found.value, wanted, rtol=1e-4, atol=1e-4)


@EXAMPLES
@given(bits(), bits(), st.lists(st.integers(1, LENGTH), min_size=COUNT, max_size=COUNT), st.integers(0, COUNT))
def test_returns_are_those_of_what_was_there(ends: list[bool], wins: list[bool], cuts: list[int], seen: int) -> None:
    """Rows come in blocks, each told anew as far back as an episode goes; an update sees the first ``seen`` of them,
    and no return that a later row decides. The rewards after a success count for nobody."""
    episode = 4
    ends = [end or (i + 1) % episode == 0 for i, end in enumerate(ends)]
    masks, rewards = [not (end and win) for end, win in zip(ends, wins, strict=True)], [-1.0 - i for i in range(COUNT)]
    table = jax.tree.map(lambda leaf: leaf[None], empty_table(COUNT, COUNT, STEPS, returns=True))
    first = 0
    for cut in cuts:
        last = min(first + cut, next((i + 1 for i in range(first, COUNT) if ends[i]), COUNT))
        block = [np.zeros((1, LENGTH, 1)), np.zeros((1, LENGTH, 1))]
        block += [np.zeros((1, LENGTH)) for _ in range(3)] + [np.zeros((1, LENGTH, 1))]
        for k, i in enumerate(range(first, last)):
            block[2][0, k], block[3][0, k], block[4][0, k] = rewards[i], masks[i], ends[i]
        present = np.arange(LENGTH)[None] < last - first
        rows = Transition(*(each.astype(np.float32) for each in block))
        table = trainer.append_all(table, rows, present, GAMMA, episode + 1)
        first = last
    assert int(table.size[0]) == first
    seen = min(seen, first)
    one = jax.tree.map(lambda leaf: leaf[0], table)._replace(size=jnp.asarray(seen, jnp.int32))
    none = Rows(np.zeros((0, 1)), np.zeros((0, 1)), *(np.zeros(0),) * 3)
    pool = Pool(with_returns(offline_table(none, STEPS), GAMMA), one)
    wanted = [slow_return(i, rewards, masks, ends, seen) for i in range(seen)]
    np.testing.assert_allclose(pool.returns(jnp.arange(COUNT))[:seen], wanted, rtol=1e-4, atol=1e-4)


@EXAMPLES
@given(bits(), st.integers(0, COUNT - LENGTH))
def test_a_next_chunk_counts_where_it_lies_in_the_same_trajectory(ends: list[bool], start: int) -> None:
    ends = [*ends[:-1], True]
    actions = np.arange(COUNT, dtype=np.float32)
    observations = np.arange(COUNT + sum(ends), dtype=np.float32)[:, None]
    rows = Rows(observations, actions[:, None], -actions, np.ones(COUNT, np.float32), np.asarray(ends, np.float32))
    offline, online = offline_table(rows, STEPS), empty_table(1, 1, STEPS)
    missing = COUNT - sum(ends)
    offline = offline._replace(observations=jnp.pad(offline.observations, ((0, missing), (0, 0))))
    batch = following(offline, online, jnp.asarray([start]), LENGTH, GAMMA, ("next_chunk",))
    last = start + 2 * LENGTH - 1
    whole = last < COUNT and not any(ends[start:last])
    assert float(batch.next_chunk_valid[0]) == float(whole)
    if whole:
        assert batch.next_chunk[0].tolist() == actions[start + LENGTH : last + 1].tolist()


def decided(ends: list[bool], wins: list[bool]) -> tuple[list[Transition], list[float]]:
    """Decisions in a row, each with the chunk that follows it; and those chunks, told by one number."""
    rows, after = [], []
    for i, (end, win) in enumerate(zip(ends, wins, strict=True)):
        chunk, following = np.full(LENGTH, float(i), np.float32), i + (0.5 if end else 1.0)
        mask, terminal = float(not (end and win)), float(end)
        obs, later = np.full(1, float(i), np.float32), np.full(1, following, np.float32)
        rows.append(Transition(obs, chunk, -1.0, mask, terminal, later, np.full(LENGTH, following, np.float32), {}))
        after.append(following)
    return rows, after


@EXAMPLES
@given(bits(), bits(), st.integers(1, COUNT))
def test_a_decision_is_followed_by_the_chunk_that_was_executed_next(
    ends: list[bool], wins: list[bool], size: int
) -> None:
    rows, after = decided(ends[:size], wins[:size])
    table = empty_table(COUNT, COUNT, DECISIONS, returns=True)
    for row in rows:
        table = jax.jit(append)(table, row, jnp.asarray(True))
    none = Rows(np.zeros((0, 1)), np.zeros((0, 1)), *(np.zeros(0),) * 3)
    offline = with_returns(offline_table(none, DECISIONS), DECISIONS.row_discount)
    needs = ("next_chunk", "next_chunk_valid", "return_to_go")
    table = with_returns(table, DECISIONS.row_discount)
    batch = sample(offline, table, jax.random.PRNGKey(0), 32, LENGTH, GAMMA, False, True, needs)
    for k, i in enumerate(np.asarray(batch.obs[:, 0]).astype(int)):
        assert batch.chunk[k].tolist() == [i] * LENGTH
        assert (float(batch.reward[k]), float(batch.valid[k]), float(batch.next_chunk_valid[k])) == (-1.0, 1.0, 1.0)
        assert float(batch.mask[k]) == rows[i].mask
        if rows[i].mask:
            assert float(batch.next_obs[k, 0]) == after[i]
            assert batch.next_chunk[k].tolist() == [after[i]] * LENGTH
    assert DECISIONS.row_discount == pytest.approx(GAMMA**LENGTH)


def test_an_interrupted_decision_keeps_what_follows_it() -> None:
    rows, after = decided([False, False], [False, False])
    table = empty_table(COUNT, 2, DECISIONS)
    for row in rows:
        table = append(table, row, jnp.asarray(True))
    table = interrupt(table)
    more, _ = decided([False], [False])
    table = append(table, more[0], jnp.asarray(True))
    place = int(table.next_row[1])
    assert table.actions[place].tolist() == [after[1]] * LENGTH
    assert table.observations[place].tolist() == [after[1]]
    assert table.terminals[:3].tolist() == [0.0, 1.0, 0.0]


def test_recorded_steps_are_no_decisions() -> None:
    rows = Rows(np.zeros((4, 1)), np.zeros((3, 1)), np.zeros(3), np.ones(3), np.asarray([0.0, 0.0, 1.0]))
    with pytest.raises(SuiteError, match="3 recorded steps can't stand beside rows that are decisions"):
        offline_table(rows, DECISIONS)


@pytest.mark.parametrize("rate", [Fraction(1), Fraction(2), Fraction(1, 3), Fraction(3, 2), Fraction(1, 10)])
def test_updates_are_due_for_each_step_once_training_starts(rate: Fraction) -> None:
    """However the steps are cut into dispatches."""
    start, whole = 5, trainer.due(np.array([0]), np.array([50]), 5, rate)
    assert int(whole.updates[0]) == int((50 - start + 1) * rate)
    assert int(whole.skipped[0]) == start - 1
    cuts = [0, 3, 4, 5, 9, 16, 17, 33, 50]
    parts = [trainer.due(np.array([a]), np.array([b]), start, rate) for a, b in pairwise(cuts)]
    assert sum(int(part.updates[0]) for part in parts) == int(whole.updates[0])
    assert sum(int(part.skipped[0]) for part in parts) == start - 1
    for before, part in pairwise(parts):
        assert int(part.done[0]) == int(before.done[0] + before.updates[0])
