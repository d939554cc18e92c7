"""Path length regularisation (Karras et al. 2020, section 3.2): a step in w changes the picture as much wherever it is taken."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from packshot.models.processes import mean_of_all

DECAY = 0.01
"""Of the mean length, each time that lengths are measured (their appendix B)."""


def path_lengths(paint: Callable[[Tensor], Tensor], ws: Tensor, directions: Tensor) -> Tensor:
    """How far w's slope of a picture reaches along a random direction, (N,): || J^T y ||.

    `ws` is (N, styles, latent), of which each place counts as much; `directions` are standard normal numbers like the pictures,
    and scaled here so that lengths do not depend on the pictures' size: a weight of 2 is then the paper's
    ln 2 / (r^2 (ln r - ln 2)), for pictures of side r.
    """
    if not ws.requires_grad:
        ws = ws.detach().requires_grad_()
    scaled = directions / math.sqrt(directions[0, 0].numel())
    (slope,) = torch.autograd.grad((paint(ws) * scaled).sum(), ws, create_graph=True)
    return slope.float().square().sum(dim=2).mean(dim=1).sqrt()


class MeanLength(nn.Module):
    """The length that paths are held to: the running mean of their own."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, lengths: Tensor) -> Tensor:
        """Move the mean towards those of `lengths`, (N,), and tell how far each is from it, squared (equation 4)."""
        mean = torch.lerp(self.mean, mean_of_all(lengths.detach().mean()), DECAY)
        self.mean.copy_(mean)
        return (lengths - mean).square()
