"""The eyes: the catalogue's own classifier, trained on real photos, and the principal components of their pixels.

Both look at one half of the training photos only; the other half is what drawn pictures are compared with.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F

from packshot.evaluation.baselines import PrincipalComponents
from packshot.evaluation.protocol import ExtractorParams
from packshot.images.pixels import to_unit
from packshot.images.shards import Split
from packshot.records import write_bytes

log = logging.getLogger(__name__)

RECIPE = "catalog-classifier-1"
"""Rises with every change of the network or of its training: it is part of the cache's key."""
LARGEST_SIDE = 64
"""Larger pictures are averaged down to it before they are looked at."""
GLANCE = 32
"""Pictures that are looked at together: what the layers hand on stays in a core's cache, which makes it four times as fast."""
BATCH, LEARNING_RATE, WEIGHT_DECAY, SMOOTHING, SHIFT = 64, 4e-3, 1e-4, 0.1, 2
COMPONENTS = 64

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


class Classifier(nn.Module):
    """A small convolutional network: 3 x 3 layers, strided down to 4 x 4, the mean over them as features, a linear answer."""

    def __init__(self, side: int, categories: int, width: int) -> None:
        super().__init__()
        layers = [*_layer(3, width), *_layer(width, 2 * width, stride=2)]
        have, side = 2 * width, side // 2
        while side > 4:
            layers += [*_layer(have, have), *_layer(have, 4 * width, stride=2)]
            have, side = 4 * width, side // 2
        self.body = nn.Sequential(*layers)
        self.answer = nn.Linear(have, categories)

    def features(self, images: Tensor) -> Tensor:
        """Images in [-1, 1] (N, 3, S, S) -> (N, 4 * width)."""
        return self.body(images).mean(dim=(2, 3))  # type: ignore[no-any-return]

    def stages(self, images: Tensor) -> list[Tensor]:
        """Images in [-1, 1] (N, 3, S, S) -> the last activations on each grid, finest first, from (N, width, S, S) on."""
        grid, seen = images, []
        for module in self.body:
            # What comes before a stride is the last that is seen on its grid.
            if isinstance(module, nn.Conv2d) and module.stride > (1, 1):
                seen.append(grid)
            grid = module(grid)
        return [*seen, grid]

    def forward(self, images: Tensor) -> Tensor:
        """Images in [-1, 1] (N, 3, S, S) -> logits (N, categories)."""
        return self.answer(self.features(images))  # type: ignore[no-any-return]


def _layer(have: int, wanted: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(have, wanted, 3, stride, 1, bias=False), nn.BatchNorm2d(wanted), nn.SiLU()]


@dataclass(frozen=True, slots=True)
class CatalogEyes:
    """The trained classifier, in eval mode."""

    network: Classifier
    digest: str

    def see(self, pictures: Pixels) -> NDArray[np.float64]:
        """The features (N, 4 * width), float64."""
        with torch.inference_mode():
            parts = [
                self.network.features(_prepare(pictures[at : at + GLANCE])).numpy() for at in range(0, len(pictures), GLANCE)
            ]
        found = np.concatenate(parts) if parts else np.empty((0, self.network.answer.in_features))
        return found.astype(np.float64)

    def name(self, seen: NDArray[np.float64]) -> Labels:
        """The most likely category of each picture (N,) by what was seen of it, (N, 4 * width)."""
        with torch.inference_mode():
            answers = self.network.answer(torch.from_numpy(seen).float())
        return np.asarray(answers.numpy().argmax(axis=1), dtype=np.int64)

    def look(self, pictures: Pixels) -> tuple[NDArray[np.float32], ...]:
        """The last activations on each grid, float32 (N, C, H, W), finest first; of all pictures at once: pass many in parts."""
        with torch.inference_mode():
            return tuple(grid.numpy() for grid in self.network.stages(_prepare(pictures)))


