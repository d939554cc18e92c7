"""Settings of the family `vae` that suit a kind of machine."""

from collections.abc import Mapping

from packshot.models.config import Preset, PresetName
from packshot.models.vae.config import Config, FlowPrior, Grid, Polish

PRESETS: Mapping[PresetName, Preset] = {
    # Guidance: more makes categories plainer than those of real photos, and their pictures more alike.
    "cpu-demo": Preset(
        sizes=(32, 64),
        model=Config(latent=64, width=16, prior=FlowPrior(kind="flow", guidance=1.25)),
        batch_size=64,
        steps=3110,
    ),
    # KL-f8 (Rombach et al. 2022) at half its width, and a transformer as large as DiT-S (Peebles and Xie 2023) on its 256 tokens.
    "gpu-128": Preset(
        sizes=(128,),
        model=Config(
            latent=Grid(factor=8, channels=4, blocks=2),
            width=64,
            share=50,
            learning_rate=4e-4,
            polish=Polish(share=15, learning_rate=2e-4, critic_learning_rate=4e-4, critic_width=64, penalty=0.3),
            prior=FlowPrior(kind="flow", share=35, width=384, blocks=12, learning_rate=4e-4, steps=50),
        ),
        batch_size=64,
        steps=100_000,
    ),
    # The same on 32 x 32 places, which the transformer reads four at a time.
    "gpu-256": Preset(
        sizes=(256,),
        model=Config(
            latent=Grid(factor=8, channels=4, blocks=2),
            width=64,
            share=50,
            learning_rate=4e-4,
            polish=Polish(share=15, learning_rate=2e-4, critic_learning_rate=4e-4, critic_width=64, penalty=1.0),
            prior=FlowPrior(kind="flow", share=35, width=384, blocks=12, patch=2, learning_rate=4e-4, steps=50),
        ),
        batch_size=32,
        steps=160_000,
    ),
}
