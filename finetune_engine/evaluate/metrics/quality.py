"""Scores of answers against references: strict, normalised, word overlap, and classification."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.report import ClassScore, Confusion

UNPARSABLE = "(no valid answer)"
"""The class of answers that name none of the labels. It is counted as any other, never dropped."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_SPACES = re.compile(r"\s+")
_PUNCTUATION = frozenset(string.punctuation)

Counts = npt.NDArray[np.int64]


def exact_match(answer: str, reference: str) -> bool:
    """Whether both are the same text, white space at the ends aside."""
    return answer.strip() == reference.strip()


def normalise(text: str) -> str:
    """Lower case, without punctuation, English articles and surplus white space (the SQuAD convention)."""
    lowered = unicodedata.normalize("NFC", text).casefold()
    bare = "".join(" " if _is_punctuation(mark) else mark for mark in lowered)
    return _SPACES.sub(" ", _ARTICLES.sub(" ", bare)).strip()


def quasi_exact_match(answer: str, reference: str) -> bool:
    """Whether both are the same once normalised. Texts of punctuation only are compared as they are."""
    first, second = normalise(answer), normalise(reference)
    return first == second if first or second else exact_match(answer, reference)


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over normalised words (SQuAD); 1.0 when both have no word."""
    said, wanted = words(answer), words(reference)
    if not said or not wanted:
        return float(said == wanted)
    shared = sum((Counter(said) & Counter(wanted)).values())
    return 2 * shared / (len(said) + len(wanted))


def words(text: str) -> list[str]:
    """Normalised words; scripts written without spaces count letter by letter."""
    found: list[str] = []
    for chunk in normalise(text).split():
        run = ""
        for mark in chunk:
            if _is_unspaced(mark):
                found.extend(filter(None, (run, mark)))
                run = ""
            else:
                run += mark
        if run:
            found.append(run)
    return found


def _is_punctuation(mark: str) -> bool:
    return mark in _PUNCTUATION or unicodedata.category(mark).startswith("P")


def _is_unspaced(mark: str) -> bool:
    code = ord(mark)
    # Thai and Lao, kana, CJK ideographs with extensions.
    return (
        0x0E00 <= code <= 0x0EFF or 0x3040 <= code <= 0x30FF or 0x3400 <= code <= 0x9FFF or 0x20000 <= code <= 0x3FFFF
    )


class LabelReader:
    """Finds which of the known labels an answer names.

    A label counts as named when the answer is that label, or the same once normalised; a normalised form
    that two labels share names neither. A label inside a longer sentence is not an answer.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._exact = {label.strip(): label for label in labels}
        forms = Counter(normalise(label) for label in self._exact.values())
        self._loose = {
            normalise(label): label
            for label in self._exact.values()
            if normalise(label) and forms[normalise(label)] == 1
        }

    def read(self, answer: str) -> str:
        """The label, or UNPARSABLE."""
        bare = answer.strip()
        return self._exact.get(bare) or self._loose.get(normalise(bare)) or UNPARSABLE


@dataclass(frozen=True)
class Classified:
    """References and predictions as numbers into ``labels`` (sorted, UNPARSABLE last if it occurs)."""

    labels: list[str]
    references: Counts
    predictions: Counts

    @classmethod
    def of(cls, references: Sequence[str], predictions: Sequence[str]) -> Classified:
        """From label texts, one reference and one prediction per case."""
        seen = set(references) | set(predictions)
        labels = sorted(seen - {UNPARSABLE}) + ([UNPARSABLE] if UNPARSABLE in seen else [])
        number = {label: position for position, label in enumerate(labels)}
        return cls(
            labels,
            np.asarray([number[label] for label in references], dtype=np.int64),
            np.asarray([number[label] for label in predictions], dtype=np.int64),
        )

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Case by case, whether the prediction is the reference."""
        return np.equal(self.references, self.predictions, dtype=np.bool_)

    def matrix(self, chosen: Counts | None = None) -> Counts:
        """Confusion counts [reference, prediction] over all cases, or over the chosen ones (repeats count)."""
        size = len(self.labels)
        references = self.references if chosen is None else self.references[chosen]
        predictions = self.predictions if chosen is None else self.predictions[chosen]
        flat = np.bincount(references * size + predictions, minlength=size * size)
        return flat.reshape(size, size).astype(np.int64)

    def confusion(self) -> Confusion:
        """The confusion matrix, for the report."""
        return Confusion(self.labels, self.matrix().tolist())

    def per_class(self) -> list[ClassScore]:
        """Precision, recall and F1 of every class that a reference has, by scikit-learn."""
        from sklearn.metrics import precision_recall_fscore_support

        numbers = list(range(len(self.labels)))
        columns = precision_recall_fscore_support(self.references, self.predictions, labels=numbers, zero_division=0.0)
        scores = [
            ClassScore(label, float(precision), float(recall), float(f1), int(support))
            for label, precision, recall, f1, support in zip(self.labels, *columns, strict=True)
        ]
        return [score for score in scores if score.support > 0]

    def macro_f1(self) -> float:
        """scikit-learn's macro F1: the plain mean over all classes seen in references or predictions."""
        from sklearn.metrics import f1_score

        return float(f1_score(self.references, self.predictions, average="macro", zero_division=0.0))

    def mcc(self) -> float:
        """Matthews correlation coefficient (scikit-learn); 0 when either side knows a single class."""
        from sklearn.metrics import matthews_corrcoef

        return float(matthews_corrcoef(self.references, self.predictions))


def macro_f1_of(matrix: Counts) -> float:
    """Macro F1 from confusion counts, as scikit-learn's; for the thousand resamples of a bootstrap."""
    hits = np.diag(matrix).astype(np.float64)
    total = matrix.sum(axis=0) + matrix.sum(axis=1)
    seen = total > 0
    return float((2 * hits[seen] / total[seen]).mean()) if seen.any() else 0.0


def mcc_of(matrix: Counts) -> float:
    """Matthews correlation coefficient from confusion counts (Gorodkin 2004), as scikit-learn's."""
    counts = matrix.astype(np.float64)
    true, said, n = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    covariance = np.trace(counts) * n - true @ said
    spread = (n * n - said @ said) * (n * n - true @ true)
    return float(covariance / np.sqrt(spread)) if spread > 0 else 0.0
