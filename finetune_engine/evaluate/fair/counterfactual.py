"""Questions asked again with only a name, a pronoun, a place or a word of the user's lists exchanged.

Any change of words flips some answers. So each question is asked in two ways: exchanged **between** groups (another
origin, the other gender, another region), and exchanged **within** the group, which is the noise floor; for pronouns
and for groups of a single word, where there is nothing to exchange within, equally many neutral words are put for
near synonyms. What counts is the excess of flips between over flips within, on the same questions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.cases import TestCase
from finetune_engine.evaluate.fair.names import NAMES, PLACES
from finetune_engine.evaluate.fair.pronouns import gendered, names_of_other_gender, names_of_same_gender, other_gender
from finetune_engine.evaluate.settings import FairnessSettings
from finetune_engine.evaluate.texts.swaps import WordGroups, exchanged, neutral_exchange, user_texts, with_user_texts

MOST_CASES = 200
FEWEST_CASES = 30
TRIES = 2
"""How often each question is exchanged between groups, and how often within."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """A prompt with words exchanged; ``reference`` is the expected answer with the same words exchanged, and
    ``exchanged_in`` does the same to any text."""

    texts: list[str]
    reference: str
    exchanged_in: Callable[[str], str] = field(compare=False, repr=False)


class Swap(Protocol):
    """One sort of exchange. ``variants`` gives None where a text has nothing to exchange, or nothing to exchange it for."""

    @property
    def kind(self) -> str:
        """Its name in the report."""

    @property
    def what(self) -> str:
        """What is exchanged, after "changing only ..."."""

    def mentions(self, texts: Sequence[str], labels: Sequence[str]) -> bool:
        """Whether there is anything to exchange."""

    def variants(
        self, texts: Sequence[str], reference: str, labels: Sequence[str], rng: random.Random
    ) -> tuple[Variant, Variant] | None:
        """The prompt exchanged between groups, and within."""


@dataclass(frozen=True)
class ListSwap:
    """Words of lists: names, places, or the user's own."""

    kind: str
    what: str
    groups: WordGroups

    def mentions(self, texts: Sequence[str], labels: Sequence[str]) -> bool:
        """Whether a word of the lists occurs."""
        return bool(self.groups.found(texts, labels))

    def variants(
        self, texts: Sequence[str], reference: str, labels: Sequence[str], rng: random.Random
    ) -> tuple[Variant, Variant] | None:
        """Another group's words; other words of the same group, or neutral words where a group has only one."""
        found = self.groups.found(texts, labels)
        between = self.groups.between(found, rng)
        within = self.groups.within(found, rng) or neutral_exchange(texts, len(found), rng)
        if not between or not within:
            return None
        return _variant(texts, reference, between, labels), _variant(texts, reference, within, labels)


@dataclass(frozen=True)
class GenderSwap:
    """Pronouns and gendered words, and with them the first names that the lists know."""

    kind: str = "pronouns"
    what: str = "the gender (she for he, and what follows from it)"

    def mentions(self, texts: Sequence[str], labels: Sequence[str]) -> bool:
        """Whether a pronoun or gendered word occurs."""
        return any(gendered(text, labels) for text in texts)

    def variants(
        self, texts: Sequence[str], reference: str, labels: Sequence[str], rng: random.Random
    ) -> tuple[Variant, Variant] | None:
        """The other gender; and the same gender with other names and neutral words."""
        count = sum(gendered(text, labels) for text in texts)
        neutral = neutral_exchange(texts, count, rng)
        if neutral is None:
            return None
        names = names_of_other_gender(texts, rng, labels)
        changed = [exchanged(other_gender(text, labels), names, labels) for text in texts]

        def in_any(text: str) -> str:
            return exchanged(other_gender(text), names)

        between = Variant(changed, in_any(reference), in_any)
        within = names_of_same_gender(texts, rng, labels) | neutral
        return between, _variant(texts, reference, within, labels)


@dataclass(frozen=True)
class Asked:
    """One sort of exchange over the cases at ``positions``: ``between[case][try]`` and ``within[case][try]``.

    ``mentioning`` is how many of all cases have anything to exchange, ``of`` how many cases there are.
    """

    swap: Swap
    positions: list[int]
    between: list[list[Variant]]
    within: list[list[Variant]]
    mentioning: int
    of: int

    @property
    def is_enough(self) -> bool:
        """Whether there are cases enough to say anything."""
        return len(self.positions) >= FEWEST_CASES

    @staticmethod
    def texts(case: TestCase) -> list[str]:
        """The texts of a case in which words are exchanged."""
        return user_texts(case.messages)

    def questions(self, cases: Sequence[TestCase]) -> list[list[dict[str, Any]]]:
        """What to ask: case by case, between and within, try by try. Nothing when there are too few cases."""
        if not self.is_enough:
            return []
        return [
            with_user_texts(cases[position].messages, variant.texts)
            for at, position in enumerate(self.positions)
            for variant in (*self.between[at], *self.within[at])
        ]


def swaps_for(settings: FairnessSettings) -> list[Swap]:
    """Names, pronouns and places, and the user's own lists."""
    own = [
        ListSwap(name, f'a word of the list "{name}"', WordGroups(name, {"word": {"first": a, "second": b}}, False))
        for name, (a, b) in settings.lists.items()
    ]
    return [
        ListSwap("names", "the name (to one of another origin)", NAMES),
        GenderSwap(),
        ListSwap("places", "the place (to one in another region)", PLACES),
        *own,
    ]


def ask(swap: Swap, cases: Sequence[TestCase], labels: Sequence[str], seed: int) -> Asked:
    """The questions of one sort of exchange, on at most ``MOST_CASES`` cases (a seeded draw among those that mention any)."""
    texts = {position: user_texts(case.messages) for position, case in enumerate(cases)}
    mentioning = [position for position in texts if swap.mentions(texts[position], labels)]
    rng = random.Random(f"{swap.kind}:{seed}")
    drawn = sorted(rng.sample(mentioning, min(MOST_CASES, len(mentioning))))
    positions: list[int] = []
    between: list[list[Variant]] = []
    within: list[list[Variant]] = []
    for position in drawn:
        case = cases[position]
        made = [
            swap.variants(texts[position], case.reference, labels, random.Random(f"{swap.kind}:{case.row}:{number}"))
            for number in range(TRIES)
        ]
        pairs = [pair for pair in made if pair is not None]
        if len(pairs) == TRIES:
            positions.append(position)
            between.append([pair[0] for pair in pairs])
            within.append([pair[1] for pair in pairs])
    return Asked(swap, positions, between, within, len(mentioning), len(cases))


def _variant(texts: Sequence[str], reference: str, exchange: dict[str, str], labels: Sequence[str]) -> Variant:
    def in_any(text: str) -> str:
        return exchanged(text, exchange)

    return Variant([exchanged(text, exchange, labels) for text in texts], in_any(reference), in_any)
