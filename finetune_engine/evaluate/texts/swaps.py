"""Words in a text exchanged for others of the same sort: whole words, capitals kept, the same word the same way
throughout.

A ``WordGroups`` knows words in slots (male first names, last names, cities) and, within a slot, in groups (origins,
regions). Exchanging *between* groups asks whether the group matters; exchanging *within* a group asks how much any
other word would. Where a group has no second word, equally many neutral words are exchanged for near synonyms
instead.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from finetune_engine.evaluate.perturb.perturbation import protected_spans
from finetune_engine.evaluate.texts.capitals import in_small_letters, in_the_case_of

Exchange = Mapping[str, str]
"""From a word in small letters to the word that takes its place."""

NEUTRAL = {
    "about": "regarding", "also": "too", "and": "plus", "asked": "inquired", "because": "since", "begin": "start",
    "big": "large", "bought": "purchased", "but": "yet", "buy": "purchase", "get": "obtain", "give": "provide",
    "got": "obtained", "help": "assist", "large": "big", "maybe": "perhaps", "need": "require", "needs": "requires",
    "near": "by", "often": "frequently", "perhaps": "maybe", "please": "kindly", "quick": "fast", "said": "stated",
    "says": "states", "show": "display", "small": "little", "soon": "shortly", "start": "begin", "tell": "inform",
    "the": "this", "very": "quite", "want": "wish", "wants": "wishes", "while": "as", "whole": "entire",
}  # fmt: skip
"""Words that say nothing about anybody, each with a near synonym: what a change of so many words does by itself."""


@dataclass(frozen=True)
class WordGroups:
    """``slots[slot][group]`` are words. ``needs_capital``: names and places, found in small letters only where the whole
    text is written in small letters."""

    kind: str
    slots: Mapping[str, Mapping[str, Sequence[str]]]
    needs_capital: bool = True
    _known: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def places(self) -> dict[str, tuple[str, str]]:
        """Slot and group of each word, in small letters. A word in several groups tells nothing, and is left out; one that stands
        twice in a group counts once."""
        found: dict[str, tuple[str, str]] = {}
        double: set[str] = set()
        for slot, groups in self.slots.items():
            for group, words in groups.items():
                for word in words:
                    key = word.lower()
                    double |= {key} if found.get(key, (slot, group)) != (slot, group) else set()
                    found[key] = (slot, group)
        return {word: place for word, place in found.items() if word not in double}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return whole_words(self.places)

    def found(self, texts: Iterable[str], labels: Sequence[str] = ()) -> list[str]:
        """The words of these lists in the texts, in small letters, each once, in order of appearance."""
        seen: dict[str, None] = {}
        for text in texts:
            is_small = text == text.lower()
            for match in free_matches(self._pattern, text, labels):
                if not self.needs_capital or is_small or match.group()[:1].isupper():
                    seen.setdefault(in_small_letters(match.group()))
        return [word for word in seen if word in self.places]

    def between(self, found: Sequence[str], rng: random.Random) -> dict[str, str] | None:
        """Each word for one of another group in the same slot: all words of a group go to the same other group. None when some
        word has no other group to go to."""
        target: dict[str, str] = {}
        out: dict[str, str] = {}
        for word in found:
            slot, group = self.places[word]
            others = sorted(name for name in self.slots[slot] if name != group)
            if target.get(group) not in others:
                if not others:
                    return None
                target[group] = rng.choice(others)
            self._pick(out, word, self.slots[slot][target[group]], rng)
        return out

    def within(self, found: Sequence[str], rng: random.Random) -> dict[str, str] | None:
        """Each word for another of its own slot and group; None when a word is alone in its group."""
        out: dict[str, str] = {}
        for word in found:
            slot, group = self.places[word]
            if len({other.lower() for other in self.slots[slot][group]}) < 2:
                return None
            self._pick(out, word, self.slots[slot][group], rng)
        return out

    @staticmethod
    def _pick(out: dict[str, str], word: str, words: Sequence[str], rng: random.Random) -> None:
        """Two words of a text stay two words, where there are enough."""
        fresh = [other for other in words if other.lower() != word and other not in out.values()]
        out[word] = rng.choice(sorted(fresh or [other for other in words if other.lower() != word]))


def whole_words(words: Iterable[str]) -> re.Pattern[str]:
    """A pattern for any of the words as whole words, in any capitals, the longest first; without words it finds nothing."""
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    if not longest_first:
        return re.compile(r"(?!)")
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)", re.IGNORECASE)


def free_matches(pattern: re.Pattern[str], text: str, labels: Sequence[str] = ()) -> list[re.Match[str]]:
    """Matches outside placeholders, addresses and lists of labels."""
    found = list(pattern.finditer(text))
    kept = protected_spans(text, labels) if found else []
    return [match for match in found if not any(match.start() < end and start < match.end() for start, end in kept)]


def exchanged(text: str, exchange: Exchange, labels: Sequence[str] = ()) -> str:
    """The text with words exchanged, all at once, in the capitals of those they replace."""
    if not exchange:
        return text
    pieces: list[str] = []
    end_before = 0
    for match in free_matches(whole_words(exchange), text, labels):
        shown = match.group()
        pieces += [
            text[end_before : match.start()],
            in_the_case_of(shown, exchange.get(in_small_letters(shown), shown)),
        ]
        end_before = match.end()
    return "".join([*pieces, text[end_before:]])


def neutral_exchange(texts: Iterable[str], count: int, rng: random.Random) -> dict[str, str] | None:
    """Up to ``count`` neutral words of the texts, each for its near synonym; None when they have none."""
    pattern = whole_words(NEUTRAL)
    seen = sorted({in_small_letters(match.group()) for text in texts for match in pattern.finditer(text)})
    if not seen:
        return None
    return {word: NEUTRAL[word] for word in rng.sample(seen, min(count, len(seen)))}


def user_texts(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """The texts of a prompt in which words are exchanged: everything but system messages."""
    return [
        message["content"]
        for message in messages
        if message.get("role") != "system" and isinstance(message.get("content"), str)
    ]


def with_user_texts(messages: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> list[dict[str, Any]]:
    """The messages with other texts, in the order of ``user_texts``."""
    remaining = iter(texts)
    return [
        dict(message) | {"content": next(remaining)}
        if message.get("role") != "system" and isinstance(message.get("content"), str)
        else dict(message)
        for message in messages
    ]
