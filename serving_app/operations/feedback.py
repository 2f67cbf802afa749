"""What people say of answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app.row_messages import storable
from finetune_engine.data.pii import mask_messages
from finetune_engine.errors import UserError
from serving_app import masking, metrics
from serving_app.choices import Reason, Verdict
from serving_app.models import Feedback, Prediction
from serving_app.operations.caches import forget_answer
from serving_app.queries.feedback import is_in_data, is_kept_as_case

MAX_CORRECTION = 100_000
MAX_COMMENT = 1_000
_NOT_LED_TO = {
    "dataset": None,
    "source_number": None,
    "proposed_at": None,
    "regression_case": None,
}


def give_feedback(
    *,
    actor: Actor,
    prediction: Prediction,
    verdict: str,
    correction: str = "",
    reasons: Sequence[str] = (),
    comment: str = "",
) -> Feedback:
    """Keep what a person thinks of an answer and, if they say so, what is wrong with it and what it should have been.

    The newest verdict counts and is repeated on ``prediction``. A bad one makes the caches forget the answer. With
    another correction than before, what the old one led to (a proposed row, a case) is no longer linked; it stays
    where it is. Raises UserError naming the field at fault, 409 for a question that was never answered.
    """
    actor.require(Act.PREDICT)
    reasons = _checked(prediction, verdict, correction, reasons, comment)
    texts = _fit_to_keep(prediction, storable(correction.strip()), storable(comment.strip()))
    correction = texts["correction"]
    said: dict[str, Any] = {"verdict": verdict, "reasons": reasons} | texts
    with transaction.atomic():
        locked = Prediction.objects.select_for_update(of=("self",)).get(pk=prediction.pk)
        before = Feedback.objects.filter(request_id=locked.request_id).first()
        links = {} if before is not None and before.correction == correction else _NOT_LED_TO
        feedback, _is_new = Feedback.objects.update_or_create(
            request_id=locked.request_id, defaults=_copied(actor, locked) | said | links
        )
        Prediction.objects.filter(pk=locked.pk).update(
            verdict=verdict, correction=correction, feedback_by=actor.user, feedback_at=feedback.at
        )
        _record(actor, locked.request_id, "prediction.feedback", verdict=verdict, corrected=bool(correction))
        if verdict == Verdict.BAD:
            transaction.on_commit(lambda: forget_answer(request_id=locked.request_id))
    metrics.FEEDBACK.labels(verdict).inc()
    prediction.refresh_from_db()
    feedback.prediction = prediction
    return feedback


def take_feedback_back(*, actor: Actor, feedback: Feedback) -> None:
    """Undo of ``give_feedback``: nobody has said anything of the answer. Raises UserError (409) when it led to a proposed row
    or a case; take those back first."""
    actor.require(Act.PREDICT)
    if is_in_data(feedback) or is_kept_as_case(feedback):
        sentence = (
            "This verdict led to a row in the data or to a case that must not be forgotten. Take that back first."
        )
        raise UserError("feedback_in_use", sentence, status=409)
    with transaction.atomic():
        unchanged = {"proposed_at": feedback.proposed_at, "regression_case": feedback.regression_case_id}
        deleted, _by_kind = Feedback.objects.filter(pk=feedback.pk, **unchanged).delete()
        if deleted:
            Prediction.objects.filter(request_id=feedback.request_id).update(
                verdict="", correction="", feedback_by=None, feedback_at=None
            )
            _record(actor, feedback.request_id, "prediction.take_feedback_back", verdict=feedback.verdict)


def set_feedback_aside(*, actor: Actor, feedback: Sequence[Feedback], aside: bool = True) -> int:
    """Leave these out of what waits to be improved, or with ``aside`` False put them back; returns how many changed."""
    actor.require(Act.REVIEW)
    rows = Feedback.objects.filter(
        project=actor.project, pk__in=[one.pk for one in feedback], dismissed_at__isnull=aside
    )
    with transaction.atomic():
        changed = rows.update(dismissed_at=timezone.now() if aside else None)
        if changed:
            act = "feedback.set_aside" if aside else "feedback.put_back"
            subject = f"feedback {feedback[0].pk}"
            record(actor=actor, project=actor.project, act=act, subject=subject, data={"count": changed})
    return changed


def _checked(prediction: Prediction, verdict: str, correction: str, reasons: Sequence[str], comment: str) -> list[str]:
    if prediction.status != 200:
        raise UserError("no_answer", "This question got no answer, so there is nothing to judge.", status=409)
    if verdict not in Verdict.values:
        raise UserError("unknown_verdict", f"The verdict is {' or '.join(Verdict.values)}.", field="verdict")
    unknown = [reason for reason in reasons if reason not in Reason.values]
    if unknown:
        sentence = f"There is no reason {unknown[0]!r}. Use some of: {', '.join(Reason.values)}."
        raise UserError("unknown_reason", sentence, field="reasons")
    if verdict == Verdict.BAD and correction.strip() and correction.strip() == prediction.output.strip():
        sentence = _("This is what the model answered. Say what it should have answered, or that the answer is good.")
        raise UserError("correction_unchanged", sentence, field="correction")
    if len(correction) > MAX_CORRECTION:
        raise UserError("too_long", f"A correction has at most {MAX_CORRECTION:,} characters.", field="correction")
    if len(comment) > MAX_COMMENT:
        raise UserError("too_long", f"A comment has at most {MAX_COMMENT:,} characters.", field="comment")
    return [reason for reason in Reason.values if reason in reasons]


def _fit_to_keep(prediction: Prediction, correction: str, comment: str) -> dict[str, Any]:
    """What is copied and what was written, as this project's log may hold it now: the policy may be stricter than when the
    answer was logged. What a person wrote is refused rather than lost in silence."""
    rules = masking.rules_of(prediction.project_id)
    messages, answer = _asked(prediction.input), prediction.output
    if rules.keeps_texts and rules.masks:
        beside = {"": [correction, comment]}  # under an empty name: a name is read as words before its value
        rejected = [{"role": "assistant", "content": answer}]
        done = mask_messages(messages, rules.kinds or {}, rejected=rejected, beside=beside)
        messages, answer = done.messages, str(done.rejected[0]["content"])
        correction, comment = done.beside[""]
    elif not rules.keeps_texts:
        messages, answer = [], ""
    if (correction or comment) and not rules.keeps_texts:
        sentence = (
            "This project keeps no texts, so only the verdict and its reasons can be kept. Leave the texts empty."
        )
        raise UserError("texts_not_kept", sentence, field="correction" if correction else "comment")
    return {"messages": messages, "answer": answer, "correction": correction, "comment": comment[:MAX_COMMENT]}


def _copied(actor: Actor, prediction: Prediction) -> dict[str, Any]:
    """Which answer it is about, and who speaks."""
    return {
        "project_id": prediction.project_id,
        "prediction": prediction,
        "deployment_id": prediction.deployment_id,
        "model_name": prediction.model_name,
        "by_user": actor.user,
        "by_key": actor.api_key,
        "at": timezone.now(),
        "dismissed_at": None,
    }


def _asked(logged: dict[str, Any]) -> list[dict[str, Any]]:
    """The conversation before the answer; empty where the log keeps no texts."""
    if messages := logged.get("messages"):
        return [dict(message) for message in messages]
    text = logged.get("prompt") or logged.get("text")
    return [{"role": "user", "content": text}] if isinstance(text, str) and text else []


def _record(actor: Actor, request_id: str, act: str, **data: Any) -> None:
    record(actor=actor, project=actor.project, act=act, subject=f"prediction {request_id}", data=data)
