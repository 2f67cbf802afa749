"""What a word is: one form for texts that mean the same, in scripts with and without spaces. Standard library only."""

from __future__ import annotations

import re
import string
import unicodedata

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_SPACES = re.compile(r"\s+")
_PUNCTUATION = frozenset(string.punctuation)


def normalise(text: str) -> str:
    """Lower case, without punctuation, English articles and surplus white space (the SQuAD convention).

    A text of nothing but articles keeps them: the answer "A" to a question with choices is no empty answer.
    """
    lowered = unicodedata.normalize("NFC", text).casefold()
    bare = "".join(" " if is_punctuation(mark) else mark for mark in lowered)
    return _SPACES.sub(" ", _ARTICLES.sub(" ", bare)).strip() or _SPACES.sub(" ", bare).strip()


def words(text: str) -> list[str]:
    """Normalised words; scripts written without spaces count letter by letter."""
    return split_words(normalise(text))


def split_words(text: str) -> list[str]:
    """The words of a text as it is: split at white space, scripts written without spaces letter by letter."""
    found: list[str] = []
    for chunk in text.split():
        run = ""
        for mark in chunk:
            if is_unspaced(mark):
                found.extend(filter(None, (run, mark)))
                run = ""
            else:
                run += mark
        if run:
            found.append(run)
    return found


def whole_characters(text: str) -> str:
    """The text with question marks for half characters, which JSON can spell and no file or pattern can hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def is_punctuation(mark: str) -> bool:
    """Whether a character is punctuation, of ASCII or of any script."""
    return mark in _PUNCTUATION or unicodedata.category(mark).startswith("P")


def is_unspaced(mark: str) -> bool:
    """Whether a character belongs to a script that puts no spaces between words."""
    code = ord(mark)
    # Thai and Lao, kana, CJK ideographs with extensions.
    return (
        0x0E00 <= code <= 0x0EFF or 0x3040 <= code <= 0x30FF or 0x3400 <= code <= 0x9FFF or 0x20000 <= code <= 0x3FFFF
    )
