"""Starting from weights that were trained before, perhaps on another catalogue, and keeping parts of them as they are."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from packshot.errors import UsageError
from packshot.models.base import ImageModel
from packshot.models.vocabulary import CarriesOver, Vocabulary
from packshot.models.weights import WeightsCard, load_training, load_weights
from packshot.records import Origin
from packshot.training.params import Run

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """Weights to start from, as files that stay where they are while the run lasts."""

    origin: Origin
    weights: Path
    training: Path | None = None


def carry_over(model: ImageModel, start: Start, run: Run) -> None:
    """Give `model` the weights of `start`, whose catalogue may have had other categories and attributes.

    What is known by name is taken over; see Vocabulary for what is new. Parts that only training needs begin afresh where `start`
    has none that fit. Raises UsageError where the family, the picture size or the networks differ, or no category is known;
    IntegrityError where the files are not those of `start`.
    """
    held, card = load_weights(start.weights, start.origin.sha256)
    _require_alike(model, card, start, run)
    known = dict(held.state_dict())
    if start.training and start.origin.training:
        known |= load_training(start.training, start.origin.training, card)
    vocabulary = Vocabulary.match((card.categories, card.conditions), (model.categories, model.conditions))
    afresh = []
    for part in dict.fromkeys(name.split(".")[0] for name in model.state_dict()):
        fitted, misfit = _fit_part(model, part, held, known, vocabulary)
        if not misfit:
            with torch.no_grad():
                for name, tensor in model.state_dict().items():
                    if name in fitted:
                        tensor.copy_(fitted[name])
        elif part in model.deployed:
            raise _other_networks(model, card, start, run, misfit)
        else:
            afresh.append(part)
    if run.freeze_critic and "critic" in afresh:
        raise UsageError(
            f"{start.origin.name} has no critic that fits: there are no layers to keep as they are",
            where=f"{run.name}: freeze_critic",
            advice="take it out, or start from a version that was registered with its critic",
        )
    logger.info("%s starts from %s (%s)", run.name, start.origin.name, card.run)
    if vocabulary.unknown:
        logger.info("%s: new to these weights: %s", run.name, ", ".join(vocabulary.unknown))
    if afresh:
        told = ", ".join(afresh)
        logger.info("%s: of what only training needs, these weights have nothing that fits; it begins afresh: %s", run.name, told)


def _require_alike(model: ImageModel, card: WeightsCard, start: Start, run: Run) -> None:
    differs = ""
    if card.config.family != run.model.family:
        differs = f"the family is {card.config.family} there, {run.model.family} here"
    elif card.image != model.image:
        differs = f"pictures are {card.image.size} px there, {model.image.size} px here"
    elif not {*card.categories} & {*model.categories}:
        differs = f"no category is the same: {', '.join(card.categories)} there, {', '.join(model.categories)} here"
    if differs:
        raise UsageError(
            f"cannot start from {start.origin.name}: {differs}",
            where=f"{run.name}: init_from",
            advice="start from other weights, or take init_from out",
        )


def _fit_part(
    model: ImageModel, part: str, held: ImageModel, known: Mapping[str, Tensor], vocabulary: Vocabulary
) -> tuple[dict[str, Tensor], str]:
    """The tensors of one part of the model, made of `known`, those of `held` among them; and the first misfit in words, if any.

    A buffer that does not fit is left as it begins: it is measured while training, not learnt.
    """
    wanted, learnt = _below(part, model.state_dict()), _below(part, dict(model.named_parameters()))
    made, renamed = _below(part, known), set()
    for place, module in model.named_modules():
        if _below(part, {place: module}) and isinstance(module, CarriesOver):
            own = {name.removeprefix(f"{place}."): tensor for name, tensor in made.items() if name.startswith(f"{place}.")}
            renamed |= {f"{place}.{name}" for name in own}
            if own:
                made |= {f"{place}.{name}": tensor for name, tensor in module.carry_over(own, vocabulary).items()}
    for name, tensor in learnt.items():
        if name not in made:
            return {}, f"{name} is not there"
        if made[name].shape != tensor.shape:
            return {}, f"{name} is {tuple(made[name].shape)} there, {tuple(tensor.shape)} here"
    if more := _below(part, dict(held.named_parameters())).keys() - wanted.keys() - renamed:
        return {}, f"{min(more)} is not here"
    return {name: made[name] for name, tensor in wanted.items() if name in made and made[name].shape == tensor.shape}, ""


def _below(part: str, named: Mapping[str, T]) -> dict[str, T]:
    return {name: value for name, value in named.items() if name.split(".")[0] == part}


def _other_networks(model: ImageModel, card: WeightsCard, start: Start, run: Run, misfit: str) -> UsageError:
    pairs = {name: (getattr(card.config, name), getattr(model.config, name)) for name in type(model.config).model_fields}
    settings = [f"{name} is {there} there, {here} here" for name, (there, here) in pairs.items() if there != here]
    return UsageError(
        f"cannot start from {start.origin.name}: the networks differ: {misfit}",
        where=f"{run.name}: init_from",
        advice=f"settings that differ: {'; '.join(settings)}" if settings else "start from other weights",
    )


def freeze(model: ImageModel, run: Run) -> None:
    """Let the parameters that `run` names stay as they are: they become buffers, constants of the network with the same names.

    They then get no gradient, no optimiser's state and no decay. Raises UsageError where a pattern names no parameter, where the
    critic has not so many layers, or where nothing that is deployed would be left to learn.
    """
    parameters = dict(model.named_parameters())
    frozen: set[str] = set()
    for pattern in run.freeze:
        matched = {name for name in parameters if fnmatchcase(name, pattern)}
        if not matched:
            some = ", ".join([*parameters][:: max(1, len(parameters) // 5)][:6])
            raise UsageError(f"no parameter is called {pattern}", where=f"{run.name}: freeze", advice=f"there are {some} ...")
        frozen |= matched
    layers = model.critic_layers()
    if run.freeze_critic > len(layers):
        there = f"the critic has {len(layers)} layers" if layers else "there is no critic"
        raise UsageError(f"{there}, not {run.freeze_critic} to keep", where=f"{run.name}: freeze_critic", advice="name fewer")
    kept = {id(parameter) for layer in layers[: run.freeze_critic] for parameter in layer.parameters()}
    frozen |= {name for name, parameter in parameters.items() if id(parameter) in kept}
    if not any(name.split(".")[0] in model.deployed for name in parameters.keys() - frozen):
        raise UsageError("nothing is left to learn", where=f"{run.name}: freeze", advice="freeze less")
    for name in [name for name in parameters if name in frozen]:  # in one order: processes compare their networks' tensors in it
        place, _, leaf = name.rpartition(".")
        owner = model.get_submodule(place)
        delattr(owner, leaf)
        owner.register_buffer(leaf, parameters[name].detach())
    if frozen:
        logger.info("%s: %d of %d parameters stay as they start", run.name, len(frozen), len(parameters))
