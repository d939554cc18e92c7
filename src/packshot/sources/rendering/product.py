"""What a product is before it is drawn: a category, two colours, a pattern, and the features that its caption names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np

PALETTE: Mapping[str, tuple[int, int, int]] = {
    "white": (238, 237, 233),
    "black": (44, 44, 49),
    "grey": (146, 149, 155),
    "red": (200, 44, 50),
    "orange": (234, 126, 46),
    "yellow": (240, 198, 66),
    "green": (62, 144, 86),
    "olive": (122, 124, 66),
    "mint": (150, 212, 184),
    "teal": (30, 136, 142),
    "sky": (128, 186, 230),
    "blue": (46, 100, 190),
    "navy": (40, 54, 104),
    "purple": (120, 76, 160),
    "pink": (238, 152, 178),
    "burgundy": (124, 30, 56),
    "brown": (128, 84, 54),
    "beige": (220, 196, 160),
}
"""Names of colours, and the sRGB that a surface of that name has where the light falls on it squarely."""

PATTERNS: Mapping[str, int] = {
    "plain": 9,
    "striped": 4,
    "pinstriped": 2,
    "dotted": 3,
    "checked": 3,
    "chevron": 2,
    "floral": 3,
    "gradient": 2,
    "two-tone": 2,
}
"""Names of patterns, and how common each is."""

Choices = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """One category: how common it is, and what its products differ in."""

    category: str
    weight: int
    choices: Choices
    """One feature of each tuple; an empty one goes unsaid in the caption."""
    sided: bool = False
    """Looks different from the left and from the right."""


KINDS: tuple[Kind, ...] = (
    Kind(
        "t-shirt", 4, (("a crew neck", "a V-neck", "a scoop neck"), ("", "wide sleeves", "a chest pocket", "contrasting cuffs"))
    ),
    Kind(
        "longsleeve", 3, (("a crew neck", "a V-neck", "a roll neck"), ("", "raglan sleeves", "ribbed cuffs", "a button placket"))
    ),
    Kind(
        "dress",
        4,
        (("straps", "short sleeves", "no sleeves", "long sleeves"), ("a flared skirt", "a straight skirt"), ("", "a belt")),
    ),
    Kind("trousers", 4, (("straight legs", "wide legs", "tapered legs", "flared legs"), ("", "creases", "turn-ups"))),
    Kind("skirt", 3, (("pleats", "a flared hem", "a straight cut", "a ruffled hem"), ("", "a wide waistband"))),
    Kind("hat", 3, (("a curved peak", "a wide brim", "a turned-up cuff"),), sided=True),
    Kind("shoe", 4, (("a low top", "a high top"), ("laces", "a strap"), ("", "a side stripe")), sided=True),
    Kind("bag", 3, (("two handles", "a flap", "one round handle"), ("", "a metal clasp", "an outer pocket"))),
    Kind(
        "mug",
        4,
        (("a round handle", "a square handle"), ("straight walls", "flared walls", "rounded walls"), ("", "a white inside")),
        sided=True,
    ),
    Kind("vase", 3, (("a narrow neck", "a round belly", "a flared mouth", "straight walls"), ("a glossy glaze", "a matt glaze"))),
    Kind("lamp", 3, (("a cone shade", "a drum shade", "a dome shade"), ("a round base", "a column base", "three legs"))),
    Kind(
        "chair",
        3,
        (("a solid back", "a slatted back", "a round back"), ("straight legs", "splayed legs"), ("", "armrests")),
        sided=True,
    ),
    Kind("bottle", 3, (("a long neck", "a short neck", "square shoulders", "a round belly"), ("a label", "a wide band", ""))),
    Kind("teapot", 3, (("a round belly", "a tall body", "a wide body"), ("a round handle", "an overhead handle")), sided=True),
    Kind("bowl", 3, (("a deep body", "a flat body", "straight walls"), ("a foot ring", ""), ("", "", "a white inside"))),
)


@dataclass(frozen=True, slots=True)
class Product:
    """A product as its shop would describe it."""

    kind: Kind
    colour: str
    second_colour: str
    pattern: str
    features: tuple[str, ...]
    from_left: bool
    """Whether the camera stands to the left (or, where both sides look the same, whether the light does)."""

    @property
    def category(self) -> str:
        return self.kind.category

    def has(self, feature: str) -> bool:
        return feature in self.features

    @property
    def caption(self) -> str:
        """One line of plain English that names the category, the colours, the pattern and the features."""
        looks = self.colour if self.pattern == "plain" else f"{self.colour} and {self.second_colour} {self.pattern}"
        article = "a pair of" if self.category == "trousers" else "an" if looks[0] in "aeiou" else "a"
        text = f"{article} {looks} {self.category}"
        if spoken := [feature for feature in self.features if feature]:
            text += " with " + " and ".join(part for part in (", ".join(spoken[:-1]), spoken[-1]) if part)
        return f"{text}, {'seen' if self.kind.sided else 'lit'} from the {'left' if self.from_left else 'right'}"


T = TypeVar("T")


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Draw one of the options, each as likely as the next."""
    return options[int(rng.integers(len(options)))]


def design(rng: np.random.Generator, kind: Kind) -> Product:
    """Draw one product of a category."""
    colour = pick(rng, tuple(PALETTE))
    return Product(
        kind=kind,
        colour=colour,
        second_colour=pick(rng, _companions(colour)),
        pattern=pick(rng, [name for name, weight in PATTERNS.items() for _ in range(weight)]),
        features=tuple(pick(rng, options) for options in kind.choices),
        from_left=bool(rng.integers(2)),
    )


def kind_at(index: int) -> Kind:
    """The category of the photo number `index`: the categories take turns, the common ones more often."""
    order = _turns()
    return order[index % len(order)]


@cache
def _turns() -> tuple[Kind, ...]:
    """One round of all categories, each as often as its weight says and spread evenly (smooth weighted round robin)."""
    total = sum(kind.weight for kind in KINDS)
    credit = dict.fromkeys(range(len(KINDS)), 0)
    turns = []
    for _ in range(total):
        for at, kind in enumerate(KINDS):
            credit[at] += kind.weight
        due = max(credit, key=lambda at: (credit[at], -at))
        credit[due] -= total
        turns.append(KINDS[due])
    return tuple(turns)


@cache
def _companions(colour: str) -> tuple[str, ...]:
    """The colours that stand out against `colour`; the neutral ones count three times, as in any shop."""
    here = np.array(PALETTE[colour], float)
    weights = np.array([0.5, 0.75, 0.3])
    far = [name for name, rgb in PALETTE.items() if float(np.sqrt((weights * (np.array(rgb) - here) ** 2).sum())) > 75.0]
    neutral = [name for name in far if name in ("white", "black", "beige", "navy")]
    return (*far, *neutral, *neutral)
