"""TER: edits that would turn the answers into their references, for each 100 words of reference (sacrebleu)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.metrics.metric import TEXT_TASKS, Material, Measured
from finetune_engine.evaluate.metrics.scripts import main_script
from finetune_engine.evaluate.texts.words import split_words

Values = npt.NDArray[np.float64]
MOST_PAIRS_OF_WORDS = 2_000_000
"""Words of answer x words of reference, over all cases (letters in scripts without spaces). The search for shifts takes up to
40 microseconds for each; beyond this TER is left out rather than taking longer than the model itself."""


def ter_of_sums(sums: Values) -> Values:
    """From ``[edits, reference words]``; edits against no reference at all are 100 (sacrebleu's convention)."""
    edits, length = sums[:, 0], sums[:, 1]
    share = np.divide(edits, length, out=(edits > 0).astype(np.float64), where=length > 0)
    value: Values = 100 * share
    return value


class Ter:
    """Corpus TER; 0 is perfect, and over 100 is possible."""

    name = "ter"
    unit = "hundred"
    higher_is_better = False
    is_proportion = False
    task_types = TEXT_TASKS

    def suits(self, material: Material) -> bool:
        """When there is something to be like, and the texts are not too long."""
        pairs = zip(material.answers, material.references, strict=True)
        work = sum(len(split_words(answer)) * len(split_words(reference)) for answer, reference in pairs)
        return any(reference.strip() for reference in material.references) and work <= MOST_PAIRS_OF_WORDS

    def measure(self, material: Material) -> Measured:
        """TER of the corpus, from sacrebleu's counts of each case."""
        from sacrebleu.metrics.ter import TER

        script = main_script(material.references)
        is_eastern, is_split = script in ("han", "kana"), script == "unspaced"
        metric = TER(normalized=is_eastern, asian_support=is_eastern)
        answers, references = list(material.answers), list(material.references)
        if is_split:
            answers, references = ([" ".join(split_words(text)) for text in texts] for texts in (answers, references))
        counts = metric._extract_corpus_statistics(answers, [references])
        rows = np.asarray(counts, dtype=np.float64)
        signature = f"TER|{metric.get_signature()}{'|split:letters' if is_split else ''}"
        return Measured(rows, ter_of_sums, ter_of_sums(rows), signature)
