"""The convolutional parts that the families are built from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, leaky_relu, pad

from packshot.models.processes import SharedBatchNorm, gather, keep_own
from packshot.models.vocabulary import CarriesOver, Vocabulary
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
    """`features` numbers to a picture (N, C, S, S), float32 in [-1, 1]: a linear map to 4 x 4, then transposed convolutions.

    `channels` runs from the 4 x 4 grid to the full one, so it has one entry more than there are doublings.
    """

    def __init__(self, image: ImageSpec, channels: tuple[int, ...], features: int) -> None:
        first = channels[0]
        parts: list[nn.Module] = [
            nn.Linear(features, first * BASE**2),
            nn.Unflatten(1, (first, BASE, BASE)),
            group_norm(first),
            nn.SiLU(),
        ]
        for previous, width in pairwise(channels):
            parts += [nn.ConvTranspose2d(previous, width, 4, 2, 1), group_norm(width), nn.SiLU()]
        super().__init__(*parts, nn.Conv2d(channels[-1], image.channels, 3, 1, 1))

    def forward(self, latents: Tensor) -> Tensor:
        drawn: Tensor = super().forward(latents)  # type: ignore[no-untyped-call]
        return torch.tanh(drawn.float())


class ConditionEmbedding(nn.Embedding, CarriesOver):
    """What is asked for as `features` numbers: a category's own, and a linear map of the attributes beside it.

    What is not known of an attribute is all zeros and adds nothing: it stands for "any".
    """

    def __init__(self, categories: int, attributes: int, features: int, deviation: float = 1.0) -> None:
        super().__init__(categories, features)
        if deviation != 1.0:
            nn.init.normal_(self.weight, std=deviation)
        self.attributes = nn.Linear(attributes, features, bias=False) if attributes else None
        if self.attributes is not None:
            nn.init.normal_(self.attributes.weight, std=deviation)

    def forward(self, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Categories int64 (N,) and conditions float32 (N, D), or None where nothing is known: (N, features)."""
        embedded = super().forward(categories)
        return embedded if self.attributes is None or conditions is None else embedded + self.attributes(conditions)

    def carry_over(self, known: Mapping[str, Tensor], vocabulary: Vocabulary) -> dict[str, Tensor]:
        carried = {"weight": vocabulary.carry_rows(known["weight"])}
        if self.attributes is not None:
            before = known.get("attributes.weight", known["weight"].new_zeros(self.embedding_dim, len(vocabulary.columns)))
            carried["attributes.weight"] = vocabulary.carry_columns(before)
        return carried


