"""One Gaussian per category over the latents: a prior that costs no training (ex-post density estimation, Ghosh et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ClassGaussians(nn.Module):
    """A mean and a covariance factor for each category."""

    means: Tensor
    factors: Tensor

    def __init__(self, latent: int, categories: int) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(categories, latent))
        self.register_buffer("factors", torch.eye(latent).repeat(categories, 1, 1))

    def fit(self, means: Tensor, variances: Tensor, categories: Tensor) -> None:
        """Fit the moments of posterior samples, given each posterior's mean and variance, (N, latent), in closed form.

        A category's covariance is shrunk towards the one within all categories as if `latent` more photos had shown that one, so
        that a category with few photos is as safe to sample as one with many.
        """
        where, dtype = means.device, torch.float64
        means, variances = means.to(dtype), variances.to(dtype)
        latent = means.shape[1]
        pooled = torch.zeros(latent, latent, dtype=dtype, device=where)
        spreads: list[Tensor] = []
        for category in range(len(self.means)):
            mine = categories == category
            centre = means[mine].mean(dim=0) if bool(mine.any()) else means.mean(dim=0)
            self.means[category] = centre
            apart = means[mine] - centre
            spread = apart.T @ apart + torch.diag(variances[mine].sum(dim=0))
            spreads.append(spread)
            pooled += spread
        pooled = pooled / len(means)
        for category, spread in enumerate(spreads):
            count = int((categories == category).sum())
            self.factors[category] = torch.linalg.cholesky((spread + latent * pooled) / (count + latent))

    def draw(self, noise: Tensor, categories: Tensor, *, spread: float) -> Tensor:
        """Turn standard normal noise (N, latent) into latents of `categories`, at `spread` times the fitted deviation."""
        return self.means[categories] + spread * (self.factors[categories] @ noise[:, :, None]).squeeze(2)
