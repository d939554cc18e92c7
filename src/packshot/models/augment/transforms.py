"""What augmentation does to pictures (N, C, S, S): products, sums and Fourier shears, so deterministic on every device.

All are differentiable any number of times. None draws a chance that does not come from its batch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from packshot.models.base import Batch


def translate(images: Tensor, batch: Batch, chance: float) -> Tensor:
    """Shift each picture, with probability `chance`, by up to an eighth of its side along both axes; the border is repeated.

    The shift is a product with selection matrices, whose gradients are products again.
    """
    if not chance:
        return images
    side = images.shape[-1]
    reach = side // 8
    chances = batch.uniform(3)
    shifts = (chances[:, :2] * (2 * reach + 1)).long().clamp_max(2 * reach) - reach
    shifts = shifts * (chances[:, 2:] < chance)
    sources = (torch.arange(side, device=images.device) + shifts.T[:, :, None]).clamp(0, side - 1)
    rows, columns = one_hot(sources, side).to(images.dtype)
    return resample(images, rows, columns)


def resample(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Each picture's rows and columns mixed anew: pixel (y, x) weighs by rows[n, y] (N, S, S) and columns[n, x] (N, S, S)."""
    mixed: Tensor = rows[:, None] @ images @ columns[:, None].transpose(-1, -2)
    return mixed


# --- DiffAugment (Zhao et al. 2020, section 3.2)


def jitter(images: Tensor, chances: Tensor) -> Tensor:
    """Brightness a half up or down at most, then saturation times 0 to 2, contrast times 0.5 to 1.5; chances uniform (N, 3)."""
    brightness, saturation, contrast = chances.T[..., None, None, None]
    images = images + brightness - 0.5
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * 2 * saturation
    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    stretched: Tensor = middle + (images - middle) * (contrast + 0.5)
    return stretched


def translate_blank(images: Tensor, chances: Tensor) -> Tensor:
    """Shift by up to an eighth of the side along both axes, and leave 0 behind; chances uniform (N, 2)."""
    side = images.shape[-1]
    reach = side // 8
    shifts = (chances * (2 * reach + 1)).long().clamp_max(2 * reach) - reach
    places = torch.arange(side, device=images.device)
    rows, columns = ((places[:, None] + shift[:, None, None]) == places for shift in shifts.T)
    return resample(images, rows.to(images.dtype), columns.to(images.dtype))


