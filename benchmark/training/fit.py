"""Whether the methods of a plan can be used on its tasks: their agents are built, and nothing is computed."""

from __future__ import annotations

import json
from dataclasses import replace

from benchmark.planning.errors import SettingsError, in_short
from benchmark.planning.plan import Pack, Plan
from benchmark.training.build import check_agent
from methods._contract import ContractError


def fitting(plan: Plan, every: bool) -> Plan:
    """The plan without what does not fit, where ``every`` method was asked for. Raises SettingsError with the reason
    otherwise, and where nothing is left."""
    looked: dict[str, str] = {}
    left: dict[tuple[str, str], list[str]] = {}
    packs = []
    for pack in plan.packs:
        kind = _kind(pack)
        if kind not in looked:
            looked[kind] = why_not(pack)
        reason = looked[kind]
        if reason and not every:
            raise SettingsError(f"{pack.first.method} can't be used on {pack.first.task}: {reason}")
        if reason:
            left.setdefault((pack.first.method, reason), []).append(pack.first.task)
        else:
            packs.append(pack)
    told = {f"{name} {reason}": _told(name, names, reason) for (name, reason), names in left.items()}
    unfit = dict(plan.unfit) | told
    if not packs:
        raise SettingsError(f"no method can be used; the first of them since {next(iter(unfit.values()))}")
    return replace(plan, packs=tuple(packs), unfit=unfit)


def _told(method: str, tasks: list[str], reason: str) -> str:
    return f"{method} on {', '.join(in_short(dict.fromkeys(tasks)))}: {reason}"


def why_not(pack: Pack) -> str:
    """Why an agent of a pack can't be built; nothing if it can."""
    try:
        check_agent(pack.first)
    except ContractError as error:
        return str(error)
    return ""


def _kind(pack: Pack) -> str:
    """What an agent depends on, but for numbers that are traced."""
    own = {name: value for name, value in pack.first.configuration.items() if name not in ("seed", "hyperparameters")}
    given = pack.first.configuration["hyperparameters"]
    return json.dumps([own, {name: value for name, value in given.items() if not isinstance(value, float)}])
