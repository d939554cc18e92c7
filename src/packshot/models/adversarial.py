"""The adversarial losses, shared by the GAN and by the polish of the VAE's decoder."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot, softplus

from packshot.models.base import Batch, Loss
from packshot.models.blocks import Critic


def relativistic_loss(wanted: Tensor, unwanted: Tensor) -> Tensor:
    """The mean of softplus(unwanted - wanted) over pairs of scores, (N,) each.

    The relativistic pairing GAN (Jolicoeur-Martineau 2019; Huang et al. 2024, equation 2). The critic wants its scores of real
    photos above those of drawn ones; the generator wants the opposite.
    """
    return softplus(unwanted - wanted).mean()


def gradient_penalty(critic: Critic, images: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
    """Half the critic's mean squared gradient norm at `images`: R1 on photos, R2 on drawn pictures (Mescheder et al. 2018).

    The slope is that of all scores' sum: where a critic compares pictures, it holds what each does to the others' scores too.
    """
    images = images.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(images, categories, conditions).sum(), images, create_graph=True)
    return slope.square().sum(dim=(1, 2, 3)).mean() / 2


def critic_loss(critic: Critic, batch: Batch, drawn: Tensor, *, translation: float) -> Loss:
    """What the critic lowers: its pairing of `batch` with pictures drawn for it, both shifted by `translate` first."""
    drawn = translate(drawn, batch, translation)
    real_scores = critic(translate(batch.images, batch, translation), batch.categories, batch.conditions)
    drawn_scores = critic(drawn, batch.categories, batch.conditions)
    return Loss({"relativistic": relativistic_loss(real_scores, drawn_scores)}, compare_scores(real_scores, drawn_scores))


def compare_scores(real: Tensor, drawn: Tensor) -> dict[str, Tensor]:
    """The signals of a critic's turn: its mean scores, and how often a real photo's, (N,), lies above its drawn pair's, (N,)."""
    return {"real": real.detach().mean(), "drawn": drawn.detach().mean(), "wins": (real > drawn).float().mean()}


def penalty_loss(critic: Critic, batch: Batch, drawn: Tensor, *, translation: float, weight: float) -> Loss:
    """R1 and R2 of the critic, times `weight`, at `batch` and at pictures drawn for it, both shifted by `translate`."""
    drawn = translate(drawn, batch, translation)
    asked = batch.categories, batch.conditions
    return Loss(
        {
            "r1": weight * gradient_penalty(critic, translate(batch.images, batch, translation), *asked),
            "r2": weight * gradient_penalty(critic, drawn, *asked),
        }
    )


def translate(images: Tensor, batch: Batch, chance: float) -> Tensor:
    """Shift each picture, with probability `chance`, by up to an eighth of its side along both axes; the border is repeated.

    Differentiable augmentation (Zhao et al. 2020, Karras et al. 2020a). The shift is a product with selection matrices, whose
    gradients are products again: deterministic on every device, and twice differentiable.
    """
    if not chance:
        return images
    side = images.shape[-1]
    reach = side // 8
    chances = batch.uniform(3)
    shifts = (chances[:, :2] * (2 * reach + 1)).long().clamp_max(2 * reach) - reach
    shifts = shifts * (chances[:, 2:] < chance)
    sources = (torch.arange(side, device=images.device) + shifts.T[:, :, None]).clamp(0, side - 1)
    rows, columns = one_hot(sources, side).to(images.dtype)[:, :, None]
    shifted: Tensor = rows @ images @ columns.transpose(-1, -2)
    return shifted
