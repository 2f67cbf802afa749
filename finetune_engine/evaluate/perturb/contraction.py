"""Short and long forms of English: "don't" and "do not". Forms with two readings ("I'd") are left alone."""

from __future__ import annotations

import random
import re

from finetune_engine.evaluate.perturb.perturbation import Perturbation
from finetune_engine.evaluate.texts.capitals import in_small_letters, in_the_case_of

LONG_FORMS = {
    "aren't": "are not", "can't": "cannot", "couldn't": "could not", "didn't": "did not", "doesn't": "does not",
    "don't": "do not", "hadn't": "had not", "hasn't": "has not", "haven't": "have not", "he'll": "he will",
    "i'll": "I will", "i'm": "I am", "i've": "I have", "isn't": "is not", "it'll": "it will", "mustn't": "must not",
    "needn't": "need not", "she'll": "she will", "shouldn't": "should not", "they'll": "they will",
    "they're": "they are", "they've": "they have", "wasn't": "was not", "we'll": "we will", "we're": "we are",
    "we've": "we have", "weren't": "were not", "won't": "will not", "wouldn't": "would not", "you'll": "you will",
    "you're": "you are", "you've": "you have",
    "it's": "it is", "that's": "that is", "there's": "there is", "what's": "what is", "where's": "where is",
    "who's": "who is", "how's": "how is", "here's": "here is",
}  # fmt: skip
SHORT_FORMS = {long.lower(): short for short, long in LONG_FORMS.items()}
_HAS = re.compile(r"\s+(?:been|got|had|become|taken|made|gone)\b", re.IGNORECASE)
_SHORT = re.compile(
    r"\b(" + "|".join(short.replace("'", "['’]") for short in sorted(LONG_FORMS, key=len, reverse=True)) + r")\b",
    re.IGNORECASE,
)
_LONG = re.compile(
    r"\b(" + "|".join(long.replace(" ", " +") for long in sorted(SHORT_FORMS, key=len, reverse=True)) + r")\b(?=\s+\w)",
    re.IGNORECASE,
)


def expand(text: str, rng: random.Random) -> str:
    """Long forms for short ones; "it's been" becomes "it has been"."""

    def one(match: re.Match[str]) -> str:
        short = match.group()
        long = LONG_FORMS[in_small_letters(short).replace("’", "'")]
        if long.endswith(" is") and _HAS.match(text, match.end()):
            long = long.removesuffix(" is") + " has"
        shown = in_the_case_of(short, long) if not short.islower() else long
        return shown if not long.startswith("I ") or short.isupper() else long

    return _SHORT.sub(one, text)


def contract(text: str, rng: random.Random) -> str:
    """Short forms for long ones, except at the end of a clause ("yes, it is")."""

    def one(match: re.Match[str]) -> str:
        short = SHORT_FORMS[re.sub(" +", " ", in_small_letters(match.group()))]
        if short.startswith("i'"):
            short = "I" + short[1:]
            return short.upper() if match.group().isupper() else short if match.group()[0] == "I" else short.lower()
        return in_the_case_of(match.group(), short)

    return _LONG.sub(one, text)


PERTURBATIONS = (
    Perturbation("contraction", "expanded", "format_flexibility", 'When "don\'t" is written "do not"', expand),
    Perturbation("contraction", "contracted", "format_flexibility", 'When "do not" is written "don\'t"', contract),
)
