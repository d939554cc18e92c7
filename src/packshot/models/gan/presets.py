"""Settings of the family `gan` that suit a kind of machine.

Those for a GPU follow Huang et al. (2024): a quarter of the rate at the end, a gamma that grows with the picture's side. ADA's
target is over pairs: where the scores of photos and of drawn pictures are two equal normal distributions, 0.77 for the signs of
their pairs is what 0.6 is for the signs of photos (Karras et al. 2020a).
"""

from collections.abc import Mapping

from packshot.models.augment.config import Adaptive
from packshot.models.config import Preset, PresetName
from packshot.models.gan.config import Config

_R3GAN = Config(latent=128, width=64, learning_rate=2e-4, final_share=0.25, augment=Adaptive(target=0.77), half_life=20_000)
"""What does not depend on the picture's side."""

PRESETS: Mapping[PresetName, Preset] = {
    "cpu-demo": Preset(sizes=(32, 64), model=Config(latent=128, width=32, learning_rate=1e-3), batch_size=64, steps=1870),
    "gpu-128": Preset(
        sizes=(128,),
        model=_R3GAN.model_copy(update={"penalty": 4.0}),
        batch_size=64,
        steps=60_000,
    ),
    "gpu-256": Preset(
        sizes=(256,),
        model=_R3GAN.model_copy(update={"penalty": 15.0}),
        batch_size=64,
        steps=120_000,
    ),
}
