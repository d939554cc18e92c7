"""How much worse a photo is drawn again where it is a little worse than those a model learnt from, as a shop's uploads are."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from packshot.evaluation.bootstrap import estimate_least, withhold
from packshot.evaluation.ladder import RUNGS
from packshot.records import Estimate

Pixels = NDArray[np.uint8]
"""(N, 3, H, W)."""
Floats = NDArray[np.float64]


def _compress(photos: Pixels) -> Pixels:
    """As the ladder does."""
    compressed, _ = RUNGS["jpeg_q50"](photos, np.zeros(len(photos), dtype=np.int64))
    return compressed


def _add_noise(photos: Pixels) -> Pixels:
    """Seeded by each photo's own bytes: it does not matter which photos stand beside it."""
    noise = [np.random.default_rng(zlib.crc32(photo.tobytes())).normal(0, 0.02 * 255, photo.shape) for photo in photos]
    noisy: Floats = photos + np.stack(noise)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def _shift(photos: Pixels) -> Pixels:
    """Half a pixel down and half a pixel right, bilinear: 0.7 pixels. The border is replicated."""
    wide = np.pad(photos, ((0, 0), (0, 0), (1, 0), (1, 0)), mode="edge").astype(np.uint16)
    four = wide[..., 1:, 1:] + wide[..., 1:, :-1] + wide[..., :-1, 1:] + wide[..., :-1, :-1]
    return ((four + 2) // 4).astype(np.uint8)


def _darken(photos: Pixels) -> Pixels:
    return np.round(photos * 0.95).astype(np.uint8)


DISTURBANCES: Mapping[str, Callable[[Pixels], Pixels]] = {
    "jpeg_q50": _compress,
    "noise_2pct": _add_noise,
    "shift_half_px": _shift,
    "darker_5pct": _darken,
}
"""Each makes of photos as many that a shop might as well have uploaded; what becomes of a photo depends on that photo alone."""


def estimate_robustness(
    clean: Floats, disturbed: Mapping[str, Floats], groups: Sequence[str] | None, *, resamples: int, seed: int
) -> Estimate:
    """Estimate by how many dB the mean PSNR changes under the disturbance that costs most, which the note names; rarely above 0.

    `clean` (N,) scores photos that were drawn again from themselves, each of `disturbed` (N,) the same photos drawn again from
    their disturbed copies; all of them are scored against the undisturbed photos. A loss therefore holds what a model passes on
    of the disturbance: one that gave back whatever it was shown would lose it all.

    The worst of several is picked by the photos that measure it: `estimate_least` says what becomes of the interval. Withheld
    where nothing was disturbed, and as `estimate_mean` has it.
    """
    if not disturbed:
        return withhold("no photo was disturbed", clean.size)
    losses = {name: (scores - clean, groups) for name, scores in disturbed.items()}
    return estimate_least(losses, resamples=resamples, seed=seed)
