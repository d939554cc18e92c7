"""Weights as files: safetensors that carry their own card. The same weights give the same bytes; nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import BinaryIO

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load

from packshot.errors import IntegrityError, MissingArtifact, TrainingFailed
from packshot.models import AnyModel
from packshot.models.base import ImageModel
from packshot.models.tensors import write_tensors
from packshot.records import Condition, Digest, ImageSpec, Name, Origin, Record

LARGEST_HEADER = 16 * 2**20
KEY = "packshot"
"""The one key of the file's metadata: one, because safetensors keeps several in no order."""


class WeightsCard(Record):
    """What weights say of themselves: enough to build the model, and to tell what it was trained on."""

    config: AnyModel
    image: ImageSpec
    categories: tuple[str, ...]
    conditions: tuple[Condition, ...] = Field((), exclude_if=lambda conditions: not conditions)
    """Left out where there are none."""
    run: Name
    step: int
    dataset: Digest
    params: Digest
    """Of the settings of the run."""
    seed: int
    start: Origin | None = Field(None, exclude_if=lambda start: start is None)
    """The weights that the run started from; left out where it started from nothing."""


def deployed_state(model: ImageModel) -> dict[str, torch.Tensor]:
    """The tensors that sampling and reconstructing need, by name."""
    state: dict[str, torch.Tensor] = {
        name: tensor for name, tensor in model.state_dict().items() if name.split(".")[0] in model.deployed
    }
    return state


def training_state(model: ImageModel) -> dict[str, torch.Tensor]:
    """All other tensors, by name: those that only training needs."""
    return {name: tensor for name, tensor in model.state_dict().items() if name.split(".")[0] not in model.deployed}


def training_path(weights: Path) -> Path:
    """Where what only training needs stands beside a file of weights."""
    return weights.with_suffix(".training.safetensors")


def save_weights(path: Path, model: ImageModel, card: WeightsCard) -> str:
    """Write the deployed part of `model` in float32, all or nothing, and return the file's sha256.

    Raises TrainingFailed where a weight is not finite: such weights are never written.
    """
    state = {name: tensor.detach().float() for name, tensor in deployed_state(model).items()}
    for name, tensor in state.items():
        if not bool(tensor.isfinite().all()):
            raise TrainingFailed(
                "weights are not finite", where=f"{card.run}@{card.step}: {name}", advice="lower the learning rate"
            )
    return write_tensors(path, state, KEY, card.model_dump_json())


def save_training(path: Path, model: ImageModel, card: WeightsCard) -> str | None:
    """Write what only training needs of `model`, a critic above all, for a run that starts from its weights one day.

    Returns the file's sha256; None, and writes nothing, where there is nothing of the kind.
    """
    state = training_state(model)
    return write_tensors(path, state, KEY, card.model_dump_json()) if state else None


def load_training(path: Path, sha256: str, card: WeightsCard) -> dict[str, torch.Tensor]:
    """Read what `save_training` wrote beside the weights of `card`.

    Raises MissingArtifact where there is no such file; IntegrityError where its digest is not `sha256`, or it belongs to other
    weights.
    """
    content = _read(path, sha256)
    if _header(content, path)[1] != card:
        raise _fault(path, "it belongs to other weights")
    return _load(content, path)


def load_weights(path: Path, sha256: str | None = None) -> tuple[ImageModel, WeightsCard]:
    """Read a model back, in eval mode on the CPU, without the parts that only training needs.

    Raises MissingArtifact where there is no such file; IntegrityError where its digest is not `sha256`, where it is no weights
    file of packshot's, or where its tensors are not exactly those that its own card calls for.
    """
    content = _read(path, sha256)
    tensors, card = _header(content, path)
    with torch.random.fork_rng(devices=[]):
        model = card.config.build(card.image, card.categories, card.conditions)
    expected: dict[str, list[object]] = {name: ["F32", list(tensor.shape)] for name, tensor in deployed_state(model).items()}
    if tensors != expected:
        odd = sorted(name for name in {*expected, *tensors} if expected.get(name) != tensors.get(name))
        raise _fault(path, f"its tensors are not those of its config: {', '.join(odd[:3])}")
    state = _load(content, path)
    own = [name for name, _ in (*model.named_children(), *model.named_buffers(recurse=False))]
    for name in {*own} - {*model.deployed}:
        delattr(model, name)
    model.load_state_dict(state)
    model.requires_grad_(requires_grad=False)
    return model.to(memory_format=torch.channels_last).eval(), card


def read_card(path: Path) -> WeightsCard:
    """Read the card alone, without the tensors. Raises as `load_weights` does."""
    with _open(path) as file:
        size = file.read(8)
        header = file.read(min(int.from_bytes(size, "little"), LARGEST_HEADER))
    return _header(size + header, path)[1]


def _read(path: Path, sha256: str | None) -> bytes:
    with _open(path) as file:
        content = file.read()
    if sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise IntegrityError(
            f"the sha256 is {found}, not {sha256}", where=str(path), advice="these are other weights: fetch them again"
        )
    return content


def _load(content: bytes, path: Path) -> dict[str, torch.Tensor]:
    try:
        return load(content)
    except SafetensorError as error:
        raise _fault(path, str(error)) from error


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except (FileNotFoundError, IsADirectoryError):
        raise MissingArtifact("there are no such weights", where=str(path), advice="run the stage 'train'") from None


def _fault(path: Path, detail: str) -> IntegrityError:
    return IntegrityError(f"not weights of packshot's: {detail}", where=str(path), advice="train them again, or fetch them again")


def _header(content: bytes, path: Path) -> tuple[dict[str, list[object]], WeightsCard]:
    """The (dtype, shape) of each tensor, and the card, from the file's beginning: 8 bytes of length, then JSON."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(LARGEST_HEADER, len(content) - 8):
        raise _fault(path, "it is cut short, or no safetensors file")
    try:
        entries = json.loads(content[8 : 8 + length])
        card = WeightsCard.model_validate_json(entries.pop("__metadata__")[KEY])
        tensors = {name: [entry["dtype"], entry["shape"]] for name, entry in entries.items()}
    except ValidationError as error:
        first = error.errors()[0]
        raise _fault(path, f"its card is off: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _fault(path, "its header is not that of weights with a card") from error
    return tensors, card
