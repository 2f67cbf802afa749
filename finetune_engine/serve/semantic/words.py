"""A question as words: lower case, contractions written out, endings taken off."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from finetune_engine.serve.semantic.lexicon import (
    CONTRACTIONS,
    COURTESIES,
    ENGLISH,
    FOREIGN,
    IRREGULAR,
    PHRASES,
    REQUESTS,
    SPELLINGS,
)

_TOKEN = re.compile(
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"  # an e-mail address
    r"|\d+(?:[.,:/]\d+)*(?:\([a-z]\)|[a-z]{1,4}\b)?"  # a number, a version, a section, with its letter or unit
    r"|[^\W\d_]+(?:[-_]?\d[\w.-]*)"  # a code: HR-014, web-01
    r"|[^\W\d_]+"
    r"|[%€$£]",
    re.IGNORECASE,
)
_CONTRACTION = re.compile("|".join(rf"\b{re.escape(short)}\b" for short in CONTRACTIONS), re.IGNORECASE)
_SHORT_VERB = re.compile(r"(?<=[^\W\d_])'(ll|re|ve|d)\b", re.IGNORECASE)
_SHORT_VERBS = {"ll": " will", "re": " are", "ve": " have", "d": " would"}
_OPENING = re.compile(rf"^(?:(?:{'|'.join(COURTESIES)})\b[\s,.:!;-]*)+", re.IGNORECASE)
_CLOSING = re.compile(rf"(?<![\s,.!-])(?:[\s,.!-]*\b(?:{'|'.join(COURTESIES)}))+[\s.,!]*(\??)$", re.IGNORECASE)
_REQUEST = re.compile(
    rf"^(?:can|could|would|will) you (?:please |kindly )*(?=(?:{'|'.join(REQUESTS)})\b)", re.IGNORECASE
)
_PHRASES = tuple((re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE), plain) for pattern, plain in PHRASES)
_CLAUSE = re.compile(r"^((?:if|when|once|after|before|because|while)\b[^,.?!]*),\s*(.*?)([?.!]?)$", re.IGNORECASE)
_ADVERBIAL = re.compile(
    r"^((?:as|at|by|during|for|in|on|since|to|under|until|upon|with|within|without)\b[^,.?!]*),\s*"
    r"((?:how|what|when|where|which|who|whom|why|am|are|can|could|do|does|did|has|have|is|may|must|shall|should|was"
    r"|were|will|would)\b[^,.?!]*)([?.!]?)$",
    re.IGNORECASE,
)
_SHARE_OF_ENGLISH = 0.15
_NO_SIGN = re.compile(r"[\w\s%€$£.,;:!?…¿¡'\"„“”«»()\[\]`*–—/&]|(?<![\s(])-|-(?!\d)")


def tidy(text: str) -> str:
    """The text in Unicode's compatibility form, one kind of apostrophe and blank."""
    text = unicodedata.normalize("NFKC", text).replace("’", "'").replace("‘", "'")
    return " ".join(text.split())


def written_out(text: str) -> str:
    """``can't`` as ``can not``, ``what's`` as ``what is``; possessives without their ``'s``, courtesies left out, set
    phrases in their short form, and a condition or a place that stands before the question behind it."""
    text = _CONTRACTION.sub(lambda found: CONTRACTIONS[found[0].lower()], tidy(text))
    text = _SHORT_VERB.sub(lambda found: _SHORT_VERBS[found[1].lower()], text)
    text = re.sub(r"'s\b|(?<=s)'(?=\s)", "", without_courtesies(text))
    if found := _CLAUSE.match(text) or _ADVERBIAL.match(text):
        text = f"{found[2]} {found[1]}{found[3]}"
    for pattern, plain in _PHRASES:
        text = pattern.sub(plain, text)
    return text


def without_courtesies(text: str) -> str:
    """The text without greeting and thanks; what is asked as a favour becomes the order that it is. A text that is
    nothing but courtesy stays as it is."""
    bare = _CLOSING.sub(r"\1", _OPENING.sub("", text))
    if found := _REQUEST.match(bare):
        bare = bare[found.end() :].removesuffix("?")
    return bare if re.search(r"\w", bare) else text


@lru_cache(maxsize=4096)
def signs(text: str) -> str:
    """What no word, number or punctuation covers and yet decides: ``<``, ``+``, a minus, the vowel signs of Hindi or
    Thai, in order."""
    return _NO_SIGN.sub("", tidy(text))


@lru_cache(maxsize=4096)
def tokens(text: str) -> tuple[str, ...]:
    """Words, numbers, codes and addresses in order, as they are written."""
    return tuple(_TOKEN.findall(written_out(text)))


@lru_cache(maxsize=4096)
def words(text: str) -> tuple[str, ...]:
    """The tokens in lower case, other spellings made one."""
    return tuple(SPELLINGS.get(token.lower(), token.lower()) for token in tokens(text))


def is_foreign(text: str) -> bool:
    """Whether a word is another language's, or written with letters that English has not."""
    return any(word in FOREIGN for word in words(text)) or any(
        not token.isascii() and token.islower() for token in tokens(text)
    )


def is_english(text: str) -> bool:
    """Whether enough of the words are English function words and none is another language's."""
    found = words(text)
    if not found or is_foreign(text):
        return False
    return sum(word in ENGLISH for word in found) >= _SHARE_OF_ENGLISH * len(found)


_SHORT_ROOT = re.compile(r"[^aeiou][aeiou][^aeiouwxy]$")
"""What an ending leaves of ``fire`` or ``move``: a verb such as ``stop`` doubles its last letter instead."""


@lru_cache(maxsize=16384)
def stem(word: str) -> str:
    """The word without the endings of number and tense. Nouns of persons keep theirs: an insurer is not an insured."""
    if word in IRREGULAR:
        return word if IRREGULAR[word] == word else stem(IRREGULAR[word])
    if len(word) > 6 and word.endswith("ly"):
        return stem(word[:-2])
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return stem(word[:-1])
    for ending in ("ing", "ed"):
        if len(word) > len(ending) + 2 and word.endswith(ending) and re.search("[aeiouy]", word[: -len(ending)]):
            return _bare(word[: -len(ending)])
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


def _bare(root: str) -> str:
    """``cancell`` as ``cancel``, ``stopp`` as ``stop``; an ``e`` at the end is taken off as everywhere, but words of
    four letters keep it, so ``fir`` of ``fired`` gets its own back."""
    if _SHORT_ROOT.match(root):
        return root + "e"
    if len(root) > 3 and root[-1] == root[-2] and root[-1] not in "aeious":
        return root[:-1]
    return root[:-1] if len(root) > 4 and root.endswith("e") else root
