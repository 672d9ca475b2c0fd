"""Whether the methods of a plan can be used on its tasks: their agents are built, and nothing is computed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

import methods
from benchmark.planning.errors import SettingsError, in_short
from benchmark.planning.plan import Pack, Plan
from benchmark.planning.request import OWN
from benchmark.training.build import check_agent
from envs._suite import SuiteError
from methods._contract import ContractError


def fitting(plan: Plan, every: bool) -> Plan:
    """The plan without what does not fit, where ``every`` method was asked for. Raises SettingsError with the reason
    otherwise, and where nothing is left."""
    looked: dict[str, str] = {}
    left: dict[tuple[str, str], dict[str, None]] = {}
    packs = []
    for pack in plan.packs:
        kind = _kind(pack)
        if kind not in looked:
            looked[kind] = why_not(pack)
        reason = looked[kind]
        if reason and not every:
            raise SettingsError(f"{pack.first.method} can't be used on {pack.first.task}: {reason}")
        if reason:
            left.setdefault((pack.first.method, reason), {})[pack.first.task] = None
        else:
            packs.append(pack)
    unfit = dict(plan.unfit) | _told(left)
    if not packs:
        raise SettingsError(f"no method can be used; for one, {next(iter(unfit.values()))}")
    return replace(plan, packs=tuple(packs), unfit=unfit)


def _told(left: Mapping[tuple[str, str], Iterable[str]]) -> dict[str, str]:
    """A line for each reason and the tasks where it holds, with all whom it keeps out."""
    whom: dict[str, list[str]] = {}
    for (method, reason), tasks in left.items():
        whom.setdefault(f"on {', '.join(in_short(tasks))}: {reason}", []).append(method)
    return {why: f"{', '.join(names)} {why}" for why, names in whom.items()}


def why_not(pack: Pack) -> str:
    """Why an agent of a pack can't be built; nothing if it can."""
    value = pack.first.configuration["value"]
    try:
        methods.tried(lambda: check_agent(pack.first), (ContractError, SettingsError, SuiteError))
    except (ContractError, methods.UnavailableMethod) as error:
        return str(error) if value == OWN else f"with --value {value}, {error}"
    return ""


def _kind(pack: Pack) -> str:
    """What an agent depends on, but for numbers that are traced."""
    own = {name: value for name, value in pack.first.configuration.items() if name not in ("seed", "hyperparameters")}
    given = pack.first.configuration["hyperparameters"]
    return json.dumps([own, {name: value for name, value in given.items() if not isinstance(value, float)}])