@dataclass(frozen=True, slots=True)
class PixelEyes:
    """The leading principal components of pixels: blind to meaning, sharp on colour and layout."""

    components: PrincipalComponents
    digest: str

    @classmethod
    def fit(cls, photos: Pixels) -> PixelEyes:
        """Fit them to photos, uint8 (N, 3, S, S)."""
        components = PrincipalComponents.fit(_shrink(photos), COMPONENTS)
        told = hashlib.sha256(components.mean.tobytes())
        told.update(components.directions.tobytes())
        return cls(components, told.hexdigest())

    def see(self, pictures: Pixels) -> NDArray[np.float64]:
        """The coordinates (N, 64), float64."""
        return self.components.encode(_shrink(pictures)).astype(np.float64)


def train_eyes(photos: Split, categories: int, params: ExtractorParams, cache: Path) -> CatalogEyes:
    """Train the classifier on `photos`, or take it from `cache` where the same photos and settings have trained it before.

    The same photos, settings and torch give the same weights, however many threads there are.
    """
    key = hashlib.sha256(f"{RECIPE} {torch.__version__} {categories} {params.content_digest()}".encode())
    key.update(np.ascontiguousarray(photos.images).tobytes())
    key.update(np.ascontiguousarray(photos.categories).tobytes())
    path = cache / "eyes" / f"{key.hexdigest()}.safetensors"
    with _one_thread(params.seed):
        network = Classifier(min(photos.images.shape[-1], LARGEST_SIDE), categories, params.width)
        if path.is_file() and (digest := _restore(network, path)):
            return CatalogEyes(network.eval(), digest)
        _train(network, photos, params)
    content = save({name: values.contiguous() for name, values in network.state_dict().items()})
    write_bytes(path, content)
    return CatalogEyes(network.eval(), hashlib.sha256(content).hexdigest())


def _restore(network: Classifier, path: Path) -> str:
    """Load cached weights and return their sha256; empty where the file is damaged, and `network` is as it was."""
    content = path.read_bytes()
    try:
        network.load_state_dict(load(content))
    except (SafetensorError, RuntimeError):
        log.warning("the cached classifier %s is damaged: training it again", path.name[:12])
        return ""
    return hashlib.sha256(content).hexdigest()


def _train(network: Classifier, photos: Split, params: ExtractorParams) -> None:
    images, answers = _prepare(np.asarray(photos.images)), torch.from_numpy(np.array(photos.categories))
    chances = torch.Generator().manual_seed(params.seed)
    steps = params.epochs * -(-len(images) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=max(2, steps), pct_start=0.15)
    for epoch in range(params.epochs):
        total = 0.0
        for rows in torch.split(torch.randperm(len(images), generator=chances), BATCH):
            loss = F.cross_entropy(network(_augment(images[rows], chances)), answers[rows], label_smoothing=SMOOTHING)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rate.step()
            total += float(loss.detach()) * len(rows)
        log.debug("classifier, epoch %d of %d: loss %.3f", epoch + 1, params.epochs, total / len(images))


def _augment(images: Tensor, chances: torch.Generator) -> Tensor:
    """Mirror half of them, and move each batch by up to two pixels."""
    mirrored = torch.rand(len(images), generator=chances) < 0.5
    images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    side = images.shape[-1]
    down, right = torch.randint(0, 2 * SHIFT + 1, (2,), generator=chances).tolist()
    return F.pad(images, (SHIFT,) * 4, mode="replicate")[..., down : down + side, right : right + side]


def _prepare(pictures: Pixels) -> Tensor:
    # A copy: torch warns of an array that it may not write to, such as a split's on disk.
    return to_unit(torch.from_numpy(np.array(_shrink(pictures), order="C")))


def _shrink(pictures: Pixels) -> Pixels:
    factor = pictures.shape[-1] // LARGEST_SIDE
    if factor <= 1:
        return pictures
    count, channels, height, width = pictures.shape
    blocks = pictures.reshape(count, channels, height // factor, factor, width // factor, factor)
    return np.asarray(np.round(blocks.mean(axis=(3, 5))), dtype=np.uint8)


@contextmanager
def _one_thread(seed: int) -> Iterator[None]:
    """Chances from `seed` and sums in one order: the weights depend on neither the machine's cores nor what ran before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
