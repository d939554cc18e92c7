from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from packshot.errors import OutOfResources
from packshot.images.decode import Recipe
from packshot.records import Shard
from packshot.sources.taking import require_room

RECIPE = Recipe(side=128, background="#ffffff")


def shards(each: int) -> tuple[Shard, ...]:
    return tuple(
        Shard(name=f"photos-{prefix}.parquet", prefix=prefix, rows=1000, size=1000 * each, sha256="0" * 64)
        for prefix in ("0", "1")
    )


def test_what_fits_is_let_through(tmp_path: Path) -> None:
    require_room(tmp_path, 10, RECIPE, (), 10)
    require_room(tmp_path, 0, RECIPE, shards(10), 2000)


def test_what_cannot_fit_is_refused_with_both_numbers(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(OutOfResources, match=r"about [\d,]+ bytes are needed, [\d,]+ are free") as caught:
        require_room(tmp_path, free // RECIPE.side**2, RECIPE, (), 10)
    assert caught.value.exit_code == 22


def test_photos_are_taken_to_be_as_large_as_those_before(tmp_path: Path) -> None:
    photos = shutil.disk_usage(tmp_path).free // 10_000
    require_room(tmp_path, photos, RECIPE, shards(100), photos)
    with pytest.raises(OutOfResources):
        require_room(tmp_path, photos, RECIPE, shards(10_000), photos)
