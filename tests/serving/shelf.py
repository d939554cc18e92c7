"""Tiny models as promote leaves them: weights, a card and a live.json, without a training."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from packshot.models import AnyModel
from packshot.models.base import ImageModel
from packshot.models.gan import Config as GanConfig
from packshot.models.gan import Search
from packshot.models.stylegan2 import Config as StyleGAN2Config
from packshot.models.vae import Config as VaeConfig
from packshot.models.vae import FlowPrior
from packshot.models.weights import WeightsCard, save_weights
from packshot.records import Condition, Estimate, ImageSpec, Live, Score, ServiceCard

CATEGORIES = ("boot", "dress", "mug", "šaty")
IMAGE = ImageSpec(size=16)
DIGEST = "d" * 64
CONDITIONS = (
    Condition(name="colour", kind="label", values=("navy", 'red & "white"', "weiß")),
    Condition(name="price", kind="number", mean=20.0, deviation=5.0),
)

VAE = VaeConfig(latent=8, width=4, polish=None, prior=FlowPrior(width=16, blocks=1, steps=3))
GAN = GanConfig(latent=8, width=4, search=Search(steps=3, candidates=16))
STYLEGAN2 = StyleGAN2Config(latent=8, capacity=64, widest=8, truncation=0.7, search=Search(steps=3, candidates=16))


@dataclass(frozen=True)
class Shelf:
    """A folder of versions and the record that says which is served."""

    root: Path

    @property
    def live(self) -> Path:
        return self.root / "live.json"

    def put(
        self,
        version: int,
        config: AnyModel = VAE,
        *,
        categories: tuple[str, ...] = CATEGORIES,
        conditions: tuple[Condition, ...] = (),
    ) -> ServiceCard:
        """Weights and card of a version whose chances come from its number."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(version)
            model = config.build(IMAGE, categories, conditions)
            # An untrained flow draws one picture. StyleGAN2's differ as they are, and each of its layers has a scale of its own.
            for name, parameter in model.named_parameters() if config.family != "stylegan2" else ():
                if name.split(".")[0] in model.deployed:
                    torch.nn.init.normal_(parameter, std=0.3)
        return self.put_model(version, model)

    def put_model(self, version: int, model: ImageModel) -> ServiceCard:
        own = WeightsCard(
            config=model.config,
            image=model.image,
            categories=model.categories,
            conditions=model.conditions,
            run="tiny",
            step=1,
            dataset=DIGEST,
            params=DIGEST,
            seed=0,
        )
        sha256 = save_weights(self.weights(version), model, own)
        card = ServiceCard(
            model="packshot",
            version=version,
            sha256=sha256,
            family=model.config.family,
            image=model.image,
            categories=model.categories,
            conditions=model.conditions,
            dataset=DIGEST,
            data_version="",
            git_commit="0" * 40,
            run="tiny",
            scores=(Score(metric="psnr", estimate=Estimate(value=20.5, low=20.0, high=21.0, n=100)),),
        )
        card.write(self.card(version))
        return card

    def weights(self, version: int) -> Path:
        return self.root / f"{version}.safetensors"

    def card(self, version: int) -> Path:
        return self.root / f"{version}.json"

    def record(self, version: int, epoch: int) -> Live:
        """What live.json says when this version is served."""
        sha256 = hashlib.sha256(self.weights(version).read_bytes()).hexdigest()
        return Live(
            epoch=epoch,
            model="packshot",
            version=version,
            sha256=sha256,
            weights=str(self.weights(version)),
            card=str(self.card(version)),
        )

    def serve(self, version: int, epoch: int) -> Live:
        live = self.record(version, epoch)
        live.write(self.live)
        return live
