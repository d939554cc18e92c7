"""Tensors as a safetensors file, written one after the other: no large model is held a second time for the sake of a file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from packshot.records import write_parts

DTYPES = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""What each is called in the file, in the order in which they stand there: the wider first, as safetensors has it."""
_RANK = {dtype: rank for rank, dtype in enumerate(DTYPES)}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], key: str, note: str, *, seal: bool = False) -> str:
    """Write the bytes that `safetensors.torch.save` gives, with `note` under `key` as metadata; return their sha256.

    One tensor at a time is brought to the CPU and laid out. All or nothing and durable, with `seal` as `records.write_parts`
    has it. Raises OutOfResources where the disk has no room.
    """
    names = sorted(tensors, key=lambda name: (_RANK[tensors[name].dtype], name))
    header = _header(names, tensors, key, note)

    def parts() -> Iterator[bytes | memoryview]:
        yield header
        for name in names:
            if tensors[name].numel():
                flat = tensors[name].detach().to("cpu").contiguous().reshape(-1)
                yield flat.view(torch.uint8).numpy().data

    return write_parts(path, parts(), len(header) + sum(count_bytes(tensor) for tensor in tensors.values()), seal=seal)


def count_bytes(tensor: Tensor) -> int:
    """How many bytes the numbers of a tensor take."""
    return math.prod(tensor.shape) * tensor.element_size()


def _header(names: list[str], tensors: Mapping[str, Tensor], key: str, note: str) -> bytes:
    """8 bytes of length, then JSON, filled up with spaces to a multiple of 8."""
    entries: dict[str, object] = {"__metadata__": {key: note}}
    start = 0
    for name in names:
        end = start + count_bytes(tensors[name])
        entries[name] = {"dtype": DTYPES[tensors[name].dtype], "shape": list(tensors[name].shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
