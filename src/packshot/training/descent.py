"""The gradients of one turn: of a step's photos all at once, part after part, or spread over processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from packshot.errors import UsageError
from packshot.models.base import Batch, Loss, Phase
from packshot.models.processes import count_processes, rank
from packshot.training.batches import Photos
from packshot.training.hardware import Machine
from packshot.training.ranks import average_over_ranks


@dataclass(frozen=True, slots=True)
class Descent:
    """How a training comes by its gradients.

    `parts` are taken one after the other, their gradients weighted by their photos and added up. What a part's photos share is
    the part's own: batch norm's statistics, a critic's comparison of peers, the mean that path lengths are held to, the mean
    squared error under a calibrated decoder's logarithm. For all else the parts make no difference beyond rounding. A part that
    is spread over processes is whole: they tell each other what its photos share.
    """

    photos: Photos
    machine: Machine
    seed: int
    flips: bool
    parts: int = 1

    def require_enough(self, phase: Phase, size: int) -> None:
        """Raise UsageError where a batch of `size` cannot be shared out as asked for, two photos at least to each."""
        count, where = self.machine.processes, f"phase '{phase.name}', batch of {size}"
        if size % count:
            raise UsageError(
                f"a batch of {size} cannot be shared by {count} processes",
                where=where,
                advice=f"make it a multiple of {count}, or train.processes a divisor of it",
            )
        if size < 2 * count * self.parts and (count > 1 or self.parts > 1):
            raise UsageError(
                f"a batch of {size} makes fewer than two photos for each of {count * self.parts} parts",
                where=where,
                advice="lower train.accumulate or train.processes",
            )

    def collect(self, phase: Phase, parameters: list[nn.Parameter], step: int, size: int, chances: int) -> tuple[Loss, Batch]:
        """Give `parameters` the gradients of the phase's loss at a step's photos; `chances` seeds what the turn draws.

        Returns what the turn came to, the mean over parts and processes, and the photos of this process's last part.
        """
        losses: list[tuple[float, Loss]] = []
        for part, weight in self._parts(size):
            # Every part begins with the same chances: they are drawn for the whole batch, and each keeps its own.
            self.machine.seed(chances)
            batch = self.photos.batch(self.seed, step, size, flips=self.flips, part=part)
            with self.machine.cast():
                loss = phase.loss(batch)
            (loss.total if weight == 1 else loss.total * weight).backward()  # type: ignore[no-untyped-call]
            losses.append((weight, loss))
        loss = losses[0][1] if len(losses) == 1 else _mean(losses)
        if count_processes() > 1:
            loss = average_over_ranks(loss, [parameter.grad for parameter in parameters if parameter.grad is not None])
        return loss, batch

    def _parts(self, size: int) -> Iterator[tuple[slice, float]]:
        """The rows of this process in each part, and the part's share of the batch."""
        count = count_processes()
        each = size // count
        for number in range(self.parts):
            start, stop = each * number // self.parts, each * (number + 1) // self.parts
            first = start * count + rank() * (stop - start)
            yield slice(first, first + stop - start), (stop - start) / each


def _mean(losses: list[tuple[float, Loss]]) -> Loss:
    terms: dict[str, Tensor] = {}
    signals: dict[str, Tensor] = {}
    for weight, loss in losses:
        for sums, values in ((terms, loss.terms), (signals, loss.signals)):
            for name, value in values.items():
                told = weight * value.detach()
                sums[name] = sums[name] + told if name in sums else told
    return Loss(terms, signals)


@contextmanager
def learning(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Only these parameters collect gradients, from none on: the others' would be computed for nothing."""
    for parameter in parameters:
        parameter.requires_grad = True
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad = False
            parameter.grad = None
