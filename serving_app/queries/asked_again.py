"""Questions that people complained about, asked again by an evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accounts_app.models import Project
from evaluation_app.models import Evaluation
from evaluation_app.queries.contenders import contenders_of
from evaluation_app.queries.regressions import Outcome
from evaluation_app.queries.sample_file import kept_frame
from serving_app.models import Feedback
from serving_app.queries.feedback import proposed_messages
from work_kit.choices import State

MOST_EVALUATIONS = 5
"""Looked through for the same questions, the newest of them."""


@dataclass(frozen=True)
class Asked:
    """An evaluation of a trained model that asked the question of a complaint, and what the model said."""

    model_id: str
    outcome: Outcome


def asked_again(project: Project, feedback: Sequence[Feedback]) -> dict[str, list[Asked]]:
    """``{feedback id: what later versions said to the same conversation}``, the newest evaluation first. Only answers that are
    simply right or wrong count, or that equal the correction. One query and one read of each file."""
    from finetune_engine.data.batches import prompt_of

    by_prompt: dict[str, list[Feedback]] = {}
    for one in feedback:
        if one.messages and one.correction:
            by_prompt.setdefault(prompt_of(proposed_messages(one)), []).append(one)
    found: dict[str, list[Asked]] = {}
    if not by_prompt:
        return found
    since = min(one.at for one in feedback)
    rows = Evaluation.objects.filter(project=project, work__state=State.SUCCEEDED, created_at__gte=since)
    for evaluation in rows.select_related("trained_model").defer("report").order_by("-id")[:MOST_EVALUATIONS]:
        for values in _samples(evaluation, list(by_prompt)):
            for one in by_prompt[values["prompt"]]:
                if _is_same(values, one) and (told := _outcome(evaluation, values, one)) is not None:
                    found.setdefault(one.pk, []).append(Asked(evaluation.trained_model_id, told))
    return found


def _samples(evaluation: Evaluation, prompts: Sequence[str]) -> list[dict[str, Any]]:
    """The subject's answers to these questions, as ``{prompt, messages, answer, correct}``."""
    import polars as pl

    frame = kept_frame(evaluation)
    subject = next((one.key for one in contenders_of(evaluation) if one.is_subject), "tuned")
    columns = frame.collect_schema().names() if frame is not None else []
    if frame is None or f"{subject}_answer" not in columns:
        return []
    taken = [pl.col("prompt"), pl.col(f"{subject}_answer").alias("answer")]
    for name, kept in (("messages", "messages"), (f"{subject}_correct", "correct")):
        taken.append(pl.col(name).alias(kept) if name in columns else pl.lit(None).alias(kept))
    return frame.select(taken).filter(pl.col("prompt").is_in(list(prompts))).collect().to_dicts()


def _is_same(values: Mapping[str, Any], one: Feedback) -> bool:
    told = values.get("messages")
    if not told:
        return len(one.messages) == 1
    return _said(json.loads(told)) == _said(one.messages)


def _said(messages: Sequence[Mapping[str, Any]]) -> list[tuple[Any, Any]]:
    return [(message.get("role"), message.get("content")) for message in messages]


def _outcome(evaluation: Evaluation, values: Mapping[str, Any], one: Feedback) -> Outcome | None:
    answer = str(values.get("answer") or "")
    equal = answer.strip() == one.correction.strip()
    if values.get("correct") is None and not equal:
        return None
    return Outcome(
        evaluation.pk, evaluation.trained_model.name, evaluation.created_at, equal or bool(values["correct"]), answer
    )
