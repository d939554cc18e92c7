"""What the processes that train one model together tell each other while they compute a loss.

Every process holds the same weights and a part of the step's photos, and its loss is that of its part; the step's loss is the
mean of them all. What a batch shares (batch norm, a deviation among peers, a mean squared error under a logarithm) goes through
here, so that it comes out as one process would have it. All of it is differentiable any number of times: the way back of a sum
over all processes is the same sum of the slopes. In a training of one process, each of these returns what it was given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn

_apart = False
"""Whether this process computes something of its own for the moment."""


def count_processes() -> int:
    """How many processes train this model."""
    together = distributed.is_available() and distributed.is_initialized() and not _apart
    return distributed.get_world_size() if together else 1


def rank() -> int:
    """Which of them this is, from 0 on."""
    return distributed.get_rank() if count_processes() > 1 else 0


@contextmanager
def apart() -> Iterator[None]:
    """Within it, this process computes as if there were no others: what one of them does, or each of them does by itself."""
    global _apart
    before, _apart = _apart, True
    try:
        yield
    finally:
        _apart = before


def mean_of_all(value: Tensor) -> Tensor:
    """The mean of `value` over all processes, as every one of them needs it; differentiable, any number of times."""
    count = count_processes()
    if count == 1:
        return value
    return _sum_of_all(value) / count


def gather(value: Tensor) -> Tensor:
    """All processes' parts of a batch, (N, ...) each, one after the other: (processes * N, ...); differentiable.

    A sum of parts that are zero elsewhere: nothing else is offered for every device and has a way back that can be gone twice.
    """
    count = count_processes()
    if count == 1:
        return value
    nothing = torch.zeros_like(value)
    return _sum_of_all(torch.stack([value if number == rank() else nothing for number in range(count)])).flatten(0, 1)


def keep_own(value: Tensor) -> Tensor:
    """The rows of this process of what belongs to everything gathered: (processes * N, ...) to (N, ...)."""
    count = count_processes()
    return value if count == 1 else value.chunk(count)[rank()]


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation without gain and bias, by the statistics of all processes' pictures (Ioffe and Szegedy 2015)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        if count_processes() == 1 or not self.training:
            return super().forward(input)
        grid = input.float()
        mean = mean_of_all(grid.mean(dim=(0, 2, 3)))
        centred = grid - mean[:, None, None]
        variance = mean_of_all(centred.square().mean(dim=(0, 2, 3)))
        self._follow(mean.detach(), variance.detach(), count_processes() * grid.numel() // grid.shape[1])
        return (centred * (variance + self.eps).rsqrt()[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, numbers: int) -> None:
        """Move the running statistics, as torch's own do: the variance without bias."""
        assert self.running_mean is not None, "made with running statistics"  # noqa: S101
        assert self.running_var is not None  # noqa: S101
        assert self.num_batches_tracked is not None  # noqa: S101
        self.num_batches_tracked += 1
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * numbers / (numbers - 1), share)


class _SumOfAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, value: Tensor) -> Tensor:
        # At least float32: not every transport adds shorter numbers.
        total = value.float() if value.dtype in {torch.bfloat16, torch.float16} else value
        total = total.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total.to(value.dtype)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *slopes: Tensor) -> Tensor:
        return _sum_of_all(slopes[0])


def _sum_of_all(value: Tensor) -> Tensor:
    total: Tensor = _SumOfAll.apply(value)
    return total
