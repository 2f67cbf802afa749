"""Answers as labels: which label an answer names, and what the counts of right and wrong come to by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.report import ClassScore, Confusion
from finetune_engine.evaluate.texts.words import normalise

UNPARSABLE = "(no valid answer)"
"""The class of answers that name none of the labels. It is counted as any other, never dropped."""

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


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

    def rows(self, known: Sequence[str] = ()) -> Values:
        """``(n, 3 classes)``: where the case was a hit, its true class, its predicted class, each as one 1 among zeros.

        The classes are those seen and the ``known`` ones: two models' rows over the same known labels fit together, once
        UNPARSABLE is among them.
        """
        places = {label: place for place, label in enumerate(sorted({*self.labels, *known}))}
        of_class = np.asarray([places[label] for label in self.labels], dtype=np.int64)
        size, n = len(places), len(self.references)
        rows, everyone = np.zeros((n, 3 * size)), np.arange(n)
        rows[everyone, of_class[self.references]] = self.correct
        rows[everyone, size + of_class[self.references]] = 1.0
        rows[everyone, 2 * size + of_class[self.predictions]] = 1.0
        return rows

    def confusion(self) -> Confusion:
        """The confusion matrix, for the report."""
        return Confusion(self.labels, self.matrix().tolist())

    def per_class(self) -> list[ClassScore]:
        """Precision, recall and F1 of every class that a reference has (0 where nothing was predicted or found)."""
        matrix = self.matrix().astype(np.float64)
        hits, true, said = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
        return [
            ClassScore(
                label=label,
                precision=float(hits[i] / said[i]) if said[i] else 0.0,
                recall=float(hits[i] / true[i]),
                f1=float(2 * hits[i] / (true[i] + said[i])),
                support=int(true[i]),
            )
            for i, label in enumerate(self.labels)
            if true[i]
        ]
