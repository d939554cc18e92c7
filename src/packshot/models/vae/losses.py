"""The terms of a VAE's loss, by themselves."""

from __future__ import annotations

from torch import Tensor

from packshot.models.base import Batch
from packshot.models.processes import gather, mean_of_all


def posterior_sample(mean: Tensor, log_variance: Tensor, batch: Batch) -> Tensor:
    """A sample of N(mean, exp(log_variance)) by the chances of `batch`: reparameterisation (Kingma and Welling 2014)."""
    return mean + batch.normal(*mean.shape[1:]) * (log_variance / 2).exp()


def active_units(mean: Tensor) -> Tensor:
    """How many numbers of the posterior's mean, (N, ...), say something of the photo: their variance exceeds 0.01.

    Burda, Grosse and Salakhutdinov 2016, section 5.2, over one batch, of all processes.
    """
    return (gather(mean.detach().flatten(1)).var(dim=0, correction=0) > 0.01).sum().float()


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) in nats over all numbers of a latent, (N, ...) to (N,).

    Kingma and Welling 2014, appendix B.
    """
    return (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(dim=1) / 2


def calibrated_error(drawn: Tensor, images: Tensor) -> Tensor:
    """Half the logarithm of the mean squared error of the batch, as all processes share it.

    Up to a constant it is the negative log likelihood of one number of a picture under a Gaussian whose variance, shared by the
    batch, is the best one: the mean squared error itself (Rybkin et al. 2021).
    """
    return mean_of_all((drawn - images).square().mean()).clamp_min(1e-8).log() / 2
