"""Best of N: several actions of the cloned flow, the one that the critic likes best is taken and backed up.

Reference: QPILOTS (arXiv 2606.14801), baselines; the selection rule is that of Li & Levine 2026 (arXiv 2601.14234).
Differs from the paper: OGBench has no published row, N there is an assumption; the candidates are compared by the mean
over heads without pessimism, which the paper leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from methods.flow import Flow


@dataclass(frozen=True)
class BestOfN(Flow):
    """The flow, with ``best_of_n`` set in its data file."""

    family: ClassVar = "steering"
