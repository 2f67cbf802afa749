"""The single answers of an evaluation, read from its file a page at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from evaluation_app.models import AcceptanceRule, Evaluation
from evaluation_app.queries.contenders import contenders_of
from evaluation_app.queries.sample_file import samples_frame
from evaluation_app.queries.sample_filter import SampleFilter
from finetune_engine.errors import UserError
from finetune_engine.evaluate.rules import check, rule_of

if TYPE_CHECKING:
    import polars as pl

_Test = Callable[[Mapping[str, Any]], bool]
_TEXTS = ("prompt", "reference")
_SIEVED = 2_000  # rows that are looked at together where each has to be read


@dataclass(frozen=True)
class SampleAnswer:
    """What one model said to a case. ``correct`` is None where an answer is not simply right or wrong, ``score`` (0..1) and
    ``nll`` (the reference's negative log-likelihood, per answer) where they are not known."""

    key: str
    name: str
    answer: str | None
    correct: bool | None
    score: float | None
    nll: float | None
    is_subject: bool = False


@dataclass(frozen=True)
class SampleRow:
    """One case with the answer of every model, in the order of the report."""

    row: int
    prompt: str
    reference: str
    label: str | None
    metadata: dict[str, Any] = field(default_factory=dict)
    answers: list[SampleAnswer] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON values. ``base_*`` and ``tuned_*`` repeat what stands under ``answers``, as before there were more models."""
        by_key = {one.key: one for one in self.answers}
        flat = {
            f"{key}_{part}": getattr(by_key.get(key), part, None)
            for key in ("base", "tuned")
            for part in ("answer", "correct", "nll")
        }
        told = {
            one.key: {part: getattr(one, part) for part in ("answer", "correct", "score", "nll")}
            for one in self.answers
        }
        head = {"row": self.row, "prompt": self.prompt, "reference": self.reference, "label": self.label}
        return head | flat | {"metadata": self.metadata, "answers": told}


def sample_rows(
    evaluation: Evaluation, cursor: int | None = None, limit: int = 50, *, chosen: SampleFilter | None = None
) -> tuple[list[SampleRow], int | None]:
    """Up to ``limit`` cases with row numbers above ``cursor``, and the cursor of the next page (None at the end).

    ``chosen`` keeps the cases that it describes. No file yet gives no rows. Raises UserError for a filter that names
    what the evaluation does not have.
    """
    found: list[SampleRow] = []
    for row in iter_samples(evaluation, cursor, chosen=chosen, at_once=limit + 1):
        found.append(row)
        if len(found) > limit:
            return found[:limit], found[limit - 1].row
    return found, None


def iter_samples(
    evaluation: Evaluation, cursor: int | None = None, *, chosen: SampleFilter | None = None, at_once: int = _SIEVED
) -> Iterator[SampleRow]:
    """The cases that ``chosen`` describes, by row number, read ``at_once`` at a time. Raises UserError at once, before the
    first case is asked for, for a filter that names what the evaluation does not have."""
    frame = samples_frame(evaluation)
    if frame is None:
        return iter(())
    chosen = chosen or SampleFilter()
    columns = frame.collect_schema().names()
    models = _models(evaluation, columns)
    frame = _sieved(frame, chosen, columns, models)
    passes = _sieve(evaluation, chosen, models)
    return _read(frame, cursor, models, passes, _SIEVED if passes is not None else at_once)


def _read(
    frame: pl.LazyFrame, cursor: int | None, models: list[_Model], passes: _Test | None, step: int
) -> Iterator[SampleRow]:
    while True:
        part = frame if cursor is None else _above(frame, cursor)
        rows = part.sort("row").head(step).collect().to_dicts()
        for values in rows:
            if passes is None or passes(values):
                yield _sample(values, models)
        if len(rows) < step:
            return
        cursor = int(rows[-1]["row"])


@dataclass(frozen=True)
class _Model:
    key: str
    name: str
    is_subject: bool
    is_reference: bool


def _models(evaluation: Evaluation, columns: list[str]) -> list[_Model]:
    """The models that the file has answers of."""
    named = [_Model(one.key, one.name, one.is_subject, one.is_reference) for one in contenders_of(evaluation)]
    return [model for model in named if f"{model.key}_answer" in columns]


def _above(frame: pl.LazyFrame, cursor: int) -> pl.LazyFrame:
    import polars as pl

    return frame.filter(pl.col("row") > cursor)


def _sieved(frame: pl.LazyFrame, chosen: SampleFilter, columns: list[str], models: list[_Model]) -> pl.LazyFrame:
    """What the columns alone can decide: the outcome and the text."""
    import polars as pl

    if chosen.outcome:
        frame = frame.filter(_outcome(chosen, columns, models))
    if chosen.text:
        wanted = chosen.text.lower()
        searched = [*_TEXTS, *(f"{model.key}_answer" for model in models)]
        holds = [
            pl.col(name).fill_null("").str.to_lowercase().str.contains(wanted, literal=True)
            for name in searched
            if name in columns
        ]
        frame = frame.filter(pl.any_horizontal(holds))
    return frame


def _outcome(chosen: SampleFilter, columns: list[str], models: list[_Model]) -> pl.Expr:
    import polars as pl

    asked = asked_model(chosen.model, models)
    if chosen.outcome in ("right", "wrong"):
        if f"{asked}_correct" not in columns:
            return pl.lit(False)
        return pl.col(f"{asked}_correct") == (chosen.outcome == "right")
    reference = next((model.key for model in models if model.is_reference and model.key != asked), None)
    part = "score" if f"{asked}_score" in columns and f"{reference}_score" in columns else "correct"
    if reference is None or f"{reference}_{part}" not in columns or f"{asked}_{part}" not in columns:
        return pl.lit(False)
    gain = pl.col(f"{asked}_{part}").cast(pl.Float64) - pl.col(f"{reference}_{part}").cast(pl.Float64)
    return gain > 0 if chosen.outcome == "improved" else gain < 0


def asked_model(key: str, models: list[_Model]) -> str:
    """The model that a filter is about: the named one, else the subject. Raises UserError for one that is not there."""
    keys = [model.key for model in models]
    if not key:
        return next((model.key for model in models if model.is_subject), "tuned")
    if key not in keys:
        sentence = _("This evaluation has no model %(key)r. It has: %(known)s.") % {
            "key": key,
            "known": ", ".join(keys),
        }
        raise UserError("unknown_model", sentence, "model")
    return key


def _sieve(evaluation: Evaluation, chosen: SampleFilter, models: list[_Model]) -> _Test | None:
    """What has to be read case by case: a metadata value, and a rule that the answer fails. None when neither is asked."""
    asked = asked_model(chosen.model, models)
    tests: list[_Test] = []
    if chosen.column:
        tests.append(lambda values: str(_metadata(values).get(chosen.column, "")) == chosen.value)
    if chosen.rule:
        row = AcceptanceRule.objects.filter(project=evaluation.project_id, pk=chosen.rule).first()
        if row is None:
            raise UserError("unknown_rule", _("There is no such rule in this project."), "rule", status=404)
        rule = rule_of({"id": row.pk, "name": row.name, "kind": row.kind, "demand": row.demand})
        tests.append(
            lambda values: check(rule, values.get("prompt") or "", values.get(f"{asked}_answer") or "") is not None
        )
    return (lambda values: all(test(values) for test in tests)) if tests else None


def _metadata(values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        told = json.loads(values.get("metadata") or "{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _finite(value: float | None) -> float | None:
    """None for what JSON cannot say."""
    return value if value is not None and math.isfinite(value) else None


def _sample(values: dict[str, Any], models: list[_Model]) -> SampleRow:
    return SampleRow(
        row=int(values["row"]),
        prompt=values.get("prompt") or "",
        reference=values.get("reference") or "",
        label=values.get("label"),
        metadata=_metadata(values),
        answers=[
            SampleAnswer(
                key=model.key,
                name=model.name,
                answer=values.get(f"{model.key}_answer"),
                correct=values.get(f"{model.key}_correct"),
                score=_finite(values.get(f"{model.key}_score")),
                nll=_finite(values.get(f"{model.key}_nll")),
                is_subject=model.is_subject,
            )
            for model in models
        ],
    )
