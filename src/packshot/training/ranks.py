"""Several processes that train one model: how they come together, what they tell each other, and how they end together.

Each holds the whole model and takes its rows of every batch; after a turn's way back their gradients are averaged. That is done
here and not by torch's DistributedDataParallel, which wraps one module with one loss: a step has several losses of several
modules, some of them with gradients in them, and what a batch shares goes through `models.processes` in the middle of a loss.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta

import torch
from safetensors.torch import load, save
from torch import Tensor, distributed, nn

from packshot.errors import PackshotError, UsageError
from packshot.models.base import Loss
from packshot.models.processes import count_processes, rank
from packshot.training.keeper import Keeper
from packshot.training.state import Facts, TrainState
from packshot.training.watch import Trouble

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others: longer than what the first one does alone. One that ends is missed at once."""


def leads() -> bool:
    """Whether this is the process that tells, keeps and publishes; the only one, as a rule."""
    return rank() == 0


def average_over_ranks(loss: Loss, gradients: Sequence[Tensor]) -> Loss:
    """Average gradients in place and give back what all processes' losses came to, in one exchange."""
    values = [value.detach().float() for value in (*loss.terms.values(), *loss.signals.values())]
    told = torch.cat([*(gradient.flatten() for gradient in gradients), torch.stack(values)])
    distributed.all_reduce(told)
    told /= count_processes()
    *averages, means = torch.split(told, [*(gradient.numel() for gradient in gradients), len(values)])
    for gradient, mean in zip(gradients, averages, strict=True):
        gradient.copy_(mean.view_as(gradient))
    parts = means.unbind()
    terms, signals = parts[: len(loss.terms)], parts[len(loss.terms) :]
    return Loss(dict(zip(loss.terms, terms, strict=True)), dict(zip(loss.signals, signals, strict=True)))


def from_first(content: bytes, device: torch.device) -> bytes:
    """The first process's `content`, in every one of them."""
    if count_processes() == 1:
        return content
    length = torch.tensor([len(content)], device=device)
    distributed.broadcast(length, src=0)
    told = torch.empty(int(length), dtype=torch.uint8, device=device)
    if leads():
        told.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    distributed.broadcast(told, src=0)
    return told.cpu().numpy().tobytes()


def require_equal(what: str, text: str, device: torch.device) -> None:
    """Raise UsageError where `text` is not the same in every process."""
    first = from_first(text.encode(), device).decode()
    if anyone(first != text, device):
        raise UsageError(
            f"the processes of one training differ in {what}",
            where=f"process {rank()}",
            advice="start all of them with the same params.yaml, code and data, and leave both alone while they start",
        )


def require_lockstep(model: nn.Module, device: torch.device) -> None:
    """Raise a fault of packshot's where the processes do not hold the same weights and buffers, bit for bit."""
    if count_processes() == 1:
        return
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    mine = digest.hexdigest()
    if _differ(from_first(mine.encode(), device).decode() != mine, device):
        advice = "a loss or a buffer takes something from its own photos alone: see models/processes.py"
        raise PackshotError("the processes' weights have drifted apart", where=f"process {rank()}", advice=advice)


def anyone(mine: bool, device: torch.device) -> bool:
    """Whether it is so in any of the processes."""
    return mine if count_processes() == 1 else _differ(mine, device)


def _differ(mine: bool, device: torch.device) -> bool:
    told = torch.tensor([float(mine)], device=device)
    distributed.all_reduce(told)
    return bool(told > 0)


class SharedKeeper:
    """A Keeper for a training of several processes: the first one's keeps, and where it restores, the others follow its state."""

    def __init__(self, own: Keeper | None, device: torch.device) -> None:
        """`own` is None in every process but the first."""
        self.own, self.device = own, device

    def restore(self, state: TrainState) -> bool:
        found = self.own.restore(state) if self.own else False
        return self._follow(state, found=found)

    def rewind(self, state: TrainState, back: int, before: int) -> bool:
        found = self.own.rewind(state, back, before) if self.own else False
        return self._follow(state, found=found)

    def save(self, state: TrainState) -> None:
        if self.own:
            self.own.save(state)

    def pause(self, state: TrainState) -> None:
        if self.own:
            self.own.pause(state)

    def keep(self, state: TrainState) -> None:
        if self.own:
            self.own.keep(state)

    def bury(self, state: TrainState, trouble: Trouble) -> None:
        if self.own:
            self.own.bury(state, trouble)

    def _follow(self, state: TrainState, *, found: bool) -> bool:
        """Bring every process to the first one's state: as safetensors, with the rest as JSON. Nothing is pickled."""
        content = b""
        if leads():
            facts = {"found": json.dumps(found), "facts": state.facts().model_dump_json()}
            content = save(state.tensors(), metadata=facts)
        content = from_first(content, self.device)
        if leads():
            return found
        told = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        state.restore(load(content), Facts.model_validate_json(told["facts"]))
        return bool(json.loads(told["found"]))
