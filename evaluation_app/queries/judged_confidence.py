"""How sure a model was of each answer of an evaluation, and whether the answer was right."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from django.utils.translation import gettext as _

from evaluation_app.models import Evaluation
from evaluation_app.queries.contenders import subject_key
from evaluation_app.queries.sample_file import samples_frame
from finetune_engine.errors import UserError


@dataclass(frozen=True)
class JudgedAnswers:
    """Answer by answer. ``confidences`` are 0..1, None where the model gave none; ``groups`` name the rows that are not
    independent of each other, None when every row stands alone."""

    confidences: list[float | None]
    right: list[bool]
    groups: list[Hashable] | None


def judged_answers(evaluation: Evaluation) -> JudgedAnswers:
    """The answers of the model that the evaluation is about. Right is what the samples call so: the right label, else the same
    words, else at least half of the headline.

    Raises UserError when there are no answers, when they were kept without confidences (before these were kept at all), or
    when the file is gone (410).
    """
    import polars as pl

    frame = samples_frame(evaluation)
    if frame is None:
        raise UserError("no_answers", _("This evaluation has no answers yet."), "evaluation", status=409)
    key = subject_key(evaluation)
    names = frame.collect_schema().names()
    if f"{key}_confidence" not in names or f"{key}_correct" not in names:
        sentence = _(
            "This evaluation did not keep how sure the model was. Run it again: what was answered is not asked a second time."
        )
        raise UserError("no_confidence", sentence, "evaluation", status=409)
    wanted = [pl.col(f"{key}_confidence").alias("confidence"), pl.col(f"{key}_correct").alias("right"), pl.col("row")]
    group = pl.col("group") if "group" in names else pl.lit(None, pl.String).alias("group")
    rows = frame.select([*wanted, group]).filter(pl.col("right").is_not_null()).sort("row").collect()
    groups: list[Hashable] = [
        name if name is not None else row for name, row in zip(rows["group"], rows["row"], strict=True)
    ]
    is_grouped = rows["group"].null_count() < len(rows)
    return JudgedAnswers(rows["confidence"].to_list(), rows["right"].to_list(), groups if is_grouped else None)