def cut_out(images: Tensor, chances: Tensor) -> Tensor:
    """Blank a square of half the side, whose middle lies anywhere in the picture; chances uniform (N, 2)."""
    side = images.shape[-1]
    places = torch.arange(side, device=images.device)
    within = [(places - (chance * side).long()[:, None] + side // 4) // (side // 2) == 0 for chance in chances.T]
    hole = within[0][:, :, None] & within[1][:, None, :]
    left: Tensor = images * ~hole[:, None]
    return left


# --- ADA (Karras et al. 2020a, appendix B)


class Frame(NamedTuple):
    """Where a picture's rows and columns come from, (N, S) each, counted in pixels from the first; and how much closer they lie.

    `closeness` (N, 2) is the scale of rows and of columns: below 1 the picture shrinks.
    """

    rows: Tensor
    columns: Tensor
    closeness: Tensor


class Colours(NamedTuple):
    """What colours become: a matrix (N, 3, 3) and what is added after it (N, 3)."""

    matrix: Tensor
    offset: Tensor


def turn_chances(batch: Batch, quarters: Tensor, any_angle: Tensor) -> tuple[Tensor, Tensor]:
    """How far to turn before and after scaling, as quarters (int64, (N, 2)) and the rest in radians (N, 2), 45 degrees at most.

    Whole quarters with the chance `quarters`; any angle with the chance `any_angle` before or after.
    """
    lots, ways = batch.uniform(3), batch.uniform(3)
    whole = torch.where(lots[:, 0] < quarters, (ways[:, 0] * 4).long().clamp_max(3), 0)
    either = 1 - (1 - any_angle).clamp_min(0).sqrt()
    turned = torch.where(lots[:, 1:] < either, (2 * ways[:, 1:] - 1) * 2, torch.zeros_like(ways[:, 1:]))
    rest = turned.round()
    first = torch.stack((whole, torch.zeros_like(whole)), dim=1)
    return (first + rest.long()) % 4, (turned - rest) * (math.pi / 2)


def turn(images: Tensor, quarters: Tensor) -> Tensor:
    """Turn pictures counter-clockwise by `quarters` of a turn, int64 (N,) from 0 to 3."""
    odd, half = (quarters % 2 == 1)[:, None, None, None], (quarters >= 2)[:, None, None, None]
    images = torch.where(odd, images.transpose(-1, -2).flip(-2), images)
    return torch.where(half, images.flip(-1, -2), images)


def rotate(images: Tensor, angles: Tensor) -> Tensor:
    """Turn pictures counter-clockwise by `angles` in [-pi/4, pi/4], (N,).

    Three shears (Paeth 1986), each a shift of whole rows or columns by their Fourier series; what lies beyond the border is the
    picture mirrored. Exact for what is band-limited and within 0.4 sides of the middle.
    """
    slope, rise = (angles / 2).tan(), -angles.sin()
    turned = _shear(_shear(_shear(images, slope).transpose(-1, -2), rise).transpose(-1, -2), slope)
    return torch.where((angles == 0)[:, None, None, None], images, turned)


def _shear(images: Tensor, slopes: Tensor) -> Tensor:
    """Shift each row to the right by its distance below the middle times `slopes` (N,)."""
    side = images.shape[-1]
    below = torch.arange(side, device=images.device) - (side - 1) / 2
    shifts = slopes[:, None, None, None] * below[:, None]
    series = torch.fft.rfft(torch.cat((images, images.flip(-1)), dim=-1))
    turns = torch.arange(side + 1, device=images.device) * (-math.pi / side)
    angles = (shifts * turns).to(images.dtype)
    moved = torch.fft.irfft(series * torch.complex(angles.cos(), angles.sin()), n=2 * side)
    shifted: Tensor = moved[..., :side]
    return shifted


def frame_chances(batch: Batch, side: int, blit: Tensor, geometry: Tensor) -> Frame:
    """Mirrored and shifted by whole pixels with the chance `blit` each; scaled, stretched and shifted with `geometry` each."""
    lots, ways, noise = batch.uniform(5), batch.uniform(3), batch.normal(4)
    mirrored = (lots[:, 0] < blit) & (ways[:, 0] < 0.5)
    whole = ((2 * ways[:, 1:] - 1) * (side / 8)).round() * (lots[:, 1:2] < blit)
    scaled, stretched, shifted = (lots[:, 2:] < geometry).to(noise.dtype).T
    scale, stretch = 0.2 * noise[:, 0] * scaled, 0.2 * noise[:, 1] * stretched
    closeness = torch.exp2(torch.stack((scale - stretch, scale + stretch), dim=1))
    shift = noise[:, 2:] * (side / 8) * shifted[:, None]
    middle = (side - 1) / 2
    places = torch.arange(side, device=lots.device) - middle
    rows, columns = (
        (places - shift[:, axis, None]) / closeness[:, axis, None] - whole[:, axis, None] + middle for axis in range(2)
    )
    return Frame(rows, torch.where(mirrored[:, None], side - 1 - columns, columns), closeness)


def reframe(images: Tensor, frame: Frame) -> Tensor:
    """Take rows and columns from where `frame` has them: linearly, antialiased where the picture shrinks, mirrored beyond it."""
    rows, columns = (
        _mixture(places, closeness).to(images.dtype)
        for places, closeness in zip((frame.rows, frame.columns), frame.closeness.T, strict=True)
    )
    return resample(images, rows, columns)


def _mixture(places: Tensor, closeness: Tensor) -> Tensor:
    """For each place (N, S), the weights of the pixels there, (N, S, S): a triangle as wide as the scale asks for."""
    side = places.shape[-1]
    folded = (side - 0.5 - ((places + 0.5).remainder(2 * side) - side).abs()).clamp(0, side - 1)
    reach = (1 / closeness).clamp_min(1)[:, None, None]
    weights = (1 - (folded[:, :, None] - torch.arange(side, device=places.device)).abs() / reach).clamp_min(0)
    return weights / weights.sum(dim=-1, keepdim=True)


def colour_chances(batch: Batch, chance: Tensor) -> Colours:
    """Brightness, contrast, luma flip, hue and saturation, each with the chance `chance`.

    All of them stretch or turn colours about the grey axis, so their product is known.
    """
    lots, ways, noise = batch.uniform(5), batch.uniform(2), batch.normal(3)
    lots = (lots < chance).to(noise.dtype)
    contrast, saturation = torch.exp2(0.5 * noise[:, 1] * lots[:, 1]), torch.exp2(noise[:, 2] * lots[:, 4])
    grey = contrast * (1 - 2 * lots[:, 2] * (ways[:, 0] < 0.5))
    hue = (2 * ways[:, 1] - 1) * math.pi * lots[:, 3]
    eye = torch.eye(3, device=noise.device)
    along = torch.full_like(eye, 1 / 3)
    across = torch.linalg.cross(eye, torch.full_like(eye, 3**-0.5))
    vivid = contrast * saturation
    matrix = (
        grey[:, None, None] * along
        + (vivid * hue.cos())[:, None, None] * (eye - along)
        + (vivid * hue.sin())[:, None, None] * across
    )
    touched = lots[:, 1:].any(dim=1)
    offset = grey * 0.2 * noise[:, 0] * lots[:, 0]
    return Colours(torch.where(touched[:, None, None], matrix, eye), offset[:, None].expand(-1, 3))


def recolour(images: Tensor, colours: Colours) -> Tensor:
    """Give each pixel of RGB pictures its new colour."""
    mixed: Tensor = (colours.matrix.to(images.dtype) @ images.flatten(2)).reshape(images.shape)
    return mixed + colours.offset[:, :, None, None].to(images.dtype)
