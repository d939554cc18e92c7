"""The convolutional parts that the families are built from."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from packshot.records import ImageSpec

BASE = 4
"""Side of the smallest grid: every encoder ends, and every decoder begins, at 4 x 4."""


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation with 8 groups (Wu and He 2018), or as many as divide `channels` into groups of two or more.

    A group of one channel would lose its mean, which is where a decoder keeps its colours.
    """
    return nn.GroupNorm(max(groups for groups in (1, 2, 4, 8) if groups == 1 or channels % (2 * groups) == 0), channels)


def widths(image: ImageSpec, narrow: int, wide: int) -> tuple[int, ...]:
    """Channels of each level from the largest grid (half the picture's side) to 4 x 4: doubling from `narrow`, `wide` at most."""
    levels = int(math.log2(image.size // BASE))
    return tuple(min(narrow * 2**level, wide) for level in range(levels))


class Encoder(nn.Sequential):
    """Pictures (N, C, S, S) to `features` numbers each: strided 4 x 4 convolutions down to 4 x 4, then one linear map."""

    def __init__(self, image: ImageSpec, channels: tuple[int, ...], features: int) -> None:
        parts: list[nn.Module] = []
        previous: int = image.channels
        for width in channels:
            parts += [nn.Conv2d(previous, width, 4, 2, 1), group_norm(width), nn.SiLU()]
            previous = width
        super().__init__(*parts, nn.Flatten(), nn.Linear(previous * BASE**2, features))


class Decoder(nn.Sequential):
    """`features` numbers to a picture (N, C, S, S) in [-1, 1]: a linear map to 4 x 4, then transposed convolutions of stride 2.

    `channels` runs from the 4 x 4 grid to the full one, so it has one entry more than there are doublings; `norm` makes a layer's
    normalisation from its channels.
    """

    def __init__(
        self, image: ImageSpec, channels: tuple[int, ...], features: int, norm: Callable[[int], nn.Module] = group_norm
    ) -> None:
        first = channels[0]
        parts: list[nn.Module] = [
            nn.Linear(features, first * BASE**2),
            nn.Unflatten(1, (first, BASE, BASE)),
            norm(first),
            nn.SiLU(),
        ]
        for previous, width in pairwise(channels):
            parts += [nn.ConvTranspose2d(previous, width, 4, 2, 1), norm(width), nn.SiLU()]
        super().__init__(*parts, nn.Conv2d(channels[-1], image.channels, 3, 1, 1), nn.Tanh())


class Critic(nn.Module):
    """Says how real a picture of a category looks: one unbounded number each, (N,).

    Strided convolutions without normalisation, conditioned by projection (Miyato and Koyama 2018, equation 3).
    """

    def __init__(self, image: ImageSpec, categories: int, width: int) -> None:
        super().__init__()
        channels = (image.channels, *widths(image, width, 4 * width))
        self.layers = nn.ModuleList(nn.Conv2d(previous, following, 4, 2, 1) for previous, following in pairwise(channels))
        features = channels[-1] * BASE**2
        self.realism = nn.Linear(features, 1)
        self.match = nn.Embedding(categories, features)
        nn.init.normal_(self.match.weight, std=features**-0.5)

    def forward(self, images: Tensor, categories: Tensor) -> Tensor:
        grid = images
        for layer in self.layers:
            grid = leaky_relu(layer(grid), 0.2)
        features = grid.flatten(1)
        answer: Tensor = self.realism(features).squeeze(1) + (self.match(categories) * features).sum(dim=1)
        return answer
