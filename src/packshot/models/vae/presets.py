"""Settings of the family `vae` that suit a kind of machine; the README tells what they reach."""

from collections.abc import Mapping

from packshot.models.config import Preset, PresetName
from packshot.models.vae.config import Config, FlowPrior, Polish

PRESETS: Mapping[PresetName, Preset] = {
    "cpu-demo": Preset(sizes=(32, 64), model=Config(latent=64, width=16), batch_size=64, steps=3110),
    "gpu-128": Preset(
        sizes=(128,),
        model=Config(
            latent=512,
            width=48,
            learning_rate=1e-3,
            polish=Polish(critic_width=48),
            prior=FlowPrior(kind="flow", width=768, blocks=6),
        ),
        batch_size=64,
        steps=60_000,
    ),
    "gpu-256": Preset(
        sizes=(256,),
        model=Config(
            latent=512,
            width=32,
            learning_rate=1e-3,
            polish=Polish(critic_width=32),
            prior=FlowPrior(kind="flow", width=1024, blocks=6),
        ),
        batch_size=32,
        steps=120_000,
    ),
}
