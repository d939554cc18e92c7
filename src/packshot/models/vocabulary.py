"""What a model is told, categories and attributes, in the words of another catalogue: how weights move from one to the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from packshot.records import Condition


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The categories and attributes of a catalogue as mixtures of those that a model knows."""

    categories: Tensor
    """Float64 (new, known): a row is 1 at the category of the same name; one that is new is the mean of all that are known."""
    columns: Tensor
    """Float64 (known, new), for encoded attributes x: what the model makes of them is what it would make of columns @ x."""
    unknown: tuple[str, ...]
    """The categories and attributes that are new to the model."""

    @classmethod
    def match(
        cls,
        known: tuple[tuple[str, ...], tuple[Condition, ...]],
        wanted: tuple[tuple[str, ...], tuple[Condition, ...]],
    ) -> Vocabulary:
        """Match the (categories, conditions) that a model knows with those of a catalogue, by name.

        A label's new word starts as the mean of those known, a new attribute as one that says nothing, and a number's moments are
        converted exactly.
        """
        categories = torch.zeros(len(wanted[0]), len(known[0]), dtype=torch.float64)
        for row, name in enumerate(wanted[0]):
            if name in known[0]:
                categories[row, known[0].index(name)] = 1
            else:
                categories[row] = 1 / len(known[0])
        columns = torch.zeros(_width(known[1]), _width(wanted[1]), dtype=torch.float64)
        places = {condition.name: (condition, _width(known[1][:index])) for index, condition in enumerate(known[1])}
        strange = [name for name in wanted[0] if name not in known[0]]
        column = 0
        for condition in wanted[1]:
            before, row = places.get(condition.name, (condition, -1))
            if row < 0 or before.kind != condition.kind:
                strange.append(condition.name)
            else:
                block = _match_words(before, condition) if condition.kind == "label" else _match_moments(before, condition)
                columns[row : row + before.size, column : column + condition.size] = block
                strange += [f"{condition.name} {word}" for word in condition.values if word not in before.values]
            column += condition.size
        return cls(categories, columns, tuple(strange))

    def carry_rows(self, table: Tensor) -> Tensor:
        """A table with a row a category, (known + k, ...), for the new categories, (new + k, ...); the last k rows stay."""
        known = self.categories.shape[1]
        mixed = (self.categories.to(table.device) @ table[:known].double().flatten(1)).to(table.dtype)
        return torch.cat((mixed.reshape(-1, *table.shape[1:]), table[known:]))

    def carry_columns(self, weight: Tensor) -> Tensor:
        """A linear map of encoded attributes, (features, known), for the new ones, (features, new)."""
        return (weight.double() @ self.columns.to(weight.device)).to(weight.dtype)


class CarriesOver(ABC):
    """A module some of whose tensors stand for categories or attributes, and so depend on a catalogue's words."""

    @abstractmethod
    def carry_over(self, known: Mapping[str, Tensor], vocabulary: Vocabulary) -> dict[str, Tensor]:
        """The module's tensors, by their names within it, made of those that it had under other words, `known`.

        Raises KeyError where one is missing.
        """


def _width(conditions: tuple[Condition, ...]) -> int:
    return sum(condition.size for condition in conditions)


def _match_words(known: Condition, wanted: Condition) -> Tensor:
    block = torch.zeros(known.size, wanted.size, dtype=torch.float64)
    for column, word in enumerate(wanted.values):
        if word in known.values:
            block[known.values.index(word), column] = 1
        else:
            block[:, column] = 1 / known.size
    return block


def _match_moments(known: Condition, wanted: Condition) -> Tensor:
    """The z-score under known moments is linear in that under the wanted ones and in the 1 which says that there is a number."""
    scale, shift = wanted.deviation / known.deviation, (wanted.mean - known.mean) / known.deviation
    return torch.tensor([[scale, shift], [0.0, 1.0]], dtype=torch.float64)
