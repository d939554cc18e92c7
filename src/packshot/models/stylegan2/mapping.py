"""From noise, and what is asked for, to the intermediate latents w."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from packshot.models.blocks import ConditionEmbedding
from packshot.models.stylegan2.layers import GAIN, SLOPE, EqualLinear

SPEED = 0.01
"""Of the mapping's learning rate, times the others' (Karras et al. 2019, appendix C)."""
SAMPLES = 1024
"""Of w for each mean: its error is then a thirtieth of w's own deviation."""


class Mapping(nn.Module):
    """Noise (N, latent) beside an embedding of what is asked for, both normalised, to w (N, latent): `depth` layers.

    `mean` (categories, latent) is where truncation pulls w to. It is computed from the very weights that are deployed, see
    `settle`, and not followed in training: a moving average of w belongs to weights that are gone.
    """

    mean: Tensor

    def __init__(self, latent: int, depth: int, categories: int, attributes: int) -> None:
        super().__init__()
        self.latent = latent
        self.embed = ConditionEmbedding(categories, attributes, latent)
        inputs = (2 * latent, *[latent] * (depth - 1))
        self.layers = nn.ModuleList(EqualLinear(each, latent, gain=GAIN, speed=SPEED) for each in inputs)
        self.register_buffer("mean", torch.zeros(categories, latent))

    def forward(self, noise: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
        with torch.autocast(noise.device.type, enabled=False):
            asked = self.embed(categories, conditions)
        rows = torch.cat((normalise(noise), normalise(asked)), dim=1)
        for layer in self.layers:
            rows = leaky_relu(layer(rows), SLOPE)
        return rows

    @torch.no_grad()
    def settle(self) -> None:
        """Measure each category's mean w, from noise that is always the same."""
        categories = torch.arange(len(self.mean), device=self.mean.device)
        self.mean.copy_(torch.stack([self._mean_of(category, None) for category in categories]))

    def truncate(self, rows: Tensor, share: float, categories: Tensor, conditions: Tensor | None) -> Tensor:
        """Pull w, (N, latent), towards the mean of what is asked for (Karras et al. 2019, section B); a share of 1 leaves it.

        Where attributes are asked for, that is the mean of these and not the category's, which would unsay them.
        """
        if share == 1:
            return rows
        means = self.mean[categories]
        if conditions is not None and bool((told := conditions.any(dim=1)).any()):
            asked = torch.cat((categories[told, None], conditions[told]), dim=1)
            kinds, which = torch.unique(asked, dim=0, return_inverse=True)
            found = torch.stack([self._mean_of(kind[0].long(), kind[1:]) for kind in kinds])
            means[told] = found[which]
        return torch.lerp(means, rows, share)

    def _mean_of(self, category: Tensor, condition: Tensor | None) -> Tensor:
        noise = torch.randn(SAMPLES, self.latent, generator=torch.Generator().manual_seed(0)).to(category.device)
        asked = None if condition is None else condition.expand(SAMPLES, -1)
        mean: Tensor = self(noise, category.expand(SAMPLES), asked).mean(dim=0)
        return mean


def normalise(rows: Tensor) -> Tensor:
    """Scale each row, (N, D), to a mean square of 1."""
    return rows * (rows.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
