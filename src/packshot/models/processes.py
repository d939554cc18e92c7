"""What the processes that train one model together tell each other while they compute a loss."""

from __future__ import annotations

from torch import Tensor, distributed
from torch.distributed.nn import functional as together


def count_processes() -> int:
    """How many processes train this model."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def mean_of_all(value: Tensor) -> Tensor:
    """The mean of `value` over all processes, as every one of them needs it; differentiable, any number of times."""
    count = count_processes()
    if count == 1:
        return value
    total: Tensor = together.all_reduce(value)  # type: ignore[no-untyped-call]
    return total / count
