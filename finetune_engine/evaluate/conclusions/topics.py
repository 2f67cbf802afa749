"""What texts are about: groups of texts that share unusual words, each named by them (TF-IDF and k-means)."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.texts.words import is_unspaced, words

MOST_FEATURES = 5_000
SHOWN_TERMS = 4
LONGEST_TEXT = 4_000
"""Characters of a text that are read: its beginning tells what it is about."""


@dataclass(frozen=True)
class Topic:
    """A group of texts: their numbers, those nearest the middle first, and the words that mark them."""

    members: list[int]
    terms: list[str]

    @property
    def title(self) -> str:
        """The words, to be read by people."""
        return ", ".join(self.terms)


def topics_of(texts: Sequence[str], count: int, *, seed: int) -> list[Topic]:
    """At most ``count`` groups, the largest first; the same seed gives the same ones. Empty when no word tells texts apart."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(texts) < 2 or count < 1:
        return []
    vectorizer = TfidfVectorizer(analyzer=terms_of, sublinear_tf=True, max_df=0.5, min_df=2, max_features=MOST_FEATURES)
    try:
        features = vectorizer.fit_transform([text[:LONGEST_TEXT] for text in texts])
    except ValueError:  # scikit-learn's word for "no term is left"
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer kinds of texts than groups: some stay empty
        found = KMeans(n_clusters=min(count, len(texts)), n_init=3, random_state=seed).fit(features)
    names = vectorizer.get_feature_names_out()
    everywhere = np.asarray(features.mean(axis=0)).ravel()
    topics = [
        _topic(features, found.labels_ == number, centre, everywhere, names)
        for number, centre in enumerate(found.cluster_centers_)
    ]
    return sorted((topic for topic in topics if topic.members), key=lambda topic: (-len(topic.members), topic.members))


def _topic(
    features: Any, chosen: npt.NDArray[np.bool_], centre: npt.NDArray[np.float64], everywhere: Any, names: Any
) -> Topic:
    numbers = np.flatnonzero(chosen)
    nearest = np.argsort(-np.asarray(features[numbers] @ centre).ravel(), kind="stable")
    marks = centre - everywhere if len(numbers) < features.shape[0] else centre
    best = [int(place) for place in np.argsort(-marks, kind="stable")[: 3 * SHOWN_TERMS] if centre[place] > 0]
    return Topic([int(number) for number in numbers[nearest]], _without_parts([str(names[place]) for place in best]))


def _without_parts(terms: Sequence[str]) -> list[str]:
    """The first terms, none of them a part of another."""
    kept: list[str] = []
    for term in terms:
        if not any(set(term.split()) & set(other.split()) for other in kept):
            kept.append(term)
    return kept[:SHOWN_TERMS]


def terms_of(text: str) -> list[str]:
    """Words of two letters and more, and pairs of neighbours, without English words that say nothing of a topic; pairs of
    letters in scripts without spaces."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    found = [word for word in words(text) if word not in ENGLISH_STOP_WORDS]
    pairs = [
        first + second if is_unspaced(first[0]) else f"{first} {second}"
        for first, second in itertools.pairwise(found)
        if is_unspaced(first[0]) == is_unspaced(second[0])
    ]
    return [word for word in found if len(word) > 1 and not word.isdigit()] + pairs
