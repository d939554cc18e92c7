"""Datasets as prepare leaves them, of pictures made by a test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from packshot.images.shards import INDEX, Split, SplitName, draft_pixels, keep_pixels, save_table
from packshot.records import CategoryCount, Condition, Dataset, ImageSpec, SplitCount, StoredFile


def pack_dataset(
    folder: Path,
    splits: Mapping[SplitName, Split],
    image: ImageSpec,
    categories: tuple[str, ...],
    conditions: tuple[Condition, ...] = (),
    *,
    digest: str,
) -> Dataset:
    """Write splits and their dataset.json."""
    files: list[StoredFile] = []
    counts = []
    for name, split in splits.items():
        with draft_pixels(folder, name, len(split), image.size) as pixels:
            pixels[:] = split.images
        files += [keep_pixels(folder, name), save_table(folder, f"{name}-index", _index(split, conditions))]
        tally = np.bincount(split.categories, minlength=len(categories)).tolist()
        each = tuple(CategoryCount(category=one, photos=count) for one, count in zip(categories, tally, strict=True))
        counts.append(SplitCount(split=name, photos=len(split), counts=each))
    dataset = Dataset(
        image=image,
        categories=categories,
        conditions=conditions,
        splits=tuple(counts),
        files=tuple(files),
        catalog="0" * 64,
        digest=digest,
    )
    dataset.write(folder / "dataset.json")
    return dataset


def _index(split: Split, conditions: tuple[Condition, ...]) -> pa.Table:
    count = len(split)
    columns = {
        "id": split.ids,
        "category": split.categories.tolist(),
        "group": split.groups,
        "path": split.ids,
        "generation": [0] * count,
        "stored": split.ids,
        "packed": split.ids,
    }
    table = pa.table([pa.array(columns[field.name], field.type) for field in INDEX], schema=INDEX)
    start = 0
    for condition in conditions:
        table = table.append_column(
            condition.name, pa.array(_values(condition, split.conditions[:, start : start + condition.size]))
        )
        start += condition.size
    return table


def _values(condition: Condition, encoded: np.ndarray) -> list[str | float | None]:
    """What the catalogue says where the model is told `encoded`."""
    if condition.kind == "label":
        return [condition.values[int(row.argmax())] if row.any() else None for row in encoded]
    return [float(z) * condition.deviation + condition.mean if known else None for z, known in encoded]
