"""BLEU: phrases of one to four words that answers share with their references (sacrebleu)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.metrics.metric import TEXT_TASKS, Material, Measured
from finetune_engine.evaluate.metrics.scripts import main_script

Values = npt.NDArray[np.float64]
TOKENIZERS = {"spaced": "13a", "han": "zh", "kana": "char", "hangul": "char", "unspaced": "char"}
"""sacrebleu's tokenizer by script: 13a knows spaces only, and Japanese and Korean would need programs of their own."""


class Bleu:
    """Corpus BLEU, 0..100; the value of a single case has effective order, or short answers would all be 0."""

    name = "bleu"
    unit = "hundred"
    higher_is_better = True
    is_proportion = False
    task_types = TEXT_TASKS

    def suits(self, material: Material) -> bool:
        """When there is something to be like."""
        return any(reference.strip() for reference in material.references)

    def measure(self, material: Material) -> Measured:
        """BLEU of the corpus, from sacrebleu's counts of each case."""
        from sacrebleu.metrics.bleu import BLEU

        tokenizer = TOKENIZERS[main_script(material.references)]
        corpus, single = (
            BLEU(tokenize=tokenizer, force=True),
            BLEU(tokenize=tokenizer, force=True, effective_order=True),
        )
        counts = corpus._extract_corpus_statistics(material.answers, [material.references])
        rows = np.asarray(counts, dtype=np.float64)

        def of_sums(sums: Values) -> Values:
            return np.asarray([corpus._compute_score_from_stats(total).score for total in sums])

        values = np.asarray([single._compute_score_from_stats(row).score for row in rows])
        return Measured(rows, of_sums, values, f"BLEU|{corpus.get_signature()}")
