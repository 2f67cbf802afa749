"""How a word that was found is looked up in small letters, and how a new one takes on the capitals of the one it replaces."""

from __future__ import annotations

_OTHER_FORMS = str.maketrans({"İ": "i", "ı": "i", "ſ": "s", "K": "k"})
"""Letters that a pattern which ignores capitals takes for another one, and that do not become it in small letters."""


def in_small_letters(found: str) -> str:
    """What a pattern that ignores capitals has found, as the word that it was looked for: "İran" is "iran"."""
    return found.translate(_OTHER_FORMS).lower()


def in_the_case_of(model: str, text: str) -> str:
    """``text`` in the capitals of ``model``: ALL CAPS, Capitalised, lower case; mixed ones leave it as it is.

    A single capital letter counts as Capitalised, so that "I" makes no shouting.
    """
    letters = [mark for mark in model if mark.isalpha()]
    if not letters:
        return text
    if len(letters) > 1 and all(mark.isupper() for mark in letters):
        return text.upper()
    if letters[0].isupper():
        return text[:1].upper() + text[1:]
    return text.lower() if all(mark.islower() for mark in letters) else text
