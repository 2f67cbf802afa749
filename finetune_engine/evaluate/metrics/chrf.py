"""chrF: runs of one to six letters that answers share with their references (sacrebleu). Needs no notion of a word."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.metrics.metric import TEXT_TASKS, Material, Measured

Values = npt.NDArray[np.float64]


class Chrf:
    """Corpus chrF2, 0..100."""

    name = "chrf"
    unit = "hundred"
    higher_is_better = True
    is_proportion = False
    task_types = TEXT_TASKS

    def suits(self, material: Material) -> bool:
        """When there is something to be like."""
        return any(reference.strip() for reference in material.references)

    def measure(self, material: Material) -> Measured:
        """chrF of the corpus, from sacrebleu's counts of each case."""
        from sacrebleu.metrics.chrf import CHRF

        metric = CHRF()
        counts = metric._extract_corpus_statistics(material.answers, [material.references])
        rows = np.asarray(counts, dtype=np.float64)

        def of_sums(sums: Values) -> Values:
            return np.asarray([metric._compute_f_score(total) for total in sums])

        return Measured(rows, of_sums, of_sums(rows), f"chrF2|{metric.get_signature()}")
