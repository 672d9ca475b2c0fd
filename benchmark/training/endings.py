"""How a run may end before its time."""

from __future__ import annotations


class Stopped(Exception):
    """The run was asked to pause, and is saved."""


class Diverged(Exception):
    """A seed's loss is not a number."""


class DiskTooSmall(Exception):
    """There is no room for a run's checkpoints."""


class BaseFailed(Exception):
    """What a given base raised while it was asked."""
