"""Reasons why two questions that look alike do not deserve the same answer.

An embedding hardly sees a changed number, a "not" or who does what to whom; each guard looks for one of these. They
read English. For a question that is not recognised as English all of them step back behind one that is strict and
neutral: the same words in the same order. A guard that is wrong costs a hit, and the model is asked.
"""

from __future__ import annotations

from collections.abc import Callable

from finetune_engine.serve.semantic import lexicon
from finetune_engine.serve.semantic.numbers import amounts, spans
from finetune_engine.serve.semantic.reading import (
    NEAR_KINDS,
    are_opposites,
    bearings,
    doers,
    done_to,
    has_prefixed,
    journeys,
    kind_of,
    left_over,
    marked,
    may_turn,
    measured_against,
    names,
    negations,
    order,
    roles,
    sequences,
    spoken,
    subject,
    weak,
)
from finetune_engine.serve.semantic.tenses import (
    done_or_was_done,
    is_done_in_one_alone,
    is_supposed,
    modality,
    past_by_clause,
)
from finetune_engine.serve.semantic.words import is_english, is_foreign, signs, words

Guard = Callable[[str, str], bool]
"""Whether the pair must be refused. The order of the two does not matter."""

LONGEST_RATIO = 2.2


def refusal(asked: str, kept: str) -> str | None:
    """The name of the first guard that refuses the pair (a key of GUARDS); None when one answer may fit both."""
    if signs(asked) != signs(kept):
        return "signs"
    if words(asked) == words(kept) and names(asked) == names(kept):
        return None
    if not _are_english(asked, kept):
        return "language"
    return next((name for name, guard in GUARDS.items() if guard(asked, kept)), None)


def _are_english(asked: str, kept: str) -> bool:
    """Both, or one of them, and the other is no more than key words of it: "parking costs refundable?"."""
    if not (is_english(asked) or is_english(kept)) or is_foreign(asked) or is_foreign(kept):
        return False
    first, second = subject(asked), subject(kept)
    return (is_english(asked) or first <= second) and (is_english(kept) or second <= first)


def differs_in_numbers(asked: str, kept: str) -> bool:
    """Other digits, number words, dates, amounts, percentages, ordinals, units or codes, or the same in another
    order."""
    return amounts(asked) != amounts(kept) or spans(asked) != spans(kept)


def differs_in_negation(asked: str, kept: str) -> bool:
    """One says "not", "without", "except", "only" where the other does not."""
    return negations(asked) != negations(kept)


def differs_in_polarity(asked: str, kept: str) -> bool:
    """Valid and invalid, allow and forbid, before and after."""
    first, second = marked(asked), marked(kept)
    only_first, only_second = first - second, second - first
    if any(are_opposites(one, other) for one in only_first for other in only_second):
        return True
    return any(
        one == prefix + other or other == prefix + one
        for one in only_first
        for other in only_second
        for prefix in lexicon.PREFIXES
    ) or has_prefixed(asked) != has_prefixed(kept)


def differs_in_roles(asked: str, kept: str) -> bool:
    """Another party: the landlord here, the tenant there."""
    first, second = roles(asked), roles(kept)
    return (bool(first - second) and bool(second - first)) or not {"he", "she"}.isdisjoint(first ^ second)


def differs_in_voice(asked: str, kept: str) -> bool:
    """Who informs against who is informed: a person does it in one and has it done to them in the other."""
    return done_to(asked) != done_to(kept)


def differs_in_names(asked: str, kept: str) -> bool:
    """A person, place, product, acronym, quotation or address that the other does not mention."""
    first, second = names(asked), names(kept)
    return not (first <= second | spoken(kept) and second <= first | spoken(asked))


def differs_in_kind(asked: str, kept: str) -> bool:
    """Who against when, why against whether, how much against how soon."""
    first, second = kind_of(asked), kind_of(kept)
    return first != second and frozenset({first, second}) not in NEAR_KINDS


def differs_in_direction(asked: str, kept: str) -> bool:
    """The same persons and things the other way round: from A to B, I sue them, they sue me."""
    if journeys(asked) != journeys(kept) or _heads_elsewhere(asked, kept):
        return True
    is_turned_round = may_turn(asked) != may_turn(kept)
    first, second = (order(text, persons_only=is_turned_round) for text in (asked, kept))
    if _is_turned(first, second):
        return ("by" in words(asked)) == ("by" in words(kept))
    if is_turned_round:
        return False
    one, other = sequences(asked), sequences(kept)
    return _is_turned(one[0], other[0]) and not set(one) & set(other)


def _heads_elsewhere(asked: str, kept: str) -> bool:
    first, second = bearings(asked), bearings(kept)
    shared = [(first[thing], second[thing]) for thing in first.keys() & second.keys()]
    if any(one != other and {one, other} != {"at", "for"} for one, other in shared):
        return True
    if measured_against(asked) != measured_against(kept):
        return True
    one, other = doers(asked), doers(kept)
    return one is not None and other is not None and one != other


def _is_turned(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    return first != second and sorted(first) == sorted(second)


def differs_in_modality(asked: str, kept: str) -> bool:
    """What may be done against what must be done, what will be against what may be."""
    if kind_of(asked) == kind_of(kept) == "how":
        return False
    first, second = modality(asked), modality(kept)
    if {"permit", "future"} <= first ^ second and not first & second:
        return True
    if "duty" in first & second and "advice" in first ^ second:
        return True
    whether = "whether" in (kind_of(asked), kind_of(kept))
    return "duty" in first ^ second and (whether or "permit" in first ^ second)


def differs_in_tense(asked: str, kept: str) -> bool:
    """What was against what is or will be; what happened against what may have happened."""
    if is_supposed(asked) != is_supposed(kept):
        return True
    if past_by_clause(asked) == past_by_clause(kept):
        return not any(past_by_clause(asked)) and is_done_in_one_alone(asked, kept)
    (one, one_passive), (other, other_passive) = done_or_was_done(asked), done_or_was_done(kept)
    done = one | one_passive
    return not (done and done == other | other_passive and not one_passive & other_passive)


def differs_in_length(asked: str, kept: str) -> bool:
    """One says much more than the other."""
    first, second = len(words(asked)), len(words(kept))
    return max(first, second) > LONGEST_RATIO * max(1, min(first, second))


def differs_in_subject(asked: str, kept: str) -> bool:
    """A word that names what is asked about stands in one alone, and nothing like it in the other."""
    first, second = subject(asked), subject(kept)
    if left_over(first - second, second) or left_over(second - first, first):
        return True
    lighter, other = weak(asked), weak(kept)
    return bool(left_over(lighter - other, other)) and bool(left_over(other - lighter, lighter))


GUARDS: dict[str, Guard] = {
    "numbers": differs_in_numbers,
    "negation": differs_in_negation,
    "polarity": differs_in_polarity,
    "roles": differs_in_roles,
    "voice": differs_in_voice,
    "names": differs_in_names,
    "kind": differs_in_kind,
    "direction": differs_in_direction,
    "modality": differs_in_modality,
    "tense": differs_in_tense,
    "length": differs_in_length,
    "subject": differs_in_subject,
}
