"""Classification beyond accuracy: macro F1 and the Matthews coefficient. An unreadable answer is a class of its own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.metrics.labels import UNPARSABLE, Classified
from finetune_engine.evaluate.metrics.metric import LABEL_TASKS, Material, Measured

Values = npt.NDArray[np.float64]
MACRO_F1_SIGNATURE = "scikit-learn f1_score macro over classes seen, unreadable answers a class"
MCC_SIGNATURE = "scikit-learn matthews_corrcoef, unreadable answers a class"


def macro_f1_of_sums(sums: Values) -> Values:
    """Macro F1 from sums of ``Classified.rows``, as scikit-learn's: the mean over classes seen on either side."""
    hits, true, said = np.split(sums, 3, axis=1)
    total = true + said
    seen = total > 0
    f1 = np.divide(2 * hits, total, out=np.zeros_like(total), where=seen)
    macro: Values = f1.sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    return macro


def mcc_of_sums(sums: Values) -> Values:
    """Matthews correlation coefficient from sums of ``Classified.rows`` (Gorodkin 2004), as scikit-learn's; 0 when either
    side knows a single class."""
    hits, true, said = np.split(sums, 3, axis=1)
    n = true.sum(axis=1)
    covariance = hits.sum(axis=1) * n - (true * said).sum(axis=1)
    spread = (n * n - (said * said).sum(axis=1)) * (n * n - (true * true).sum(axis=1))
    coefficient: Values = np.divide(covariance, np.sqrt(spread), out=np.zeros_like(n), where=spread > 0)
    return coefficient


def classified(material: Material) -> Classified:
    """The material as classes, built once."""
    return material.once("classified", lambda: Classified.of(material.labels, material.predictions))


def _rows(material: Material) -> Values:
    return material.once("class rows", lambda: classified(material).rows([*material.known_labels, UNPARSABLE]))


class MacroF1:
    """F1 of each class, averaged with rare classes counting as much as frequent ones."""

    name = "macro_f1"
    unit = "share"
    higher_is_better = True
    is_proportion = False
    task_types = LABEL_TASKS

    def suits(self, material: Material) -> bool:
        """When the cases have labels."""
        return bool(material.labels)

    def measure(self, material: Material) -> Measured:
        """Macro F1 over all cases; a single case has none."""
        return Measured(_rows(material), macro_f1_of_sums, None, MACRO_F1_SIGNATURE)


class Matthews:
    """Agreement beyond chance, -1..1."""

    name = "mcc"
    unit = "number"
    higher_is_better = True
    is_proportion = False
    task_types = LABEL_TASKS

    def suits(self, material: Material) -> bool:
        """When the cases have labels."""
        return bool(material.labels)

    def measure(self, material: Material) -> Measured:
        """The coefficient over all cases; a single case has none."""
        return Measured(_rows(material), mcc_of_sums, None, MCC_SIGNATURE)
