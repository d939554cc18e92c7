"""A small classifier of the catalogue's own whose features say how alike two pictures look: a loss without foreign weights.

Features of a trained network as a loss: Johnson, Alahi and Fei-Fei 2016; their distance: Zhang et al. 2018.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize, silu

from packshot.models.base import Batch, Loss
from packshot.models.blocks import group_norm, widths
from packshot.records import ImageSpec

SMOOTHING = 0.1
"""Of the classifier's answers (Szegedy et al. 2016): features of one that is never sure keep more of what it sees."""


class Perception(nn.Module):
    """A convolutional classifier, from the picture's own grid down to 4 x 4; one depth a grid."""

    def __init__(self, image: ImageSpec, categories: int, width: int) -> None:
        super().__init__()
        channels = (width, *widths(image, 2 * width, 4 * width))
        self.enter = nn.Conv2d(image.channels, width, 3, 1, 1)
        self.down = nn.ModuleList(nn.Conv2d(previous, following, 3, 2, 1) for previous, following in pairwise(channels))
        self.norms = nn.ModuleList(group_norm(count) for count in channels)
        self.answer = nn.Linear(channels[-1], categories)

    def look(self, images: Tensor) -> list[Tensor]:
        """The features of pictures (N, C, S, S) at every depth, finest first."""
        grid = silu(self.norms[0](self.enter(images)))
        seen = [grid]
        for down, norm in zip(self.down, self.norms[1:], strict=True):
            grid = silu(norm(down(grid)))
            seen.append(grid)
        return seen

    def loss(self, batch: Batch) -> Loss:
        """What the classifier learns by: the cross entropy of the photos' categories."""
        answers = self.answer(self.look(batch.images)[-1].mean(dim=(2, 3))).float()
        right = (answers.detach().argmax(dim=1) == batch.categories).float().mean()
        return Loss({"cross_entropy": cross_entropy(answers, batch.categories, label_smoothing=SMOOTHING)}, {"right": right})

    def distance(self, drawn: Tensor, images: Tensor) -> Tensor:
        """How unlike pictures look, a scalar: the mean over depths of `feature_distance`. Only `drawn` gets a gradient."""
        with torch.no_grad():
            wanted = self.look(images)
        parts = [feature_distance(one, other) for one, other in zip(self.look(drawn), wanted, strict=True)]
        return torch.stack(parts).mean()


def feature_distance(one: Tensor, other: Tensor) -> Tensor:
    """The squared distance of features (N, C, H, W) of unit length over channels, the mean over places and pictures.

    Zhang et al. 2018, equation 1, with every channel's weight one: between 0 and 4.
    """
    apart = normalize(one.float(), dim=1) - normalize(other.float(), dim=1)
    return apart.square().sum(dim=1).mean()
