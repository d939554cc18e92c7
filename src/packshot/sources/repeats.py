"""Exact repeats: photos whose stored pixels are the same, whatever their files are."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from packshot.images.store import as_names, sort_keys
from packshot.records import BadPhoto
from packshot.sources.folder import escape


def find_repeats(photos: pa.Table) -> tuple[NDArray[np.bool_], list[BadPhoto]]:
    """Which of N photos are kept, (N,), and why the others are not; columns pixels, path, category, generation, sha256.

    Of photos with the same pixels the first stays, by generation, then by path; the others are DUPLICATE. One that stands in
    another category than the first is a CONFLICT, and then the first is one too: nobody knows where it belongs.
    """
    kept = np.ones(photos.num_rows, dtype=np.bool_)
    refused: list[BadPhoto] = []
    keys = sort_keys(as_names(photos["pixels"]))
    order = np.argsort(keys, kind="stable")
    alike = keys[order][1:] == keys[order][:-1]
    doubtful = np.zeros(len(keys), dtype=np.bool_)
    doubtful[1:] |= alike
    doubtful[:-1] |= alike
    suspects = np.sort(order[doubtful])
    rows = photos.select(["pixels", "generation", "path", "sha256", "category"]).take(pa.array(suspects)).to_pydict()
    found = sorted(zip(*rows.values(), suspects.tolist(), strict=True))
    for _, same in groupby(found, key=lambda row: row[0]):
        (_, _, path, digest, category, place), *others = same
        if any(row[4] != category for row in others):
            kept[place] = False
            detail = "the same picture stands in another category too; decide where it belongs"
            refused.append(_bad(path, category, "CONFLICT", detail, digest))
        for _, _, other_path, other_digest, other_category, other in others:
            kept[other] = False
            refused.append(_repeat(other_path, other_category, other_digest, path, category))
    return kept, refused


def _repeat(path: str, category: str, sha256: str, first: str, its_category: str) -> BadPhoto:
    detail = f"the same picture as {escape(first)}"
    if category == its_category:
        return _bad(path, category, "DUPLICATE", detail, sha256)
    return _bad(path, category, "CONFLICT", f"{detail} of '{escape(its_category)}'", sha256)


def _bad(path: str, category: str, reason: str, detail: str, sha256: str) -> BadPhoto:
    return BadPhoto(path=escape(path), category=escape(category), reason=reason, detail=detail, sha256=sha256)
