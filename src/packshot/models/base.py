"""What a family of generators owes the trainer, the evaluator and the service."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from packshot.models.config import ModelConfig
from packshot.records import Condition, ImageSpec


@dataclass(frozen=True, slots=True)
class Loss:
    """What one turn of a phase came to: the scalar `terms` whose sum is lowered, and what it saw on the way.

    `signals` are scalars without a gradient, for the curves and the watch. Those with an agreed meaning: `real` and `drawn`, a
    critic's mean scores; `wins`, the share of its pairs in which it is right; `active_units`, of a VAE's latents.
    """

    terms: Mapping[str, Tensor]
    signals: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """The sum of the terms."""
        return torch.stack(list(self.terms.values())).sum()


@dataclass(frozen=True, slots=True)
class Batch:
    """Training photos: images float32 in [-1, 1], (N, C, H, W); categories int64, (N,).

    `rows` (int64, (N,)) says which training photos they are and `flipped` (bool, (N,)) which of them are mirrored. `conditions`
    (float32, (N, D)) says what is known of their attributes; None where the model is to know of none.

    Where a step's photos are shared out, among processes or one part after the other, this is the part from `first` on of the
    `whole` photos. A loss takes its chances from here: every part draws them for the whole and keeps its own, so that it does not
    matter how a step is shared out.
    """

    images: Tensor
    categories: Tensor
    rows: Tensor
    flipped: Tensor
    conditions: Tensor | None = None
    first: int = 0
    whole: int = 0
    """Photos of the step; 0 where these are all."""

    def __len__(self) -> int:
        return len(self.categories)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal noise, float32 (N, *shape), by torch's global generator."""
        return self._mine(torch.randn(self.whole or len(self), *shape, device=self.categories.device))

    def uniform(self, *shape: int) -> Tensor:
        """Uniform chances in [0, 1), float32 (N, *shape), by torch's global generator."""
        return self._mine(torch.rand(self.whole or len(self), *shape, device=self.categories.device))

    def _mine(self, drawn: Tensor) -> Tensor:
        return drawn[self.first : self.first + len(self)]


@dataclass(frozen=True, slots=True)
class Optimizer:
    """How one optimiser moves its parameters; the rate warms up, then follows a half cosine down to `final_share`.

    The warm-up takes a tenth of the phase's steps at most, so that short runs learn too.
    """

    learning_rate: float
    betas: tuple[float, float]
    weight_decay: float = 0.0
    warmup_steps: int = 0
    final_share: float = 1.0
    clip_norm: float | None = None
    kind: Literal["adam", "adamw"] = "adam"


@dataclass(frozen=True, slots=True)
class Phase:
    """One optimiser's turn: the parts that it moves, and the terms whose sum it lowers.

    A phase is due in the steps from `start` to `stop` (shares of the run's steps), every `every`-th of them. Phases that name the
    same `optimizer` share its state.
    """

    name: str
    modules: tuple[nn.Module, ...]
    loss: Callable[[Batch], Loss]
    optimizer: Optimizer
    shares: str = ""
    """The name of the optimiser state; the phase's own name where empty."""
    start: float = 0.0
    stop: float = 1.0
    every: int = 1
    second_order: bool = False
    """Whether the loss holds a gradient, as R1 does: such a turn is never compiled."""
    batch_size: int | None = None
    averaged: tuple[nn.Module, ...] = field(default=())
    """The parts whose moving average is what gets deployed; they take it over themselves once the phase is through."""
    half_life: float = 10_000.0
    """Of the average, in images; 5 % of the images that the phase has seen while that is less (Karras et al. 2020a)."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Something computed in closed form from every training photo, once its share `at` of the run's steps is reached.

    `run` gets the photos in order and in bounded batches, unflipped first and then flipped where the run flips. A resumed run
    repeats the fits that lie behind it, so they may rest only on parts that no longer move.
    """

    name: str
    run: Callable[[Callable[[], Iterator[Batch]]], None]
    at: float


class ImageModel(nn.Module, ABC):
    """A generator of pictures, conditional on the category and on attributes where there are any.

    Pixels are float32 in [-1, 1], shaped (N, C, H, W). Conditions are float32 (N, D), as `images.conditions` encodes them: zeros
    stand for an attribute that is not known, None for all of them.
    """

    image: ImageSpec
    categories: tuple[str, ...]
    conditions: tuple[Condition, ...]
    config: ModelConfig
    noise_shape: tuple[int, ...]
    """Of the noise that one new picture is drawn from."""
    latent_size: int
    """How many numbers a picture is told in: PCA with as many is what its reconstructions must stand beside."""
    encodes: bool
    """Whether `reconstruct` encodes a photo; False where it searches for it, which is costly and says less."""
    deployed: ClassVar[tuple[str, ...]]
    """The children that sampling and reconstructing need: what the weights hold."""
    matures: float = 0.0
    """The share of a run's steps from which on samples mean something; no weights are kept before."""

    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """The turns of one training step, in order."""

    def fits(self) -> tuple[Fit, ...]:
        """What is computed from the training photos during a run rather than learnt; nothing by default."""
        return ()

    def critic_layers(self) -> tuple[nn.Module, ...]:
        """The layers of the critic, from the picture on, for those who would keep the first of them as they are (FreezeD)."""
        return ()

    def finish(self, photos: Callable[[], Iterator[Batch]]) -> None:
        """Fit in closed form what is deployed but not trained, before weights are kept or pictures drawn."""

    def sample(self, categories: Tensor, seeds: Sequence[int], conditions: Tensor | None = None) -> Tensor:
        """Draw one new picture for each (category, seed, condition): categories int64 (N,), seeds N integers in [0, 2**63).

        A picture's chances come from its own seed alone, whatever stands beside it in the batch.
        """
        return self.draw(seeded_normal(seeds, self.noise_shape).to(categories.device), categories, conditions)

    @abstractmethod
    def draw(self, noise: Tensor, categories: Tensor, conditions: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        """Draw one new picture for each row of standard normal noise, float32 (N, *noise_shape).

        `truncation` in (0, 1] pulls what is drawn towards the most likely pictures of what is asked for; 1 leaves it as it is.
        """

    @abstractmethod
    def reconstruct(self, images: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Draw each of `images` again, as nearly as the model can. A GAN searches its latents."""


def seeded_normal(seeds: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise (N, *shape), float32 on the CPU; row i depends on seeds[i] alone, on all of its 63 bits.

    Philox 4x64 (Salmon et al., 2011), keyed by the seed: torch's own generator on the CPU keeps only the lower 32 bits of a seed.
    """
    rows = [np.random.Generator(np.random.Philox(key=seed)).standard_normal(shape, np.float32) for seed in seeds]
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty((0, *shape))
