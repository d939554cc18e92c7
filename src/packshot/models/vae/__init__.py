"""The family `vae`."""

from packshot.models.vae.config import Config, FlowPrior, GaussianPrior, Grid, Perceptual, Polish

__all__ = ["Config", "FlowPrior", "GaussianPrior", "Grid", "Perceptual", "Polish"]
