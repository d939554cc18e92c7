"""Whether one small picture can be another one, cropped a little and recoloured slightly.

A copy differs from its original by a small shift and zoom of each axis and by small changes of brightness, contrast, saturation,
hue and warmth. The tangents of these nine changes span nearly all that copies may differ in (tangent distance: Simard, LeCun and
Denker 1993, "Efficient pattern recognition using a new transformation distance"); a second step warps by what the first one found
(Lucas and Kanade 1981). What is left is weighed by what noise there can be at each place: little on smooth cloth, more at edges.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

NOISE, EDGE_NOISE = 3.0, 0.75
"""Of a layout's cell, of 255: everywhere, and as a share of the difference to the next cell."""
SHIFT, ZOOM = 0.02, 0.04
"""Of each axis, as a share of the side: one standard deviation of what copies have."""
BRIGHTNESS, CONTRAST, SATURATION, HUE, WARMTH = 0.06, 3.0, 0.12, 0.08, 0.04
"""The same for colours: factor, offset of 255, factor, radians, factor."""

BLOCKS = 4
"""Blocks of cells along each side, by whose means strangers are told apart."""

_REACH = 2.5
"""Standard deviations beyond which nothing is warped."""
_SHAPE = np.array([SHIFT, SHIFT, ZOOM, ZOOM], dtype=np.float32)
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def misfit(ones: Floats, others: Floats) -> Floats:
    """How badly pairs of layouts, float32 (M, S, S, 3) of 0..255 each, fit after one step from the middle; (M,), symmetric.

    It is the mean squared difference in units of noise, what the nine changes cost included: about 0 for copies, 1 and more for
    pictures that have little in common.
    """
    weights, columns = _linearise((ones + others) * np.float32(0.5))
    _, left = _solve(
        columns, weights, (ones - others).reshape(len(ones), columns.shape[1]), np.zeros((len(ones), 9), dtype=np.float32)
    )
    return left


def misfit_floor(ones: Floats, others: Floats) -> Floats:
    """A lower bound of `misfit`, (M,), from the means of blocks of cells: most strangers are told apart without the cells.

    By Cauchy and Schwarz the squares of a block's cells, each over its noise, add up to no less than the square of what the cells
    add up to over the sum of their noise; and every change is linear in the picture, so its mean is that of a mean picture.
    """
    middle = (ones + others) * np.float32(0.5)
    count, side = middle.shape[:2]
    means = _block_means(side)
    blocks = means.shape[1] // 5
    seen = (middle.reshape(count, -1) @ means).reshape(count, 5, BLOCKS, BLOCKS, 3)
    difference: Floats = np.matmul((ones - others).reshape(count, -1), means[:, :blocks])
    cells = side // BLOCKS
    steep = (_squared_slopes(middle) @ means[:, :blocks]).reshape(count, -1, 3) @ np.full(3, 1 / 3, dtype=np.float32)
    noise = np.float32(NOISE**2) + np.float32(EDGE_NOISE**2) * steep
    weights = np.repeat(np.float32(cells**2) / noise, 3, axis=1)
    picture, across, down, wider, taller = seen.transpose(1, 0, 2, 3, 4)
    columns = _changes(picture, across, down, wider, taller, side).reshape(count, blocks, 9)
    _, left = _solve(columns, weights, difference, np.zeros((count, 9), dtype=np.float32))
    return left / np.float32(cells**2)


def aligned_misfit(ones: Floats, others: Floats) -> Floats:
    """The same after two steps, of the one towards the other or back, whichever fits better: a crop lacks a part."""
    return np.minimum(_align(ones, others), _align(others, ones))


def _align(fixed: Floats, moved: Floats) -> Floats:
    weights, columns = _linearise(moved)
    difference = (fixed - moved).reshape(columns.shape[:2])
    found, _ = _solve(columns, weights, difference, np.zeros((len(fixed), 9), dtype=np.float32))
    warp = np.clip(found[:, :4], -_REACH, _REACH)
    warped = _warp(moved, warp * _SHAPE)
    weights, columns = _linearise(warped)
    start = np.concatenate([warp, np.zeros((len(fixed), 5), dtype=np.float32)], axis=1)
    _, left = _solve(columns, weights, (fixed - warped).reshape(difference.shape), start)
    return left


def _linearise(pictures: Floats) -> tuple[Floats, Floats]:
    """Each cell's weight, (M, P), and the nine changes of each picture by one standard deviation, (M, P, 9); P = S x S x 3."""
    count, side = pictures.shape[:2]
    down, across = np.gradient(pictures, axis=1), np.gradient(pictures, axis=2)
    weights = np.broadcast_to(1.0 / (NOISE**2 + EDGE_NOISE**2 * _steepness(down, across)), pictures.shape)
    place = _places(side)
    columns = _changes(pictures, across, down, across * place[None, None, :, None], down * place[None, :, None, None], side)
    cells = 3 * side * side
    return weights.reshape(count, cells), columns.reshape(count, cells, 9)


def _steepness(down: Floats, across: Floats) -> Floats:
    """The squared difference to the next cell, the mean of the colours: (M, S, S, 1)."""
    steep: Floats = (np.square(down) + np.square(across)).mean(axis=-1, keepdims=True)
    return steep


