"""Running out of memory ends a training with advice. It never trains on with a smaller batch: that would be another training."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from packshot.errors import OutOfResources

_SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""How torch says it where it raises a plain RuntimeError, as its allocator on the CPU does."""


@contextmanager
def tell_memory(where: str) -> Iterator[None]:
    """Turn what is raised for want of memory, on the CPU or the GPU, into OutOfResources."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        short = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not short and not any(sign in str(error) for sign in _SIGNS):
            raise
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        said = str(error).strip().splitlines()
        raise OutOfResources(
            f"out of memory{f' ({said[0][:200]})' if said else ''}; at its peak the process held {peak:,} bytes",
            where=where,
            advice="raise train.accumulate (the batch stays what it is), or lower train.batch_size or the model's width",
        ) from error
