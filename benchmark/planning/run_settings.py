"""What a run fixes beside its method: each setting with what it may be, and which of them go together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from benchmark.planning.errors import SettingsError, Unfit
from envs._documents import STRICT
from methods._contract import Count, NonNegative, Positive, Share, added

Widths = Annotated[tuple[Count, ...], MinLen(1)]
FACTS = ("chunk_length", "discount", "pessimism", "sparse", "horizon")
"""Settings that a suite says of its tasks."""


@dataclass(frozen=True)
class Settings:
    """What a run fixes beside its method; each changes numbers and so is part of the key. Steps are updates (offline)
    and environment steps (online). ``clip_norm`` 0 is no clipping; ``value_start`` is the last bias of every critic.
    ``sampling``: batches from all rows alike, or half offline and half online. ``warm_up``: who acts online before
    ``start_training``, the policy, uniform noise or the unsteered base. The learning rate rises over
    ``learning_rate_warm_up`` updates and falls as a cosine over ``learning_rate_decay`` more, to the share
    ``learning_rate_end`` of itself; ``learning_rates`` are those of single networks, by name. ``updates_per_step`` of
    the environment. ``random_shift``: pixels by which frames are moved at most; ``encoder_*``: convolutions of every
    network that sees frames, and the size of what they say."""

    chunk_length: Count
    discount: Share
    pessimism: float
    sparse: bool
    horizon: Count
    offline_steps: Annotated[int, Ge(0), Lt(2**31)] = 1_000_000
    online_steps: Annotated[int, Ge(0), Lt(2**31)] = 500_000
    start_training: Count = 5_000
    evaluate_every: Count = 50_000
    evaluation_episodes: Count = 50
    log_every: Count = 5_000
    rotate_every: Count = 1_000
    batch_size: Count = 256
    learning_rate: Positive = 3e-4
    target_rate: Annotated[float, Gt(0), Le(1)] = 0.005
    clip_norm: NonNegative = 0.0
    flow_steps: Count = 10
    heads: Count = 10
    actor_widths: Widths = (512, 512, 512, 512)
    value_widths: Widths = (512, 512, 512, 512)
    value_start: float = 0.0
    sampling: Literal["joint", "balanced"] = "joint"
    warm_up: Literal["policy", "uniform", "base"] = "policy"
    learning_rates: tuple[tuple[str, Positive], ...] = added(before=(), default=())
    learning_rate_warm_up: Annotated[int, Ge(0), Lt(2**31)] = added(before=0, default=0)
    learning_rate_decay: Annotated[int, Ge(0), Lt(2**31)] = added(before=0, default=0)
    learning_rate_end: Share = added(before=1.0, default=1.0)
    updates_per_step: Annotated[float, Ge(0.001), Le(100)] = added(before=1.0, default=1.0)
    random_shift: Annotated[int, Ge(0), Lt(2**31)] = added(before=0, default=0)
    encoder_channels: Widths = added(before=(32, 32, 32, 32), default=(32, 32, 32, 32))
    encoder_strides: Widths = added(before=(2, 1, 1, 1), default=(2, 1, 1, 1))
    encoder_size: Count = added(before=50, default=50)


def recorded() -> type:
    """What a record of settings says at least; those that were added may be missing, and what is of others may be
    there."""
    hints, added = get_type_hints(Settings, include_extras=True), before(Settings)
    fields = {name: NotRequired[hint] if name in added else hint for name, hint in hints.items()}
    return with_config(ConfigDict({**STRICT, "extra": "allow"}))(TypedDict("Recorded", fields))  # pyright: ignore


def before(declared: type) -> dict[str, Any]:
    """What each setting that was `added` to a dataclass says of what was before."""
    return {each.name: each.metadata["before"] for each in dataclasses.fields(declared) if "before" in each.metadata}


def told(declared: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a configuration holds: all but those that are as before."""
    left_out = before(declared)
    return {key: value for key, value in values.items() if key not in left_out or value != left_out[key]}


def check(settings: Mapping[str, Any], offline: bool = True) -> None:
    """Raise on values that are right on their own, and that no run could use together; ``offline``: whether the task
    has rows to learn from before acting."""
    if not offline and settings["offline_steps"]:
        raise Unfit("offline_steps are asked for, and the task has no offline rows; set offline_steps=0")
    if not offline and settings["sampling"] == "balanced":
        raise Unfit("sampling is balanced, which needs offline rows, and the task has none")
    if not offline and settings["online_steps"] and settings["start_training"] <= settings["chunk_length"]:
        raise SettingsError(
            f"training starts at {settings['start_training']}, the task has no offline rows, and a chunk of "
            f"{settings['chunk_length']} steps comes before the first row; raise start_training to "
            f"{settings['chunk_length'] + 1} or more"
        )
    if len(settings["encoder_channels"]) != len(settings["encoder_strides"]):
        raise SettingsError("encoder_channels and encoder_strides have different lengths; give one stride for each")
    if settings["chunk_length"] > settings["horizon"]:
        raise SettingsError(
            f"chunk_length is {settings['chunk_length']} and an episode has {settings['horizon']} steps; "
            "shorten the chunks, or raise horizon"
        )
    if settings["offline_steps"] + settings["online_steps"] == 0:
        raise SettingsError("offline_steps and online_steps are both 0, which leaves nothing to do; raise one of them")
    if settings["sampling"] == "balanced":
        if settings["offline_steps"]:
            raise SettingsError(
                "sampling is balanced, and offline there are no rows to balance; set offline_steps=0, or sampling=joint"
            )
        if settings["start_training"] < settings["chunk_length"]:
            raise SettingsError("sampling is balanced; start_training must be at least chunk_length")
    if 0 < settings["online_steps"] < settings["start_training"]:
        raise SettingsError(
            f"online_steps is {settings['online_steps']} and training starts at {settings['start_training']}, so that "
            "nothing would be trained online; raise online_steps, lower start_training, or set online_steps=0"
        )
