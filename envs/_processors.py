"""How many processor cores this process may use."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def cores() -> int:
    """Those that it may run on, and no more than a container's quota pays for; one at least."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min(allowed, quota(CGROUPS, Path("/proc/self/cgroup")))))


def quota(cgroups: Path, mine: Path) -> float:
    """Cores' worth of time that the control groups of a process grant it, the least of all that it is in; infinite
    without a limit. ``mine``: the file that names them, a line ``number:controllers:path`` each."""
    found = math.inf
    try:
        lines = [line.split(":", 2) for line in mine.read_text().splitlines()]
    except OSError:
        return found
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if not controllers or "cpu" in controllers.split(","):
            place = Path(path.lstrip("/"))
            for group in (place, *place.parents):
                found = min(found, _of_group(cgroups, controllers, group))
    return found


def _of_group(cgroups: Path, controllers: str, group: Path) -> float:
    """One group's own limit, in the words of the second version or of the first."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        if not controllers:
            granted, period = (cgroups / group / "cpu.max").read_text().split()
        else:
            home = next(each for each in (cgroups / controllers, cgroups / "cpu") if each.is_dir()) / group
            granted, period = ((home / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        if granted not in ("max", "-1"):
            return int(granted) / int(period)
    return math.inf
