"""The English words that the guards know, read from the files beside this one.

Small lists on purpose: a word that is missing costs a hit, never a wrong one, because a word that one question has
and the other has not is a reason to refuse.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files

_HERE = files("finetune_engine.serve.semantic")
_LISTS = tomllib.loads((_HERE / "lexicon.toml").read_text(encoding="utf-8"))


def _words(name: str) -> frozenset[str]:
    return frozenset(_LISTS[name].split())


def _groups(name: str) -> tuple[tuple[str, ...], ...]:
    lines = (_HERE / name).read_text(encoding="utf-8").splitlines()
    return tuple(tuple(line.split()) for line in lines if line and not line.startswith("#"))


SYNONYMS = _groups("synonyms.txt")
"""Words that may stand for each other."""
OPPOSITES = _groups("opposites.txt")
"""Pairs of words that turn a question round."""
ROLES = _groups("roles.txt")
"""Persons who stand against each other in a matter: who does what to whom decides the answer."""

ENGLISH, FOREIGN = _words("english"), _words("foreign")
LIGHT = (ENGLISH | _words("light")) - _words("heavy")
WEAK = _words("weak")
"""Light words that matter when each question has another of them."""
PERMIT, DUTY, ADVICE, FUTURE = _words("permit"), _words("duty"), _words("advice"), _words("future")
PAST, PAST_FORMS, UNCHANGED = _words("past"), _words("past_forms"), _words("unchanged")
BE, AUXILIARIES, MODALS = _words("be"), _words("auxiliaries"), _words("modals")
NO_DEED, PASSED_OVER = _words("no_deed"), _words("passed_over")
SELF, YOU = _words("self"), _words("you")
PERSONS = _words("persons") | frozenset(word for pair in ROLES for word in pair)
PREFIXES = tuple(sorted(_words("prefixes")))
HE, SHE, THEY = _words("he"), _words("she"), _words("they")
COURTESIES: tuple[str, ...] = tuple(_LISTS["courtesies"])
"""Patterns of what is said for politeness at the beginning or the end, the longest first."""
REQUESTS: tuple[str, ...] = tuple(_LISTS["requests"].split())
"""Verbs of what is asked of the model itself: "could you draft" is "draft"."""
SPELLINGS: dict[str, str] = _LISTS["spellings"]
PHRASES: tuple[tuple[str, str], ...] = tuple((pattern, plain) for pattern, plain in _LISTS["phrases"])
CONTRACTIONS: dict[str, str] = _LISTS["contractions"]
IRREGULAR: dict[str, str] = _LISTS["irregular"]
NEGATIONS: dict[str, str] = _LISTS["negations"]
