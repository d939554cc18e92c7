"""A conditional flow over latents: the prior that makes a VAE's decoder worth sampling.

Flow matching (Lipman et al. 2023, equation 23 with sigma_min = 0) with classifier-free guidance (Ho and Salimans 2022).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from packshot.models.base import Batch
from packshot.models.blocks import ConditionEmbedding

TIME_FEATURES = 64


class Flow(nn.Module, ABC):
    """The velocity that carries standard normal noise (time 0) to standardised latents of what is asked for (time 1)."""

    time: nn.Linear
    category: ConditionEmbedding
    shift: Tensor
    scale: Tensor
    frequencies: Tensor

    def __init__(self, shape: tuple[int, ...], categories: int) -> None:
        super().__init__()
        self.anything = categories
        """The category number that stands for none in particular."""
        self.register_buffer("shift", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))
        half = TIME_FEATURES // 2
        self.register_buffer("frequencies", torch.exp(math.log(1000.0) * torch.arange(half) / half), persistent=False)

    def standardise(self, mean: Tensor, variance: Tensor) -> None:
        """Set the moments of the latents, one of each for every number."""
        self.shift.copy_(mean)
        self.scale.copy_(variance.sqrt())

    @abstractmethod
    def forward(self, latents: Tensor, times: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
        """The velocity, float32 and shaped as `latents`, at times (N,) in [0, 1]."""

    def embed(self, times: Tensor, categories: Tensor, conditions: Tensor | None) -> Tensor:
        """Time and what is asked for as one condition, (N, width)."""
        angles = times[:, None] * self.frequencies
        return silu(self.time(torch.cat((angles.sin(), angles.cos()), dim=1)) + self.category(categories, conditions))

    def loss(self, latents: Tensor, batch: Batch, *, drop: float) -> Tensor:
        """The mean squared error of the velocity of `latents`, those of the batch's photos, at a random time.

        With probability `drop` the category is forgotten, and the attributes with it.
        """
        target, conditions = (latents - self.shift) / self.scale, batch.conditions
        noise, times, forgotten = batch.normal(*target.shape[1:]), batch.uniform(), batch.uniform() < drop
        categories = batch.categories.masked_fill(forgotten, self.anything)
        if conditions is not None:
            conditions = conditions.masked_fill(forgotten[:, None], 0.0)
        along = times.view(-1, *(1 for _ in target.shape[1:]))
        velocity = self((1 - along) * noise + along * target, times, categories, conditions)
        error: Tensor = (velocity - (target - noise)).square().mean()
        return error

    def transport(
        self, noise: Tensor, categories: Tensor, conditions: Tensor | None = None, *, steps: int, guidance: float
    ) -> Tensor:
        """Carry noise, a row of it for each picture, to latents of what is asked for by `steps` steps of Euler.

        The velocity is that of nothing in particular plus `guidance` times the way from there to that of category and attributes
        together: 1 is the plain flow.
        """
        latents, nothing = noise, torch.full_like(categories, self.anything)
        asked = None if conditions is None else torch.cat((torch.zeros_like(conditions), conditions))
        for step in range(steps):
            times = torch.full((2 * len(latents),), step / steps, device=latents.device)
            both = self(torch.cat((latents, latents)), times, torch.cat((nothing, categories)), asked)
            free, bound = both.chunk(2)
            latents = latents + (free + guidance * (bound - free)) / steps
        return latents * self.scale + self.shift


class Block(nn.Module):
    """A residual layer that sees the condition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.rise, self.fall = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, state: Tensor, condition: Tensor) -> Tensor:
        answer: Tensor = state + self.fall(silu(self.rise(self.norm(state + condition))))
        return answer


class VectorFlow(Flow):
    """A flow over vectors: residual layers."""

    def __init__(self, latent: int, categories: int, *, width: int, blocks: int, attributes: int = 0) -> None:
        super().__init__((latent,), categories)
        self.enter = nn.Linear(latent, width)
        self.time = nn.Linear(TIME_FEATURES, width)
        self.category = ConditionEmbedding(categories + 1, attributes, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, latent)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, latents: Tensor, times: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
        condition = self.embed(times, categories, conditions)
        state = self.enter(latents)
        for block in self.blocks:
            state = block(state, condition)
        velocity: Tensor = self.leave(silu(self.norm(state)))
        return velocity.float()
