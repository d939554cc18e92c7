"""Settings of the family `stylegan2` that suit a kind of machine.

Rate, game and gamma of that for a CPU were chosen by 120 steps without augmentation, on clothing at 32 px: a KID of 1.09 and a
class consistency of 0.21, against 1.65 and 0.09 with the papers' rate, their game and a gamma of 0.01. All of its steps, some 430
CPU seconds, reach 0.08 and 0.51, where real photos have 0.63.

Those for a GPU follow StyleGAN2-ADA's published rule for one card, by the picture's side r and the batch: gamma is
0.0002 r^2 / batch, and the average's half-life 10 / 32 thousand images for each of the batch. No GPU has trained them yet.
"""

from collections.abc import Mapping

from packshot.models.augment.config import Adaptive, Translation
from packshot.models.config import Preset, PresetName
from packshot.models.stylegan2.config import Config

_ADA = Config(
    latent=512,
    capacity=16_384,
    widest=512,
    learning_rate=0.0025,
    final_share=1.0,
    game="non_saturating",
    augment=Adaptive(kind="adaptive", target=0.6),
    penalty_every=16,
    path_length=2.0,
    path_length_every=8,
)
"""What does not depend on the picture's side."""

PRESETS: Mapping[PresetName, Preset] = {
    "cpu-demo": Preset(
        sizes=(32,),
        model=Config(
            latent=64,
            capacity=512,
            widest=64,
            learning_rate=0.02,
            final_share=0.1,
            game="relativistic",
            augment=Translation(kind="translation", chance=0.3),
            penalty=1.0,
            penalty_every=8,
            path_length=0.0,
        ),
        batch_size=64,
        steps=1600,
    ),
    "gpu-128": Preset(
        sizes=(128,),
        model=_ADA.model_copy(update={"penalty": 0.10, "half_life": 10_000.0}),
        batch_size=32,
        steps=160_000,
    ),
    "gpu-256": Preset(
        sizes=(256,),
        model=_ADA.model_copy(update={"penalty": 0.82, "half_life": 5_000.0}),
        batch_size=16,
        steps=320_000,
    ),
}