class Critic(nn.Module):
    """Says how real a picture of what was asked for looks: one unbounded number each, (N,).

    Strided convolutions without normalisation, conditioned by projection (Miyato and Koyama 2018).
    """

    def __init__(self, image: ImageSpec, categories: int, width: int, attributes: int = 0) -> None:
        super().__init__()
        channels = (image.channels, *widths(image, width, 4 * width))
        self.layers = nn.ModuleList(nn.Conv2d(previous, following, 4, 2, 1) for previous, following in pairwise(channels))
        features = channels[-1] * BASE**2
        self.realism = nn.Linear(features, 1)
        self.match = ConditionEmbedding(categories, attributes, features, features**-0.5)

    def look(self, images: Tensor, categories: Tensor) -> Tensor:
        """What is judged: the 4 x 4 grid (N, channels, 4, 4)."""
        grid = images
        for layer in self.layers:
            grid = leaky_relu(layer(grid), 0.2)
        return grid

    def forward(self, images: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
        features = self.look(images, categories).flatten(1)
        matches = (self.match(categories, conditions) * features.float()).sum(dim=1)
        answer: Tensor = self.realism(features).float().squeeze(1) + matches
        return answer

    def score_every(self, images: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
        """The scores that pictures of `categories` would have as every category there is, (N, categories).

        A projection is in theory the logarithm of a category's probability (Miyato and Koyama 2018): along a row
        these are its logits, up to what all of them share.
        """
        features = self.look(images, categories).flatten(1)
        with torch.autocast(images.device.type, enabled=False):  # as exact as `forward`, whose scores they are compared with
            matches = features.float() @ self.match.weight.T
        every: Tensor = self.realism(features).float() + matches
        if self.match.attributes is None or conditions is None:
            return every
        told: Tensor = (self.match.attributes(conditions) * features.float()).sum(dim=1, keepdim=True)
        return every + told


def peer_deviation(features: Tensor, categories: Tensor) -> Tensor:
    """How far each picture is from the others of its category in the batch: root mean squared distance a feature, (N,).

    The minibatch standard deviation of Karras et al. (2018, section 3), within each category: the categories themselves differ so
    much that the deviation over a whole batch hides one that has collapsed. A picture without another of its category is told 0.
    Where several processes share a batch, the others are those of all of them. Float32 whatever the precision.
    """
    features, categories = gather(features.float()), gather(categories)
    others = (categories[:, None] == categories).to(features.dtype)
    others = others - torch.eye(len(others), dtype=others.dtype, device=others.device)
    count = others.sum(dim=1)
    with torch.autocast(features.device.type, enabled=False):  # in bfloat16 the differences would drown in what is rounded
        products = features @ features.T
    lengths = products.diagonal()
    distances = (lengths[:, None] + lengths - 2 * products).clamp_min(0) / features.shape[1]
    deviation: Tensor = ((distances * others).sum(dim=1) / count.clamp_min(1) + 1e-6).sqrt() * (count > 0)
    return keep_own(deviation)


class ComparingCritic(Critic):
    """A critic that sees beside each picture how much its category varies in the batch, so that a collapse shows at once.

    Its convolutions begin as He et al. (2015) have it, which keeps the features' scale from level to level.
    """

    def __init__(self, image: ImageSpec, categories: int, width: int, attributes: int = 0) -> None:
        super().__init__(image, categories, width, attributes)
        channels = self.match.embedding_dim // BASE**2
        self.compare = nn.Conv2d(channels + 1, channels, 3, 1, 1)
        for layer in (*self.layers, self.compare):
            nn.init.kaiming_normal_(layer.weight, 0.2)
            nn.init.zeros_(layer.bias)

    def look(self, images: Tensor, categories: Tensor) -> Tensor:
        grid = super().look(images, categories)
        deviation = peer_deviation(grid.flatten(1), categories)[:, None, None, None].expand(-1, 1, BASE, BASE)
        return leaky_relu(self.compare(torch.cat((grid, deviation.to(grid.dtype)), dim=1)), 0.2)


class NormalisedCritic(Critic):
    """DCGAN's critic (Radford et al. 2016): batch normalised at every level but the first."""

    def __init__(self, image: ImageSpec, categories: int, width: int, attributes: int = 0) -> None:
        super().__init__(image, categories, width, attributes)
        channels = widths(image, width, 4 * width)[1:]
        self.norms = nn.ModuleList(SharedBatchNorm(wide) for wide in channels)
        self.gains = nn.ParameterList(torch.ones(wide, 1, 1) for wide in channels)
        self.biases = nn.ParameterList(torch.zeros(wide, 1, 1) for wide in channels)

    def look(self, images: Tensor, categories: Tensor) -> Tensor:
        grid = leaky_relu(self.layers[0](images), 0.2)
        for layer, norm, gain, bias in zip(self.layers[1:], self.norms, self.gains, self.biases, strict=True):
            grid = leaky_relu(norm(layer(grid)) * gain + bias, 0.2)
        return grid


class ResizedConvolution(nn.Module):
    """A 3 x 3 convolution of the grid with every pixel repeated (Odena et al. 2016): it has no pattern of 2 x 2 of its own.

    Repeating and convolving are one transposed convolution of stride 2, whose 4 x 4 kernel is the 3 x 3 one summed over the four
    places that a repeated pixel takes: so it costs what DCGAN's costs, a quarter of enlarging first.
    """

    def __init__(self, channels: int, following: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, following, 3, 3))
        self.bias = nn.Parameter(torch.zeros(following))
        nn.init.kaiming_uniform_(self.weight.transpose(0, 1), math.sqrt(5))

    def forward(self, grid: Tensor) -> Tensor:
        rows = pad(self.weight, (0, 0, 1, 0)) + pad(self.weight, (0, 0, 0, 1))
        return conv_transpose2d(grid, pad(rows, (1, 0)) + pad(rows, (0, 1)), self.bias, 2, 1)


class ModulatedNorm(nn.Module):
    """Batch normalisation whose gain and bias are linear in a condition (Brock et al. 2019, appendix B)."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.normalise = SharedBatchNorm(channels)
        self.modulate = nn.Linear(features, 2 * channels)
        nn.init.normal_(self.modulate.weight, std=0.5 * features**-0.5)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, grid: Tensor, condition: Tensor) -> Tensor:
        gain, bias = self.modulate(condition)[:, :, None, None].chunk(2, dim=1)
        modulated: Tensor = self.normalise(grid) * (1 + gain) + bias
        return modulated
