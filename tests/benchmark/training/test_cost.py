"""What an agent costs, against counts by hand."""

from __future__ import annotations

import pytest

from benchmark.planning.plan import make
from benchmark.planning.request import ask
from benchmark.training.build import build_agent
from benchmark.training.cost import Cost, cost

STEPS, HEADS, WIDTH, OBS, ACTION = 3, 2, 8, 4, 4
SIZES = (f"flow_steps={STEPS}", f"heads={HEADS}", f"actor_widths=[{WIDTH}]", f"value_widths=[{WIDTH}]")


def cost_of(method: str, *words: str) -> Cost:
    overrides = tuple(f"{method}.{word}" for word in (*SIZES, *words))
    cell = make(ask("toy", "quick", methods=method, tasks=("bandit-v0",), seeds="0", settings=overrides)).cells[0]
    return cost(build_agent(cell)[2])


def weights(inputs: int, outputs: int) -> int:
    """Of one hidden layer, without the biases."""
    return inputs * WIDTH + WIDTH * outputs


def trained(inputs: int, outputs: int) -> float:
    """Forward, gradient of the parameters, gradient of all but the input; in forward passes."""
    return 3.0 - inputs * WIDTH / weights(inputs, outputs)


def test_actions_are_counted_by_hand() -> None:
    assert cost_of("flow").action == {"flow": STEPS}
    assert cost_of("bon", "best_of_n=4").action == {"flow": 4 * STEPS, "critic": 4}
    assert cost_of("fql").action == {"actor": 1}
    assert cost_of("fql", "best_of_n=5").action == {"actor": 5, "critic": 5}


def test_an_update_is_counted_by_hand() -> None:
    """Cloning: one pass back and forth. TD: the same for the critic, its average once, the next action's sampler."""
    found = cost_of("flow").update
    assert found["flow"] == pytest.approx(trained(OBS + ACTION + 1, ACTION) + STEPS)
    assert found["critic"] == pytest.approx(trained(OBS + ACTION, 1) + 1)


def test_an_encoder_is_counted_by_hand() -> None:
    """Two cameras of 8 x 8 become 3 x 3 x 8 at every second pixel, then 1 x 1 x 8, then 16. An update of best-of-n
    looks at s back and forth, but for the frames themselves, and at s' by the slow copy; acting looks once."""
    first, second, last = 9 * 8 * (9 * 2), 8 * (9 * 8), 8 * 16
    whole = first + second + last
    cell = make(ask("toy", "frozen", methods="bon", tasks=("pixels-v0",), seeds="0")).cells[0]
    found = cost(build_agent(cell)[2])
    assert found.action == {"critic": 8, "critic_encoder": 1}
    assert found.update["critic_encoder"] == pytest.approx(4 - first / whole)


def test_parameters_are_counted_by_hand() -> None:
    velocity = weights(OBS + ACTION + 1, ACTION) + WIDTH + ACTION
    one_head = weights(OBS + ACTION, 1) + WIDTH + 1 + 2 * WIDTH  # with a layer norm
    assert cost_of("flow").parameters == velocity + HEADS * one_head