def _squared_slopes(pictures: Floats) -> Floats:
    """Of each value the squared differences to the next ones, down and across, summed: (M, P)."""
    count, side = pictures.shape[:2]
    squares = np.empty((count, side, 3 * side), dtype=np.float32)
    lines = pictures.reshape(count, side, 3 * side)
    squares[:, 1:-1] = np.square((lines[:, 2:] - lines[:, :-2]) * np.float32(0.5))
    squares[:, 0], squares[:, -1] = np.square(lines[:, 1] - lines[:, 0]), np.square(lines[:, -1] - lines[:, -2])
    squares[:, :, 3:-3] += np.square((lines[:, :, 6:] - lines[:, :, :-6]) * np.float32(0.5))
    squares[:, :, :3] += np.square(lines[:, :, 3:6] - lines[:, :, :3])
    squares[:, :, -3:] += np.square(lines[:, :, -3:] - lines[:, :, -6:-3])
    return squares.reshape(count, -1)


def _changes(pictures: Floats, across: Floats, down: Floats, wider: Floats, taller: Floats, side: int) -> Floats:
    """The nine changes by one standard deviation, (..., 3, 9), of pictures whose sides have `side` cells, and of their slopes."""
    red, green, blue = pictures[..., 0], pictures[..., 1], pictures[..., 2]
    columns = np.empty((*pictures.shape, 9), dtype=np.float32)
    columns[..., 0], columns[..., 1] = across * (SHIFT * side), down * (SHIFT * side)
    columns[..., 2], columns[..., 3] = wider * ZOOM, taller * ZOOM
    columns[..., 4] = pictures * BRIGHTNESS
    columns[..., 5] = CONTRAST
    columns[..., 6] = (pictures - (pictures @ _GREY)[..., None]) * SATURATION
    columns[..., 7] = np.stack([green - blue, blue - red, red - green], axis=-1) * (HUE / np.sqrt(3.0))
    columns[..., 8] = pictures * (np.array([1, 0, -1], dtype=np.float32) * WARMTH)
    return columns


def _solve(columns: Floats, weights: Floats, difference: Floats, start: Floats) -> tuple[Floats, Floats]:
    """Minimise |difference - columns @ step|^2 (weighted) + |start + step|^2: where it ends, (M, 9), and what is left, (M,)."""
    weighted = np.ascontiguousarray((columns * weights[..., None]).transpose(0, 2, 1))
    normal = weighted @ columns + np.eye(9, dtype=np.float32)
    slope = (weighted @ difference[..., None])[..., 0]
    step = np.linalg.solve(normal, (slope - start)[..., None])[..., 0]
    left = difference - (columns @ step[..., None])[..., 0]
    cost = (weights * np.square(left)).sum(axis=1) + np.square(start + step).sum(axis=1)
    return start + step, cost / np.float32(difference.shape[1])


def _warp(pictures: Floats, shape: Floats) -> Floats:
    """Shift and zoom pictures (M, S, S, 3) by shares of their sides, (M, 4): across, down, wider, taller."""
    side = pictures.shape[1]
    rows = _sampling(shape[:, 1] * side, shape[:, 3], side)
    columns = _sampling(shape[:, 0] * side, shape[:, 2], side)
    tall = (rows @ pictures.reshape(len(pictures), side, 3 * side)).reshape(pictures.shape)
    wide: Floats = columns[:, None] @ tall
    return wide


def _sampling(shift: Floats, zoom: Floats, side: int) -> Floats:
    """The matrices (M, S, S) that read a line of S cells at other places, by cubic interpolation (Keys 1981, a = -1/2)."""
    place = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
    at = np.clip(place * (1 + zoom[:, None]) + shift[:, None] + np.float32((side - 1) / 2), 0, side - 1)
    far = np.abs(at[..., None] - np.arange(-2, side + 2, dtype=np.float32))
    near = (1.5 * far - 2.5) * far * far + 1
    wide = ((-0.5 * far + 2.5) * far - 4) * far + 2
    weights: Floats = np.where(far < 1, near, np.where(far < 2, wide, 0)).astype(np.float32) @ _edges(side)
    return weights


def _places(side: int) -> Floats:
    """Where each cell of a line lies, from the middle on."""
    return np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)


@lru_cache(maxsize=2)
def _block_means(side: int) -> Floats:
    """By what a picture (S x S x 3) is multiplied for its blocks' means: its own, its slopes' and those times their place."""
    mean = np.repeat(np.eye(BLOCKS), side // BLOCKS, axis=1) * (BLOCKS / side)
    slope = mean @ np.gradient(np.eye(side), axis=0)
    placed = (mean * _places(side)) @ np.gradient(np.eye(side), axis=0)
    ways = ((mean, mean), (mean, slope), (slope, mean), (mean, placed), (placed, mean))
    rows = [np.kron(np.kron(down, across), np.eye(3)) for down, across in ways]
    return np.concatenate(rows).T.astype(np.float32)


@lru_cache(maxsize=2)
def _edges(side: int) -> Floats:
    """Cells beyond an edge are those at the edge: (S + 4, S)."""
    return np.eye(side, dtype=np.float32)[np.clip(np.arange(-2, side + 2), 0, side - 1)]
