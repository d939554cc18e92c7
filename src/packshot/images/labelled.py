"""The one door to torchvision's data sets: its readers, its checksums, its downloads; what comes out is plain arrays."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from packshot.errors import DataRejected, Unavailable

LabelledName = Literal["MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100", "SVHN", "STL10"]
"""Those that hold their pictures as arrays of one size. The others are trees of files: `kind: folder` reads them."""

LabelledSplit = Literal["train", "test"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Labelled:
    """N pictures of one size, each of one class."""

    pixels: NDArray[np.uint8]
    """(N, H, W, 3), RGB, or (N, H, W), grey."""
    labels: NDArray[np.int64]
    """(N,)"""
    classes: tuple[str, ...]


def load_labelled(name: LabelledName, root: Path, split: LabelledSplit) -> Labelled:
    """Read one of torchvision's data sets from the files below `root`, which are downloaded where they are missing or damaged.

    Raises Unavailable where that is needed and there is no network, DataRejected where the files cannot be read.
    """
    try:
        return _arrays(_open(name, root, split, download=False))
    except RuntimeError as missing:
        log.info("%s is not in %s: downloading it", name, root)
        try:
            found = _open(name, root, split, download=True)
        except (OSError, RuntimeError) as error:
            raise Unavailable(
                f"{name} is not whole in this folder and cannot be downloaded: {_first_line(error)}",
                where=str(root),
                advice="put its files there as torchvision lays them out, or run it once where there is a network",
            ) from missing
        return _arrays(found)
    except Exception as error:  # whatever a reader makes of damaged files
        raise DataRejected(
            f"the files of {name} cannot be read: {_first_line(error)}", where=str(root), advice="remove them and run it again"
        ) from error


def _open(name: LabelledName, root: Path, split: LabelledSplit, *, download: bool) -> Any:
    from torchvision import datasets

    kind = getattr(datasets, name)
    if name in {"SVHN", "STL10"}:
        return kind(root, split=split, download=download)
    return kind(root, train=split == "train", download=download)


def _arrays(found: Any) -> Labelled:
    pixels = np.asarray(found.data)
    if pixels.ndim == 4 and pixels.shape[1] == 3 and pixels.shape[3] != 3:
        pixels = pixels.transpose(0, 2, 3, 1)
    labels = np.asarray(found.labels if hasattr(found, "labels") else found.targets, dtype=np.int64)
    classes = tuple(str(one) for one in getattr(found, "classes", range(10)))
    if (
        len(pixels) != len(labels)
        or pixels.dtype != np.uint8
        or (len(labels) and not 0 <= labels.min() <= labels.max() < len(classes))
    ):
        raise ValueError(f"{len(pixels)} pictures of {pixels.dtype} and {len(labels)} labels of {len(classes)} classes")
    return Labelled(pixels, labels, classes)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0].strip() or type(error).__name__
