"""One Gaussian per category over the latents: a prior that costs no training (ex-post density estimation, Ghosh et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

RIDGE = 1.0
"""Photos' worth of doubt about what an attribute moves."""


class ClassGaussians(nn.Module):
    """A mean and a covariance factor for each category.

    Where there are attributes (`sizes`: how many columns each takes), what is known of them moves the mean by one linear map for
    all categories, and what they explain is taken out of the covariance.
    """

    means: Tensor
    factors: Tensor
    slopes: Tensor
    centres: Tensor
    residuals: Tensor
    owners: Tensor

    def __init__(self, latent: int, categories: int, sizes: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.attributes = sum(sizes)
        self.register_buffer("means", torch.zeros(categories, latent))
        self.register_buffer("factors", torch.eye(latent).repeat(categories, 1, 1))
        if self.attributes:
            self.register_buffer("slopes", torch.zeros(self.attributes, latent))
            self.register_buffer("centres", torch.zeros(categories, self.attributes))
            self.register_buffer("residuals", torch.eye(latent).repeat(categories, 1, 1))
            owners = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
            self.register_buffer("owners", owners, persistent=False)

    def fit(self, means: Tensor, variances: Tensor, categories: Tensor, conditions: Tensor) -> None:
        """Fit the moments of posterior samples, given each posterior's mean and variance, (N, latent), in closed form.

        A category's covariance is shrunk towards the one within all categories as if `latent` more photos had shown that one, so
        that a category with few photos is as safe to sample as one with many.
        """
        means, variances = means.double(), variances.double()
        for category in range(len(self.means)):
            mine = categories == category
            self.means[category] = means[mine].mean(dim=0) if bool(mine.any()) else means.mean(dim=0)
        self.factors.copy_(self._factors(means, variances, categories))
        if self.attributes:
            conditions = conditions.double()
            known = self._known(conditions)
            totals = conditions.new_zeros(self.centres.shape).index_add_(0, categories, conditions)
            counts = conditions.new_zeros(self.centres.shape).index_add_(0, categories, known.double())
            self.centres.copy_(totals / counts.clamp_min(1))
            told = (conditions - self.centres[categories]) * known
            ridge = RIDGE * torch.eye(self.attributes, dtype=told.dtype, device=told.device)
            apart = means - self.means[categories]
            self.slopes.copy_(torch.linalg.solve(told.T @ told + ridge, told.T @ apart))
            self.residuals.copy_(self._factors(means - told @ self.slopes.double(), variances, categories))

    def draw(self, noise: Tensor, categories: Tensor, conditions: Tensor | None = None, *, spread: float) -> Tensor:
        """Turn standard normal noise (N, latent) into latents of what is asked for, at `spread` times the fitted deviation."""
        centres, factors = self.means[categories], self.factors[categories]
        if self.attributes and conditions is not None:
            known = self._known(conditions)
            centres = centres + ((conditions - self.centres[categories]) * known) @ self.slopes
            factors = torch.where(known.any(dim=1)[:, None, None], self.residuals[categories], factors)
        return centres + spread * (factors @ noise[:, :, None]).squeeze(2)

    def _known(self, conditions: Tensor) -> Tensor:
        """Of which columns the attribute is known, bool (N, D)."""
        told = conditions.new_zeros(len(conditions), int(self.owners[-1]) + 1).index_add_(1, self.owners, conditions.abs())
        return told[:, self.owners] > 0

    def _factors(self, means: Tensor, variances: Tensor, categories: Tensor) -> Tensor:
        """The Cholesky factor of each category's covariance, (categories, latent, latent)."""
        latent = means.shape[1]
        pooled = means.new_zeros(latent, latent)
        spreads: list[Tensor] = []
        for category in range(len(self.means)):
            mine = categories == category
            centre = means[mine].mean(dim=0) if bool(mine.any()) else means.mean(dim=0)
            apart = means[mine] - centre
            spread = apart.T @ apart + torch.diag(variances[mine].sum(dim=0))
            spreads.append(spread)
            pooled += spread
        pooled = pooled / len(means)
        counts = [int((categories == category).sum()) for category in range(len(spreads))]
        shrunk = [(spread + latent * pooled) / (count + latent) for spread, count in zip(spreads, counts, strict=True)]
        return torch.stack([torch.linalg.cholesky(covariance) for covariance in shrunk])
