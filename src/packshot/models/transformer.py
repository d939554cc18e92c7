"""A flow over latents that are grids: a diffusion transformer (Peebles and Xie 2023) that predicts the velocity."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pixel_shuffle, scaled_dot_product_attention, silu

from packshot.models.blocks import ConditionEmbedding
from packshot.models.flow import TIME_FEATURES, Flow

PLACE_FEATURES = 64
HEAD = 64
"""Numbers of an attention head."""


def heads_of(width: int) -> int:
    """How many attention heads a token of `width` numbers has: of 64 numbers each or a few more, all alike."""
    return max(heads for heads in range(1, max(1, width // HEAD) + 1) if width % heads == 0)


def place_features(side: int) -> Tensor:
    """Where each place of a grid is, as sines and cosines of its row and its column: (side * side, PLACE_FEATURES)."""
    quarter = PLACE_FEATURES // 4
    frequencies = math.pi * torch.exp(math.log(side) * torch.arange(quarter) / quarter)
    angles = (torch.arange(side) + 0.5)[:, None] / side * frequencies
    line = torch.cat((angles.sin(), angles.cos()), dim=1)
    rows, columns = line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)
    return torch.cat((rows, columns), dim=2).flatten(0, 1)


def modulate(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Tokens (N, T, width), moved and stretched as their picture's condition says, (N, width) each."""
    return tokens * (1 + scale[:, None]) + shift[:, None]


class TransformerBlock(nn.Module):
    """Attention, then a layer for each token by itself; the condition sets norms and gates (AdaLN-zero, section 3.2).

    The gates begin at nothing, so that an untrained block changes nothing.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = heads_of(width)
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.look, self.tell = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.rise, self.fall = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Tokens (N, T, width) and a condition (N, width) to tokens."""
        shift, scale, gate, later_shift, later_scale, later_gate = self.modulation(condition).chunk(6, dim=1)
        tokens = tokens + gate[:, None] * self._attend(modulate(self.norm(tokens), shift, scale))
        raised = gelu(self.rise(modulate(self.norm(tokens), later_shift, later_scale)), approximate="tanh")
        answer: Tensor = tokens + later_gate[:, None] * self.fall(raised)
        return answer

    def _attend(self, tokens: Tensor) -> Tensor:
        query, key, value = self.look(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        heard: Tensor = self.tell(scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return heard


class GridFlow(Flow):
    """A flow over grids (N, channels, side, side): each square of `patch` x `patch` places is a token."""

    places: Tensor

    def __init__(
        self, shape: tuple[int, int, int], categories: int, *, width: int, blocks: int, patch: int, attributes: int = 0
    ) -> None:
        super().__init__(shape, categories)
        channels, side, _ = shape
        self.patch = patch
        self.enter = nn.Conv2d(channels, width, patch, patch)
        self.place = nn.Linear(PLACE_FEATURES, width)
        self.time = nn.Linear(TIME_FEATURES, width)
        self.category = ConditionEmbedding(categories + 1, attributes, width)
        self.mix = nn.Linear(width, width)
        self.blocks = nn.ModuleList(TransformerBlock(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, channels * patch**2)
        for last in (self.modulation, self.leave):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.register_buffer("places", place_features(side // patch), persistent=False)

    def forward(self, latents: Tensor, times: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
        condition = silu(self.mix(self.embed(times, categories, conditions)))
        grid = self.enter(latents)
        tokens = grid.flatten(2).transpose(1, 2) + self.place(self.places)
        for block in self.blocks:
            tokens = block(tokens, condition)
        tokens = self.leave(modulate(self.norm(tokens), *self.modulation(condition).chunk(2, dim=1)))
        velocity: Tensor = pixel_shuffle(tokens.transpose(1, 2).unflatten(2, grid.shape[2:]), self.patch)
        return velocity.float()
