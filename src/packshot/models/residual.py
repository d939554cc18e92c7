"""The residual encoder and decoder of latents that are grids: KL-f4 and KL-f8 (Rombach et al. 2022), without their attention."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from packshot.models.blocks import group_norm
from packshot.records import ImageSpec


def grid_widths(width: int, factor: int) -> tuple[int, ...]:
    """Channels of each level from the picture's own grid to the latent one: `width`, doubling, four times as many at most."""
    return tuple(width * min(2**level, 4) for level in range(1 + int(math.log2(factor))))


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions behind group norms, beside which the grid passes unchanged (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            group_norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, 1, 1),
            group_norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, 1, 1),
        )

    def forward(self, grid: Tensor) -> Tensor:
        answer: Tensor = grid + self.body(grid)
        return answer


class GridEncoder(nn.Sequential):
    """Pictures (N, C, S, S) to `features` numbers at each place of a grid, (N, features, S / factor, S / factor)."""

    def __init__(self, image: ImageSpec, channels: tuple[int, ...], blocks: int, features: int) -> None:
        parts: list[nn.Module] = [nn.Conv2d(image.channels, channels[0], 3, 1, 1), *_blocks(channels[0], blocks)]
        for previous, width in pairwise(channels):
            parts += [nn.Conv2d(previous, width, 4, 2, 1), *_blocks(width, blocks)]
        last = channels[-1]
        super().__init__(*parts, group_norm(last), nn.SiLU(), nn.Conv2d(last, features, 3, 1, 1))


class GridDecoder(nn.Sequential):
    """`features` numbers at each place of a grid to a picture (N, C, S, S), float32 in [-1, 1].

    `channels` runs from the latent grid to the picture's own.
    """

    def __init__(self, image: ImageSpec, channels: tuple[int, ...], blocks: int, features: int) -> None:
        parts: list[nn.Module] = [nn.Conv2d(features, channels[0], 3, 1, 1), *_blocks(channels[0], blocks)]
        for previous, width in pairwise(channels):
            parts += [nn.ConvTranspose2d(previous, width, 4, 2, 1), *_blocks(width, blocks)]
        last = channels[-1]
        super().__init__(*parts, group_norm(last), nn.SiLU(), nn.Conv2d(last, image.channels, 3, 1, 1))

    def forward(self, latents: Tensor) -> Tensor:
        drawn: Tensor = super().forward(latents)  # type: ignore[no-untyped-call]
        return torch.tanh(drawn.float())


def _blocks(channels: int, count: int) -> list[nn.Module]:
    return [ResidualBlock(channels) for _ in range(count)]
