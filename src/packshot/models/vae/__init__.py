"""The family `vae`."""

from packshot.models.vae.config import Config, FlowPrior, GaussianPrior, Polish

__all__ = ["Config", "FlowPrior", "GaussianPrior", "Polish"]
