"""The mixture of `_bases` as a PyTorch module."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch


class Mixture(torch.nn.Module):
    """Modes with means that lean with the position, and one standard deviation."""

    def __init__(self, arrays: Mapping[str, np.ndarray], spread: float) -> None:
        super().__init__()
        self.means = torch.nn.Parameter(torch.tensor(arrays["means"]))
        self.leaning = torch.nn.Parameter(torch.tensor(arrays["leaning"]))
        self.spread, self.context = spread, arrays["means"].shape

    def encode(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The means (B, 2, H W) of the modes for what is seen."""
        return self.means + obs["state"][:, :1, None] * self.leaning

    def forward(self, means: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """E[x_1 - x_0 | x_t = x] for x (B, M, H W), t (B, M, 1)."""
        variance = (1.0 - t) ** 2 + (self.spread * t) ** 2
        residual = x[:, :, None] - t[..., None] * means[:, None]
        odds = torch.softmax(-0.5 * (residual**2).sum(-1) / variance, dim=-1)
        ahead = means[:, None] + ((self.spread**2 * t - (1.0 - t)) / variance)[..., None] * residual
        return (odds[..., None] * ahead).sum(2)
