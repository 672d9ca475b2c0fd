"""Environments and datasets: each suite is a module or package of this folder, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from typing import cast

from envs._suite import Suite, SuiteError


def suites() -> list[str]:
    """Names of all suites, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def load_suite(name: str) -> Suite:
    """The suite of this name; imports no simulator. Raises SuiteError where there is none."""
    if name not in suites():
        raise SuiteError(f"there is no suite {name!r}: there are {', '.join(suites())}.")
    return cast(Suite, importlib.import_module(f"envs.{name}"))
