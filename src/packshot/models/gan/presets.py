"""Settings of the family `gan` that suit a kind of machine; the README tells what they reach."""

from collections.abc import Mapping

from packshot.models.config import Preset, PresetName
from packshot.models.gan.config import Config

PRESETS: Mapping[PresetName, Preset] = {
    "cpu-demo": Preset(sizes=(32, 64), model=Config(latent=128, width=36, learning_rate=1e-3), batch_size=64, steps=2300),
    "gpu-128": Preset(
        sizes=(128,),
        model=Config(latent=256, width=64, learning_rate=2.5e-4, penalty=2.0, half_life=10_000),
        batch_size=64,
        steps=60_000,
    ),
    "gpu-256": Preset(
        sizes=(256,),
        model=Config(latent=256, width=32, learning_rate=2e-4, penalty=15.0, half_life=10_000),
        batch_size=32,
        steps=200_000,
    ),
}
