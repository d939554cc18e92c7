"""The eyes of the true FID (Heusel et al. 2017, arXiv 1706.08500): Inception v3 of 2015 (Szegedy et al. 2016, arXiv 1512.00567).

Its features are the 2048 means of the last grid. The network that the field calls by this name has 1008 classes and differs
from torchvision's: means in its blocks leave out the padding, and its last block takes the largest neighbour in their place.
Pictures are resized by torch's bilinear interpolation, without antialias, as in other PyTorch implementations; TensorFlow's of
2015 places its samples a little differently, and its FID differs a little.

The published weights were not at hand when this was written. What was checked instead: on random weights in their format, the
features are those of a second, independent writing of the whole network, up to float rounding.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.inception import (
    BasicConv2d,
    Inception3,
    InceptionA,
    InceptionAux,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE,
)

from packshot.errors import IntegrityError, UsageError
from packshot.images.pixels import to_unit

CLASSES, FEATURES, SIDE = 1008, 2048, 299
BATCH = 32
ADVICE = "convert the published weights once, outside packshot, with safetensors.torch.save_file"

Pixels = NDArray[np.uint8]


def _mean_of_neighbours(grid: Tensor) -> Tensor:
    """Of 3 x 3, those outside the grid left out."""
    return F.avg_pool2d(grid, 3, stride=1, padding=1, count_include_pad=False)


class _BlockA(InceptionA):  # type: ignore[misc]
    """Of the grid of 35 x 35."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch5x5_2(self.branch5x5_1(x)),
                self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
                self.branch_pool(_mean_of_neighbours(x)),
            ],
            dim=1,
        )


class _BlockC(InceptionC):  # type: ignore[misc]
    """Of the grid of 17 x 17."""

    def forward(self, x: Tensor) -> Tensor:
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
                self.branch7x7dbl_5(self.branch7x7dbl_4(twice)),
                self.branch_pool(_mean_of_neighbours(x)),
            ],
            dim=1,
        )


class _BlockE(InceptionE):  # type: ignore[misc]
    """Of the grid of 8 x 8."""

    def forward(self, x: Tensor) -> Tensor:
        once, twice = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(once),
                self.branch3x3_2b(once),
                self.branch3x3dbl_3a(twice),
                self.branch3x3dbl_3b(twice),
                self.branch_pool(self.pool(x)),
            ],
            dim=1,
        )

    def pool(self, x: Tensor) -> Tensor:
        return _mean_of_neighbours(x)


class _LastBlock(_BlockE):
    def pool(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, stride=1, padding=1)


@dataclass(frozen=True, slots=True)
class InceptionEyes:
    """The network, in eval mode on the CPU."""

    network: nn.Module
    digest: str
    """The sha256 of the weights' file."""

    @classmethod
    def load(cls, path: Path) -> InceptionEyes:
        """Load the weights from a .safetensors file by their published names; others, such as AuxLogits', are ignored.

        Raises UsageError where there is no such file; IntegrityError where it is no safetensors file, or where a weight is
        missing, of another shape (torchvision's own have 1000 classes) or not float32.
        """
        try:
            content = path.read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            raise UsageError("there are no such Inception weights", where=str(path), advice=ADVICE) from None
        network = _build()
        network.load_state_dict(_choose(content, network, path), assign=True)
        network.fc = nn.Identity()
        return cls(network.eval(), hashlib.sha256(content).hexdigest())

    def see(self, pictures: Pixels) -> NDArray[np.float64]:
        """The features (N, 2048), float64, of pictures of any size, uint8 (N, 3, H, W)."""
        with torch.inference_mode():
            parts = [self.network(_prepare(pictures[at : at + BATCH])).numpy() for at in range(0, len(pictures), BATCH)]
        return np.concatenate(parts).astype(np.float64) if parts else np.empty((0, FEATURES))


def _build() -> nn.Module:
    """The network without its weights."""
    blocks = [BasicConv2d, _BlockA, InceptionB, _BlockC, InceptionD, _BlockE, InceptionAux]
    with torch.device("meta"):
        network = Inception3(CLASSES, aux_logits=False, transform_input=False, inception_blocks=blocks, init_weights=False)
        network.Mixed_7c = _LastBlock(FEATURES)
    return network  # type: ignore[no-any-return]


def _choose(content: bytes, network: nn.Module, path: Path) -> dict[str, Tensor]:
    """Those of a file's tensors that the network calls for, all of which must be there."""
    try:
        found = load(content)
    except SafetensorError as error:
        raise IntegrityError(f"not a safetensors file: {error}", where=str(path), advice=ADVICE) from error
    # How many batches a norm has seen is of no use here, and older files do not say it.
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items() if not name.endswith(".num_batches_tracked")}
    faults = [f"{name} is missing" for name in wanted if name not in found]
    for name, shape in wanted.items():
        if name in found and (found[name].shape, found[name].dtype) != (shape, torch.float32):
            faults.append(f"{name} is {found[name].dtype} {tuple(found[name].shape)}, not torch.float32 {tuple(shape)}")
    if faults:
        some = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
        raise IntegrityError(f"not the Inception weights of the FID: {some}", where=str(path), advice=ADVICE)
    return {name: found[name] for name in wanted}


def _prepare(pictures: Pixels) -> Tensor:
    """Pictures as the network takes them: float32 (N, 3, 299, 299) in [-1, 1]."""
    # A copy: torch warns of an array that it may not write to, such as a split's on disk.
    images = to_unit(torch.from_numpy(np.array(pictures, order="C")))
    return F.interpolate(images, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
