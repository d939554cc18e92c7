"""From w to pictures: modulated convolutions, noise at every layer, and a picture that grows by skip connections.

Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN", section 2.2 and 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from packshot.models.blocks import BASE
from packshot.models.stylegan2.layers import GAIN, EqualLinear, activate
from packshot.models.stylegan2.resample import Double, Smooth
from packshot.records import ImageSpec


def grid_channels(size: int, capacity: int, widest: int) -> tuple[int, ...]:
    """Channels of the grids from 4 x 4 to `size`: `capacity` by the grid's side, `widest` at most."""
    sides = [BASE * 2**level for level in range(int(math.log2(size // BASE)) + 1)]
    return tuple(max(1, min(capacity // side, widest)) for side in sides)


class ModulatedConv(nn.Module):
    """A convolution whose weights each picture scales: input channel by input channel, by its own styles (equations 1 and 3).

    The styles scale the grid before one shared convolution, and what keeps the deviation of its outputs at 1 scales them after
    it (`demodulation`): the same numbers as with weights of each picture's own, and no grouped convolution.
    """

    def __init__(self, inputs: int, outputs: int, side: int, latent: int, *, doubling: bool = False) -> None:
        super().__init__()
        self.style = EqualLinear(latent, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(*((inputs, outputs) if doubling else (outputs, inputs)), side, side))
        self.smooth = Smooth(outputs, 1, gain=4.0) if doubling else None

    def demodulation(self, styles: Tensor) -> Tensor:
        """One by the deviation of each output channel under unit inputs, (N, outputs), float32 (equation 3)."""
        with torch.autocast(styles.device.type, enabled=False):
            energy = self.weight.square().sum(dim=(2, 3))
            return (styles.square() @ (energy.T if self.smooth is None else energy) + 1e-8).rsqrt()

    def forward(self, grid: Tensor, styles: Tensor) -> Tensor:
        """Convolve (N, inputs, H, W), scaled by `styles` (N, inputs); neither demodulated nor biased yet."""
        grid = grid * styles[:, :, None, None].to(grid.dtype)
        if self.smooth is None:
            return conv2d(grid, self.weight, padding=self.weight.shape[-1] // 2)
        smoothed: Tensor = self.smooth(conv_transpose2d(grid, self.weight, stride=2))
        return smoothed


class StyledLayer(nn.Module):
    """A modulated 3 x 3 convolution, noise of a learnt strength, a bias and the leaky ReLU; twice the side where `doubling`."""

    noise: Tensor

    def __init__(self, inputs: int, outputs: int, side: int, latent: int, *, doubling: bool = False) -> None:
        super().__init__()
        self.side = side
        self.convolve = ModulatedConv(inputs, outputs, 3, latent, doubling=doubling)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(1, 1, side, side))

    def forward(self, grid: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """The grid under w, (N, latent), and noise, (N, 1, side, side): the layer's own where None."""
        styles = self.convolve.style(w)
        grown = self.convolve(grid, styles)
        scales = (self.convolve.demodulation(styles) * GAIN)[:, :, None, None]
        shift = (self.noise if noise is None else noise) * (self.strength * GAIN)
        bias = (self.bias * GAIN)[:, None, None]
        # One after the other: the sum of noise and bias would be a whole grid first, in an order that the next layer must turn.
        return activate(grown * scales.to(grown.dtype) + shift.to(grown.dtype) + bias.to(grown.dtype))


class ToPicture(nn.Module):
    """A modulated 1 x 1 convolution to colours, float32: not demodulated."""

    def __init__(self, inputs: int, colours: int, latent: int) -> None:
        super().__init__()
        self.convolve = ModulatedConv(inputs, colours, 1, latent)
        self.bias = nn.Parameter(torch.zeros(colours))
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, grid: Tensor, w: Tensor) -> Tensor:
        colours: Tensor = self.convolve(grid, self.convolve.style(w) * self.scale).float()
        return colours + self.bias[:, None, None]


class Synthesis(nn.Module):
    """w, one row for each of `styles` places, to pictures (N, C, S, S), nearly within [-1, 1].

    Without noise of their own all pictures get the one that is kept with the weights: they then depend on w alone.
    """

    def __init__(self, image: ImageSpec, channels: Sequence[int], latent: int) -> None:
        super().__init__()
        self.begin = nn.Parameter(torch.randn(1, channels[0], BASE, BASE))
        layers = [StyledLayer(channels[0], channels[0], BASE, latent)]
        for level, (previous, width) in enumerate(pairwise(channels), start=1):
            side = BASE * 2**level
            layers += [StyledLayer(previous, width, side, latent, doubling=True), StyledLayer(width, width, side, latent)]
        self.layers = nn.ModuleList(layers)
        self.pictures = nn.ModuleList(ToPicture(width, image.channels, latent) for width in channels)
        self.enlarge = Double(image.channels)
        self.styles = len(layers) + 1
        """Places at which w is heard: each layer, and the last grid's colours. Other colours share the next layer's w."""
        self.noises = tuple((1, layer.side, layer.side) for layer in layers)
        """Shapes of the noise of one picture."""

    def forward(self, ws: Tensor, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Pictures of `ws`, (N, styles, latent)."""
        w = ws.unbind(dim=1)
        own = [None] * len(self.layers) if noises is None else noises
        grid = self.begin.expand(len(ws), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        grid = self.layers[0](grid, w[0], own[0])
        picture: Tensor = self.pictures[0](grid, w[1])
        for level, to_picture in enumerate(self.pictures[1:]):
            place = 1 + 2 * level
            grid = self.layers[place](grid, w[place], own[place])
            grid = self.layers[place + 1](grid, w[place + 1], own[place + 1])
            picture = self.enlarge(picture) + to_picture(grid, w[place + 2])
        return picture
