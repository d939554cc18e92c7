"""The search for a photo's latent, where the best latent is known."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from packshot.models.config import Search
from packshot.models.search import Searched, search_pictures

SIZE, SIDE = 5, 16
MATRIX = torch.randn(3 * SIDE**2, SIZE, generator=torch.Generator().manual_seed(0)) / 4


def paint(latents: Tensor, categories: Tensor, conditions: Tensor) -> Tensor:
    """Linear pictures, shifted by the category and by what is known of attributes."""
    shift = 0.5 * categories.float() + conditions.sum(dim=1)
    return (latents @ MATRIX.T + shift[:, None]).view(-1, 3, SIDE, SIDE)


LINEAR = Searched(SIZE, lambda noise, *_: noise, paint)


def nothing(count: int) -> Tensor:
    return torch.zeros(count, 0)


def errors(found: Tensor, photos: Tensor) -> Tensor:
    return (found - photos).square().mean(dim=(1, 2, 3))


def test_it_finds_the_least_squares_of_linear_pictures() -> None:
    photos = torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    categories, told = torch.tensor([0, 1, 1, 0]), torch.tensor([[0.0], [0.3], [0.0], [-0.2]])
    found = search_pictures(LINEAR, Search(steps=300, candidates=64), photos, categories, told)
    shift = (0.5 * categories + told[:, 0])[:, None]
    best = torch.linalg.lstsq(MATRIX, (photos.flatten(1) - shift).T).solution.T
    torch.testing.assert_close(errors(found, photos), errors(paint(best, categories, told), photos), atol=1e-4, rtol=1e-3)


def test_it_starts_from_the_candidate_whose_thumbnail_is_nearest() -> None:
    """A rate of nearly nothing leaves the first guess as it is."""
    rng = torch.Generator().manual_seed(0)
    candidates = torch.randn(32, SIZE, generator=rng)
    photos, categories = torch.randn(3, 3, SIDE, SIDE, generator=rng), torch.tensor([1, 0, 1])
    still = Search(steps=1, candidates=32, learning_rate=1e-9, warmup_steps=0, seed=0)
    found = search_pictures(LINEAR, still, photos, categories, nothing(3))
    for row in range(3):
        drawn = paint(candidates, categories[row].expand(32), nothing(32))
        distances = (adaptive_avg_pool2d(drawn, 8) - adaptive_avg_pool2d(photos[row], 8)).square().sum(dim=(1, 2, 3))
        torch.testing.assert_close(found[row], drawn[distances.argmin()])


def test_candidates_are_those_of_what_each_photo_shows() -> None:
    """Latents that depend on what is asked for begin from the photo's own category and attributes."""
    asked: set[tuple[float, ...]] = set()

    def start(noise: Tensor, categories: Tensor, conditions: Tensor) -> Tensor:
        asked.update(map(tuple, torch.cat((categories[:, None], conditions), dim=1).tolist()))
        return noise + categories[:, None]

    photos, told = torch.zeros(3, 3, SIDE, SIDE), torch.tensor([[0.5], [0.0], [0.5]])
    search_pictures(Searched(SIZE, start, paint), Search(steps=1, candidates=4), photos, torch.tensor([2, 0, 2]), told)
    assert asked == {(2.0, 0.5), (0.0, 0.0)}


def test_more_restarts_never_find_less() -> None:
    photos, categories = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2)), torch.tensor([0, 1, 0])
    found = [
        errors(search_pictures(LINEAR, Search(steps=8, restarts=count, candidates=2), photos, categories, nothing(3)), photos)
        for count in (1, 4)
    ]
    assert bool((found[1] <= found[0]).all())
    assert bool((found[1] < found[0]).any())
