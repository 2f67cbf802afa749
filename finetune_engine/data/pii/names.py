"""People's names, where a recogniser is installed. Without one the kind ``name`` is never found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

Recogniser = Callable[[str], Iterator[tuple[int, int]]]


@cache
def installed_recogniser() -> Recogniser | None:
    """A recogniser on the first installed spaCy model that knows people; None where there is none."""
    if find_spec("spacy") is None:
        return None
    spacy = import_module("spacy")
    for model in sorted(spacy.util.get_installed_models()):
        pipeline = spacy.load(model)
        if "ner" in pipeline.pipe_names:
            return lambda text: _people(pipeline, text)
    return None


def names_are_found() -> bool:
    """Whether a recogniser of names is installed."""
    return installed_recogniser() is not None


def _people(pipeline: Any, text: str) -> Iterator[tuple[int, int]]:
    # spaCy refuses longer texts; names further on are not looked for.
    for entity in pipeline(text[: pipeline.max_length]).ents:
        if entity.label_ in ("PERSON", "PER"):
            yield entity.start_char, entity.end_char


def names(text: str) -> Iterator[tuple[int, int]]:
    """Names of people; none where no recogniser is installed."""
    recogniser = installed_recogniser()
    return iter(()) if recogniser is None else recogniser(text)
