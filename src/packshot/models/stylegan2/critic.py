"""The critic: residual blocks, the deviation within groups of the batch, and a projection of what was asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from packshot.models.blocks import BASE, ConditionEmbedding
from packshot.models.processes import gather, keep_own
from packshot.models.stylegan2.layers import GAIN, SLOPE, EqualConv, EqualLinear, activate
from packshot.models.stylegan2.resample import Halve
from packshot.records import ImageSpec

GROUP = 4
"""Pictures whose deviation is taken together."""


def group_deviation(features: Tensor) -> Tensor:
    """The deviation of each feature, (N, ...), within each group of 4 rows that follow each other; its mean over features, (N,).

    Minibatch standard deviation (Karras et al. 2018, section 3), with the groups of Karras et al. 2020; the last may be smaller.
    """
    rows = features.float().flatten(1)
    group = torch.arange(len(rows), device=rows.device) // GROUP
    peers = (group[:, None] == group).to(rows.dtype)
    peers = peers / peers.sum(dim=1, keepdim=True)
    with torch.autocast(rows.device.type, enabled=False):
        variance = peers @ (rows - peers @ rows).square()
    return (variance + 1e-8).sqrt().mean(dim=1)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, the second one halving the side, beside a filtered shortcut (Karras et al. 2020, figure 7)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = EqualConv(inputs, inputs, 3, gain=GAIN)
        self.second = EqualConv(inputs, outputs, 3, gain=GAIN * math.sqrt(0.5), halving=True)
        self.shortcut = EqualConv(inputs, outputs, 1, gain=math.sqrt(0.5), bias=False)
        self.halve = Halve(inputs)

    def forward(self, grid: Tensor) -> Tensor:
        there: Tensor = self.shortcut(self.halve(grid))
        return there + activate(self.second(activate(self.first(grid))))


class StyleCritic(nn.Module):
    """Says how real a picture of what was asked for looks: one unbounded number each, (N,).

    `channels` runs from the 4 x 4 grid to the full one. Conditioned by projection (Miyato and Koyama 2018).
    """

    def __init__(self, image: ImageSpec, channels: Sequence[int], categories: int, attributes: int) -> None:
        super().__init__()
        narrowing = tuple(reversed(channels))
        last = channels[0]
        self.begin = EqualConv(image.channels, narrowing[0], 1, gain=GAIN)
        self.blocks = nn.ModuleList(ResidualBlock(inputs, outputs) for inputs, outputs in pairwise(narrowing))
        self.compare = EqualConv(last + 1, last, 3, gain=GAIN)
        self.summarise = EqualLinear(last * BASE**2, last, gain=GAIN)
        self.realism = EqualLinear(last, 1)
        self.match = ConditionEmbedding(categories, attributes, last)

    def forward(self, images: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
        grid = activate(self.begin(images))
        for block in self.blocks:
            grid = block(grid)
        deviation = keep_own(group_deviation(gather(grid)))[:, None, None, None].expand(-1, 1, BASE, BASE)
        grid = activate(self.compare(torch.cat((grid, deviation.to(grid.dtype)), dim=1)))
        features = leaky_relu(self.summarise(grid.flatten(1)), SLOPE)
        with torch.autocast(images.device.type, enabled=False):
            matched = (self.match(categories, conditions) * features).sum(dim=1) / math.sqrt(features.shape[1])
        score: Tensor = self.realism(features).squeeze(1) + matched
        return score
