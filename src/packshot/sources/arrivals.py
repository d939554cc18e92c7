"""Photos that a pack does not have yet: their bytes wait on the disk for the shards."""

from __future__ import annotations

from array import array
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from packshot.errors import IntegrityError, OutOfResources
from packshot.images.store import as_names


class Arrivals:
    """The bytes of photos that the old pack does not have, in a nameless file: each is read from its source once."""

    def __init__(self, folder: Path, before: pa.Table) -> None:
        self._folder = folder
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115  closed by __exit__
        self._places: dict[bytes, int] = {}
        self._ends = array("Q", [0])
        kept = before.filter(pc.is_null(before["reason"])).select(["sha256", "file_bytes"]).sort_by("sha256").combine_chunks()
        self._names = as_names(kept["sha256"])
        self._sizes: NDArray[np.int64] = kept["file_bytes"].to_numpy()

    def __enter__(self) -> Arrivals:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def size(self) -> int:
        return self._ends[-1]

    def find_sizes(self, names: list[str]) -> list[int]:
        """The size of each blob that the old pack has; -1 where it has none of this sha256."""
        asked = np.array(names, dtype="S64")
        at = np.searchsorted(self._names, asked)
        at[at == len(self._names)] = 0
        there = self._names[at] == asked if len(self._names) else np.zeros(len(asked), dtype=bool)
        return [int(self._sizes[place]) if same else -1 for place, same in zip(at.tolist(), there.tolist(), strict=True)]

    def add(self, digest: bytes, blob: bytes) -> None:
        """Keep a blob, unless it is there or in the old pack. Raises OutOfResources."""
        if digest in self._places or self._is_old(digest):
            return
        try:
            self._file.write(blob)
        except OSError as error:
            raise self.full(len(blob), error) from error
        self._places[digest] = len(self._ends) - 1
        self._ends.append(self.size + len(blob))

    def _is_old(self, digest: bytes) -> bool:
        name = np.bytes_(digest.hex())
        at = int(np.searchsorted(self._names, name))
        return at < len(self._names) and self._names[at] == name

    def read(self, sha256: str) -> bytes:
        """A blob that was added. Raises IntegrityError."""
        place = self._places.get(bytes.fromhex(sha256))
        if place is None:
            raise IntegrityError("neither the old pack nor the source has a photo", where=sha256, advice="add the photos again")
        self._file.seek(self._ends[place])
        return self._file.read(self._ends[place + 1] - self._ends[place])

    def flush(self) -> None:
        """Have all blobs on the disk, and as much room again for the shards. Raises OutOfResources."""
        try:
            self._file.flush()
        except OSError as error:
            raise self.full(0, error) from error
        if disk_usage(self._folder).free < self.size:
            raise self.full(0, OSError("No space left on device"))

    def full(self, more: int, error: OSError) -> OutOfResources:
        needed, free = 2 * (self.size + more), disk_usage(self._folder).free
        return OutOfResources(
            f"{error.strerror or error}: at least {needed:,} bytes are needed, {free:,} are free",
            where=str(self._folder),
            advice="make room, then add the photos again; the catalogue is as it was",
        )
