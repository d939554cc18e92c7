"""Settings of the family `stylegan2` that suit a kind of machine; the README tells what they reach."""

from collections.abc import Mapping

from packshot.models.config import Preset, PresetName
from packshot.models.stylegan2.config import Config

PRESETS: Mapping[PresetName, Preset] = {
    "cpu-demo": Preset(sizes=(32,), model=Config(latent=64, capacity=512, widest=64), batch_size=64, steps=1100),
    "gpu-128": Preset(
        sizes=(128,),
        model=Config(latent=512, capacity=16_384, widest=512, penalty=0.10, half_life=10_000),
        batch_size=32,
        steps=160_000,
    ),
    "gpu-256": Preset(
        sizes=(256,),
        model=Config(latent=512, capacity=16_384, widest=512, penalty=0.82, half_life=5_000),
        batch_size=16,
        steps=320_000,
    ),
}
