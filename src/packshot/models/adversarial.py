"""The adversarial losses, shared by the GANs and by the polish of the VAE's decoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, relu, softplus

from packshot.models.base import Batch, Loss
from packshot.models.config import Game

Augment = Callable[[Tensor, Batch], Tensor]
"""What a critic sees of pictures, one for each photo of a batch."""
Scorer = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""A critic: pictures (N, C, H, W), categories and what is known of attributes to scores (N,)."""


def relativistic_loss(wanted: Tensor, unwanted: Tensor) -> Tensor:
    """The mean of softplus(unwanted - wanted) over pairs of scores, (N,) each.

    The relativistic pairing GAN (Jolicoeur-Martineau 2019; Huang et al. 2024, equation 2). The critic wants its scores of real
    photos above those of drawn ones; the generator wants the opposite.
    """
    return softplus(unwanted - wanted).mean()


def critic_objective(game: Game, real: Tensor, drawn: Tensor) -> Tensor:
    """What a critic lowers, from its scores of photos and of drawn pictures, (N,) each.

    `bce` and `non_saturating`: the cross entropy of telling them apart (Goodfellow et al. 2014, equation 1, negated). `hinge`:
    how far scores fall short of 1 and -1 (Lim and Ye 2017; Miyato et al. 2018, equation 16). `relativistic`: `relativistic_loss`.
    """
    match game:
        case "relativistic":
            return relativistic_loss(real, drawn)
        case "hinge":
            return relu(1 - real).mean() + relu(1 + drawn).mean()
        case "bce" | "non_saturating":
            return softplus(-real).mean() + softplus(drawn).mean()


def generator_objective(game: Game, drawn: Tensor, real: Tensor) -> Tensor:
    """What a generator lowers, from a critic's scores of its pictures and of photos, (N,) each; these, where it is relativistic.

    `bce`: log(1 - D), the minimax game itself, which hardly moves while the critic is sure (Goodfellow et al. 2014, equation 1).
    `non_saturating`: -log D, the cross entropy with the labels swapped (their section 3), as DCGAN is trained. `hinge`: the
    negated score (Miyato et al. 2018, equation 17).
    """
    match game:
        case "relativistic":
            return relativistic_loss(drawn, real)
        case "hinge":
            return -drawn.mean()
        case "bce":
            return -softplus(drawn).mean()
        case "non_saturating":
            return softplus(-drawn).mean()


def gradient_penalty(critic: Scorer, images: Tensor, categories: Tensor, conditions: Tensor | None = None) -> Tensor:
    """Half the critic's mean squared gradient norm at `images`: R1 on photos, R2 on drawn pictures (Mescheder et al. 2018).

    The slope is that of all scores' sum: where a critic compares pictures, it holds what each does to the others' scores too.
    """
    images = images.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(images, categories, conditions).sum(), images, create_graph=True)
    return slope.square().sum(dim=(1, 2, 3)).mean() / 2


def critic_loss(critic: Scorer, batch: Batch, drawn: Tensor, *, augment: Augment) -> Loss:
    """What a relativistic critic lowers at `batch` and at pictures drawn for it, as `augment` shows them."""
    drawn_scores = critic(augment(drawn, batch), batch.categories, batch.conditions)
    real_scores = critic(augment(batch.images, batch), batch.categories, batch.conditions)
    return Loss({"relativistic": relativistic_loss(real_scores, drawn_scores)}, compare_scores(real_scores, drawn_scores))


def generator_loss(critic: Scorer, batch: Batch, drawn: Tensor, *, augment: Augment, game: Game = "relativistic") -> Tensor:
    """What the generator lowers with `drawn`, as `augment` shows them; photos are scored where the game compares with them."""
    asked = batch.categories, batch.conditions
    real: Tensor = torch.zeros(())
    if game == "relativistic":
        with torch.no_grad():
            real = critic(augment(batch.images, batch), *asked)
    return generator_objective(game, critic(augment(drawn, batch), *asked), real)


def recognition_loss(every: Tensor, categories: Tensor) -> Tensor:
    """The cross entropy of the categories, int64 (N,), of photos whose scores as `every` category are (N, categories).

    It teaches a projection critic what each category looks like, which pairs of one category alone teach it slowly; the generator
    hears of it through the critic's scores. The critic's half of an auxiliary classifier (Odena et al. 2017, equation 3).
    """
    return cross_entropy(every, categories)


def compare_scores(real: Tensor, drawn: Tensor) -> dict[str, Tensor]:
    """The signals of a critic's turn: its mean scores, and how often a real photo's, (N,), lies above its drawn pair's, (N,)."""
    return {"real": real.detach().mean(), "drawn": drawn.detach().mean(), "wins": (real > drawn).float().mean()}


def penalty_loss(critic: Scorer, batch: Batch, drawn: Tensor | None, *, augment: Augment, weight: float) -> Loss:
    """R1 of the critic at `batch`, and R2 at pictures drawn for it if there are any, as `augment` shows them; times `weight`."""
    asked = batch.categories, batch.conditions
    shown = None if drawn is None else augment(drawn, batch)
    terms = {"r1": weight * gradient_penalty(critic, augment(batch.images, batch), *asked)}
    if shown is not None:
        terms["r2"] = weight * gradient_penalty(critic, shown, *asked)
    return Loss(terms)
