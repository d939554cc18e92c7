"""What is known of files that nobody has touched since they were read: their sha256, without reading them again.

As in Git's index, a file that was modified less than two seconds before it was looked at is not recorded: it could be modified
once more without its times showing it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from packshot.records import write_bytes
from packshot.sources.base import Stamp

SETTLED_NS = 2_000_000_000

_ENTRY = np.dtype([("key", ">u8"), ("check", ">u8"), ("sha256", "u1", (32,))])
_DIGEST = 32


class Stamps:
    """The sha256 of each file that was read, by its name and stamp; 48 bytes a file. A damaged or missing index knows nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _load(path)
        self._kept: list[NDArray[np.void]] = []
        self._learnt = bytearray()

    def find(self, names: Sequence[str], stamps: Sequence[Stamp]) -> list[str]:
        """The sha256 of each of N files in hexadecimal; '' where the file is unknown or was touched."""
        keys = np.frombuffer(b"".join(map(_key, names, stamps)), dtype=">u8").reshape(-1, 2)
        at = np.minimum(np.searchsorted(self._known["key"], keys[:, 0]), max(len(self._known) - 1, 0))
        found = self._known[at] if len(self._known) else np.zeros(len(keys), _ENTRY)
        hit = (found["key"] == keys[:, 0]) & (found["check"] == keys[:, 1]) & bool(len(self._known))
        self._kept.append(found[hit])
        return [digest.tobytes().hex() if there else "" for digest, there in zip(found["sha256"], hit.tolist(), strict=True)]

    def learn(self, name: str, stamp: Stamp, sha256: str) -> None:
        """Remember a file that was read just now and had this stamp before and after."""
        if time.time_ns() - max(stamp.modified_ns, stamp.changed_ns) > SETTLED_NS:
            self._learnt += _key(name, stamp) + bytes.fromhex(sha256)

    def save(self) -> None:
        """Write what was found or learnt since the index was opened; the rest is forgotten."""
        entries = np.frombuffer(b"".join([*(part.tobytes() for part in self._kept), self._learnt]), dtype=_ENTRY)
        body = entries[np.lexsort((entries["check"], entries["key"]))].tobytes()
        write_bytes(self._path, hashlib.sha256(body).digest() + body)


def _key(name: str, stamp: Stamp) -> bytes:
    facts = f"{stamp.size} {stamp.modified_ns} {stamp.changed_ns} {stamp.inode} {stamp.offset} {name}"
    return hashlib.blake2b(facts.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _load(path: Path) -> NDArray[np.void]:
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    body = content[_DIGEST:]
    if hashlib.sha256(body).digest() != content[:_DIGEST]:
        return np.zeros(0, _ENTRY)
    return np.frombuffer(body, dtype=_ENTRY)
