"""What the first pass gathers about the whole set, in bounded memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from finetune_engine.data.batches import Batch
from finetune_engine.data.consistency import Forms
from finetune_engine.data.detection import AnswerTally
from finetune_engine.data.language import IDENTIFY_ROWS, SAMPLE, MainLanguage, main_language
from finetune_engine.data.stored_batches import StoredBatches

_LABEL_LIMIT = 10_000
_LABEL_BYTES = 200
_SHORT_ANSWER_BYTES = 100
_SHORT_ANSWER_WORDS = 6
_BATCHES_LOOKED_AT = 20


@dataclass
class WholeSet:
    """Counts of answers, labels and forms over all rows that can be used."""

    answers: AnswerTally = field(default_factory=AnswerTally)
    forms: Forms = field(default_factory=Forms)
    labels: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    _too_many_labels: bool = False

    def add(self, batch: Batch) -> None:
        """Take in one checked batch."""
        self.rows += batch.frame.height
        usable = pl.col("usable") & (pl.col("answer_words") > 0)
        frame = batch.frame.select("answer", "answer_norm", "answer_words", "label", "turns", "usable").filter(usable)
        if frame.is_empty():
            return
        tally = self.answers
        words = frame["answer_words"]
        tally.rows += frame.height
        tally.words += int(words.sum())
        tally.short += int((words <= _SHORT_ANSWER_WORDS).sum())
        tally.multi_turn += int((frame["turns"] > 3).sum())
        if len(tally.counts) <= tally.limit:
            answers = frame["answer_norm"]
            tally.counts.update(_counted(answers.filter(answers.str.len_bytes() <= _SHORT_ANSWER_BYTES)))
        self._add_labels(frame)
        self.forms.add(frame)

    def _add_labels(self, frame: pl.DataFrame) -> None:
        if self._too_many_labels:
            return
        labels = frame["label"] if frame["label"].null_count() == 0 else frame["label"].fill_null(frame["answer"])
        self.labels.update(_counted(labels.filter(labels.str.len_bytes() <= _LABEL_BYTES)))
        if len(self.labels) > _LABEL_LIMIT:
            self.labels.clear()
            self._too_many_labels = True

    @property
    def is_small(self) -> bool:
        """Whether every row can be looked at by the slower checks."""
        return self.rows <= IDENTIFY_ROWS

    def main_languages(self, stored: StoredBatches) -> dict[str, MainLanguage]:
        """What most inputs and most answers are in, from an evenly spread sample."""
        places = np.flatnonzero(stored.usable())
        if len(places) > SAMPLE:
            # From few batches, so that little is read again.
            starts = np.linspace(0, len(places) - SAMPLE // _BATCHES_LOOKED_AT, _BATCHES_LOOKED_AT).astype(np.int64)
            places = np.unique((starts[:, None] + np.arange(SAMPLE // _BATCHES_LOOKED_AT)).ravel())
            places = np.flatnonzero(stored.usable())[places]
        texts = {column: stored.texts(column, places) for column in ("prompt", "answer")}
        return {column: main_language([text for text in part if text]) for column, part in texts.items()}


def _counted(column: pl.Series) -> dict[str, int]:
    return dict(column.value_counts().iter_rows()) if len(column) else {}
