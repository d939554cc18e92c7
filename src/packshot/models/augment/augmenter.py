"""The augmentation that stands between pictures and a critic, photos and drawn ones alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from packshot.models.augment.config import Adaptive, AnyAugment, Diff, Translation
from packshot.models.augment.transforms import (
    colour_chances,
    cut_out,
    frame_chances,
    jitter,
    recolour,
    reframe,
    rotate,
    translate,
    translate_blank,
    turn,
    turn_chances,
)
from packshot.models.base import Batch
from packshot.models.processes import count_processes, mean_of_all


class Augmenter(nn.Module):
    """Shows pictures as they are; its subclasses change them, differentiably and by the chances of the batch."""

    def compile(self, *_: object, **__: object) -> None:
        """Stay as it is: a compiled function draws other chances than torch's generator."""

    def forward(self, images: Tensor, batch: Batch) -> Tensor:
        """Pictures (N, C, S, S), one for each photo of `batch`, as the critic is to see them; float32 whatever the precision."""
        with torch.autocast(images.device.type, enabled=False):
            return self.change(images.float() if images.dtype in (torch.bfloat16, torch.float16) else images, batch)

    def change(self, images: Tensor, batch: Batch) -> Tensor:
        """What `forward` does, in the precision of `images`."""
        return images

    def hear(self, leads: Tensor, batch: Batch) -> None:
        """Take note, in the critic's own turn, of how it judged the batch's photos: (N,), positive where it was right.

        Of a critic whose 0 parts real from drawn these are its scores of photos; of a relativistic one, whose scores have no 0 of
        their own, how far they lie above those of the drawn pictures that they are paired with.
        """

    def signals(self) -> dict[str, Tensor]:
        """For the curves."""
        return {}


class Translating(Augmenter):
    """Shifts some pictures by whole pixels."""

    def __init__(self, config: Translation) -> None:
        super().__init__()
        self.chance = config.chance

    def change(self, images: Tensor, batch: Batch) -> Tensor:
        return translate(images, batch, self.chance)


class DiffAugmenter(Augmenter):
    """Brightness, saturation and contrast; a shift; a hole: DiffAugment (Zhao et al. 2020, section 3.2)."""

    def __init__(self, config: Diff) -> None:
        super().__init__()
        self.parts = frozenset(config.parts)

    def change(self, images: Tensor, batch: Batch) -> Tensor:
        if "colour" in self.parts:
            images = jitter(images, batch.uniform(3))
        if "translation" in self.parts:
            images = translate_blank(images, batch.uniform(2))
        if "cutout" in self.parts:
            images = cut_out(images, batch.uniform(2))
        return images


class AdaptiveAugmenter(Augmenter):
    """ADA's transforms, each with the chance `strength`, which follows the critic (Karras et al. 2020a, section 3)."""

    strength: Tensor
    right: Tensor
    heard: Tensor

    def __init__(self, config: Adaptive) -> None:
        super().__init__()
        self.config, self.parts = config, frozenset(config.parts)
        self.register_buffer("strength", torch.zeros(()))
        self.register_buffer("right", torch.zeros(()))
        """The sum of signs since the last move, over `heard` photos."""
        self.register_buffer("heard", torch.zeros(()))

    def change(self, images: Tensor, batch: Batch) -> Tensor:
        nothing = torch.zeros_like(self.strength)
        blit, geometry = (self.strength if part in self.parts else nothing for part in ("blit", "geometry"))
        if {"blit", "geometry"} & self.parts:
            quarters, angles = turn_chances(batch, blit, geometry)
            frame = frame_chances(batch, images.shape[-1], blit, geometry)
            if "geometry" in self.parts:
                images = rotate(turn(images, quarters[:, 0]), angles[:, 0])
                images = rotate(turn(reframe(images, frame), quarters[:, 1]), angles[:, 1])
            else:
                images = reframe(turn(images, quarters[:, 0]), frame)
        return recolour(images, colour_chances(batch, self.strength)) if "colour" in self.parts else images

    @torch.no_grad()
    def hear(self, leads: Tensor, batch: Batch) -> None:
        """Move the chance once every `every` steps' photos have been judged, however these are shared out."""
        config, whole = self.config, batch.whole or len(batch)
        told = torch.stack((leads.detach().sign().sum(), torch.full_like(self.heard, len(leads))))
        together = mean_of_all(told) * count_processes()
        self.right += together[0]
        self.heard += together[1]
        due = self.heard >= config.every * whole
        way = (self.right / self.heard - config.target).sign() * self.heard / config.images
        self.strength.add_(torch.where(due, way, torch.zeros_like(way))).clamp_(0, config.most)
        self.right.mul_(~due)
        self.heard.mul_(~due)

    def signals(self) -> dict[str, Tensor]:
        return {"augmentation": self.strength.clone()}


def build_augmenter(config: AnyAugment | None) -> Augmenter:
    """What a section of params.yaml stands for; None leaves pictures as they are."""
    match config:
        case Translation():
            return Translating(config)
        case Diff():
            return DiffAugmenter(config)
        case Adaptive():
            return AdaptiveAugmenter(config)
        case None:
            return Augmenter()
