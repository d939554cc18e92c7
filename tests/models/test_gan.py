"""What the family `gan` offers by name."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from packshot.models.config import PresetName
from packshot.models.gan.config import Config
from packshot.records import ImageSpec


@pytest.mark.parametrize("name", Config.presets())
def test_every_preset_draws_pictures_of_the_size_that_it_is_for(name: PresetName) -> None:
    preset = Config.presets()[name]
    for size in preset.sizes:
        torch.manual_seed(0)
        model = preset.model.build(ImageSpec(size=size), ("hat", "mug")).eval()
        drawn = model.sample(torch.tensor([1]), [3])
        assert drawn.shape == (1, 3, size, size)
        assert bool(drawn.isfinite().all())


def test_the_presets_for_a_gpu_augment_by_the_critics_record() -> None:
    for name, preset in Config.presets().items():
        assert isinstance(preset.model, Config)
        assert preset.model.augment is not None
        assert (preset.model.augment.kind == "adaptive") == name.startswith("gpu")


def test_a_resized_generator_has_no_pattern_of_two_by_two_to_begin_with() -> None:
    """The four places of a 2 x 2 block have one mean brightness, where those of a transposed convolution each have their own."""
    uneven = {}
    kinds: tuple[Literal["resized", "transposed"], ...] = ("resized", "transposed")
    for upsampling in kinds:
        torch.manual_seed(0)
        model = Config(latent=16, width=16, upsampling=upsampling).build(ImageSpec(size=32), ("hat",)).eval()
        pictures = model.sample(torch.zeros(64, dtype=torch.int64), range(64))
        phases = pictures.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(2, 3))  # (N, C, 2, 2)
        uneven[upsampling] = float(phases.flatten(2).std(dim=2).mean() / pictures.std())
    assert uneven["resized"] < uneven["transposed"] / 2
