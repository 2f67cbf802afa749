"""What costs next to nothing: the most frequent label, and a keyword classifier. Fitted on the train split."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

TFIDF_NAME = "a simple keyword classifier (TF-IDF)"
MAJORITY_NAME = "always the most frequent label"
TFIDF_SIGNATURE = "TF-IDF words 1-2, sublinear, min_df 1 under 2,000 rows else 2; logistic regression C=10"


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline's predictions for the test prompts."""

    key: str
    name: str
    signature: str
    predictions: list[str]


def majority(train_labels: Sequence[str], test_prompts: Sequence[str]) -> Baseline:
    """The most frequent train label for every case; of equals, the one that sorts first."""
    counts = Counter(train_labels)
    label = min(counts, key=lambda name: (-counts[name], name))
    return Baseline("majority", MAJORITY_NAME, f"most frequent train label: {label}", [label] * len(test_prompts))


def tfidf(train_prompts: Sequence[str], train_labels: Sequence[str], test_prompts: Sequence[str]) -> Baseline | None:
    """TF-IDF with logistic regression. None when there is a single label or no word to learn from."""
    if len(set(train_labels)) < 2:
        return None
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, min_df=1 if len(train_prompts) < 2_000 else 2, max_features=50_000
    )
    try:
        features = vectorizer.fit_transform(train_prompts)
    except ValueError:  # scikit-learn's word for "empty vocabulary"
        return None
    classifier = LogisticRegression(C=10.0, max_iter=60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(features, list(train_labels))
    predictions = [str(label) for label in classifier.predict(vectorizer.transform(test_prompts))]
    return Baseline("tfidf", TFIDF_NAME, TFIDF_SIGNATURE, predictions)


def fit_baselines(
    train: Sequence[tuple[str, str]], test_prompts: Sequence[str], *, between: Callable[[], object] = lambda: None
) -> list[Baseline]:
    """All baselines for classification, from ``(prompt, label)`` pairs; empty without train rows.

    ``between`` is called between two of them, so that a run can be stopped there.
    """
    if not train:
        return []
    prompts, labels = [prompt for prompt, _ in train], [label for _, label in train]
    found = [majority(labels, test_prompts)]
    between()
    classifier = tfidf(prompts, labels, test_prompts)
    return found if classifier is None else [*found, classifier]
