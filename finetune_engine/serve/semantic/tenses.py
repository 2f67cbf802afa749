"""Whether a question is about what was, what may be, what must be or what will be."""

from __future__ import annotations

import re
from functools import lru_cache

from finetune_engine.serve.semantic import lexicon
from finetune_engine.serve.semantic.words import stem, words

_LINK = re.compile(r"\b(if|when|because|after|before|while|once|although)\b")
_BEEN = re.compile(r"\b(has|have) (\w+ )?been\b")
_REACH = 5
"""Words behind a "was" among which its participle is looked for: "was the last meeting moved"."""
_SUPPOSED = re.compile(r"\b(would|might|could|may|should|must) (not )?have\b")
_OWN = frozenset({"my", "mine", "our", "ours", "your", "yours", "his", "her", "hers", "their", "theirs"})
_SUBJECTS = (
    lexicon.SELF | lexicon.YOU | lexicon.HE | lexicon.SHE | lexicon.THEY | {"it", "who", "what", "that", "which"}
) - _OWN
_MODALITIES = {
    "permit": lexicon.PERMIT,
    "duty": lexicon.DUTY,
    "advice": lexicon.ADVICE,
    "future": lexicon.FUTURE,
}
_BETWEEN = frozenset({"not", "already", "also", "just", "never", "now", "recently", "always"})


@lru_cache(maxsize=4096)
def clauses(text: str) -> tuple[str, str]:
    """The main clause, and what stands behind the first "if", "when", "because" in it ("" where there is none)."""
    line = " ".join(words(text))
    found = _LINK.search(line, 1)
    return (line[: found.start()], line[found.start() :]) if found else (line, "")


def is_past(line: str) -> bool:
    """Whether a line of lower-case words says what was or has been: "was", "has the tenant paid", "we bought"."""
    found = line.split()
    return bool(lexicon.PAST & set(found)) or bool(_BEEN.search(line)) or _has_done(found) or _did(found)


def _has_done(line: list[str]) -> bool:
    """ "have paid", "has not paid"; and where it is asked, "has the tenant paid"."""
    for place, word in enumerate(line):
        if word not in ("have", "has"):
            continue
        rest = [later for later in line[place + 1 :] if later not in _BETWEEN]
        is_asked = place == 0 or line[place - 1] in ("who", "what", "when", "where", "why", "how")
        if is_asked and rest[:1] in (["a"], ["an"]):
            continue
        if any(_is_deed(later) or later == "been" for later in rest[: _REACH if is_asked else 1]):
            return True
    return False


def _did(line: list[str]) -> bool:
    """ "we bought", "who signed", "what happened"; not "am I entitled"."""
    return any(
        one in _SUBJECTS and before not in lexicon.BE and _is_deed(other)
        for before, one, other in zip(["", *line], line, line[1:], strict=False)
    )


def _is_deed(word: str) -> bool:
    return word in lexicon.PAST_FORMS or (word.endswith("ed") and len(word) > 4 and stem(word) != word)


@lru_cache(maxsize=4096)
def past_by_clause(text: str) -> tuple[bool, bool]:
    """Whether the main clause is about the past, and whether the clause behind it is."""
    main, behind = clauses(text)
    return is_past(main), is_past(behind)


@lru_cache(maxsize=4096)
def done_or_was_done(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The stems of what was done, without and with a form of "be" before it: "dismissed the claim", "the claim was
    dismissed". The two say the same."""
    line = words(text)
    deeds = {place: stem(word) for place, word in enumerate(line) if _is_deed(word)}
    passive = {place for place in deeds if lexicon.BE & set(line[max(0, place - _REACH) : place])}
    return (
        frozenset(deed for place, deed in deeds.items() if place not in passive),
        frozenset(deeds[place] for place in passive),
    )


def is_done_in_one_alone(one: str, other: str) -> bool:
    """Whether a verb of both stands in the past in one and not in the other: the patient took, the patient takes."""
    for first, second in ((one, other), (other, one)):
        done, present = done_or_was_done(first)[0], {stem(word) for word in words(second) if not _is_deed(word)}
        if done & present - frozenset().union(*done_or_was_done(second)):
            return True
    return False


@lru_cache(maxsize=4096)
def is_supposed(text: str) -> bool:
    """ "might have broken": a past that nobody is sure of."""
    return bool(_SUPPOSED.search(" ".join(words(text))))


@lru_cache(maxsize=4096)
def modality(text: str) -> frozenset[str]:
    """Of ``permit``, ``duty``, ``advice`` and ``future``: what may be, must be, should be, will be. Advice is a mild
    duty, so ``duty`` comes with it."""
    line = set(words(text))
    found = {name for name, group in _MODALITIES.items() if line & group}
    return frozenset(found | {"duty"} if "advice" in found else found)
