"""Where the training photos' pixels lie: on the device where they fit, else in the host's memory, else on disk.

Every store gives the same bits. Pixels are uint8, (N, H, W, 3), which is what channels-last convolutions read.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

Placement = Literal["resident", "host", "disk"]
SHARE = 0.5
"""Of the free memory that photos may take: the networks, their gradients and what a step remembers need the rest."""
logger = logging.getLogger(__name__)


class PixelStore(Protocol):
    """The pixels of all training photos."""

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        """The photos of these rows on the device, (n, H, W, 3), as the caller's own."""

    def first(self, count: int) -> PixelStore:
        """The first `count` photos alone."""


@dataclass(frozen=True, slots=True)
class Resident:
    """In the device's own memory."""

    pixels: Tensor

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        return self.pixels.index_select(0, torch.from_numpy(rows).to(self.pixels.device))

    def first(self, count: int) -> PixelStore:
        return Resident(self.pixels[:count])


@dataclass(frozen=True, slots=True)
class InHost:
    """In the host's memory; each batch is gathered in pinned memory, from where the device fetches it while the host goes on."""

    pixels: Tensor
    device: torch.device

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        # A fresh piece for every batch: torch hands a pinned one out again only once the device has fetched what is in it.
        pinned = self.device.type == "cuda"
        batch = torch.empty((len(rows), *self.pixels.shape[1:]), dtype=torch.uint8, pin_memory=pinned)
        torch.index_select(self.pixels, 0, torch.from_numpy(rows), out=batch)
        return batch.to(self.device, non_blocking=True)

    def first(self, count: int) -> PixelStore:
        return InHost(self.pixels[:count], self.device)


@dataclass(frozen=True, slots=True)
class OnDisk:
    """In the packed split, (N, 3, H, W), of which the system keeps in memory what it has room for."""

    images: NDArray[np.uint8]
    device: torch.device

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        # In the order of the disk, then in that of the batch.
        order = np.argsort(rows, kind="stable")
        batch = np.empty((len(rows), *self.images.shape[2:], self.images.shape[1]), dtype=np.uint8)
        batch[order] = self.images[rows[order]].transpose(0, 2, 3, 1)
        return torch.from_numpy(batch).to(self.device)

    def first(self, count: int) -> PixelStore:
        return OnDisk(self.images[:count], self.device)


def open_pixels(images: NDArray[np.uint8], device: torch.device, placement: Placement) -> PixelStore:
    """Bring a packed split, (N, 3, H, W), to where `placement` says."""
    if placement == "disk":
        return OnDisk(images, device)
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 2, 3, 1)))
    return InHost(pixels, device) if placement == "host" else Resident(pixels.to(device))


def choose_placement(size: int, device: torch.device, processes: int = 1) -> Placement:
    """The nearest place for `size` bytes that leaves half of its free memory to the rest; said where it is not the device's."""
    free = psutil.virtual_memory().available // processes
    if device.type == "cuda":
        if size < SHARE * torch.cuda.mem_get_info(device)[0]:
            return "resident"
        placement: Placement = "host" if size < SHARE * free else "disk"
    else:
        placement = "resident" if size < SHARE * free else "disk"
    if placement != "resident":
        where = "the host's memory" if placement == "host" else "the packed split on disk"
        logger.info("the photos (%.1f GB) are read from %s: they would take more than half of what is free", size / 1e9, where)
    return placement
