"""What a person decides on an answer that the model was not sure enough of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from finetune_engine.errors import UserError
from serving_app.choices import Verdict
from serving_app.models import Feedback, Prediction
from serving_app.operations.feedback import give_feedback, take_feedback_back


def confirm_answer(*, actor: Actor, prediction: Prediction) -> Feedback:
    """The answer is right as it is. Raises UserError 409 when somebody was first (see ``_handle``)."""
    with transaction.atomic():
        _handle(actor, prediction)
        return give_feedback(actor=_judging(actor), prediction=prediction, verdict=Verdict.GOOD)


def correct_answer(*, actor: Actor, prediction: Prediction, correction: str, comment: str = "") -> Feedback:
    """The answer should have been ``correction``. Raises UserError for an empty one, as ``give_feedback`` for one that is the
    answer itself, and as ``confirm_answer``."""
    if not correction.strip():
        sentence = _("Write what the answer should have been.")
        raise UserError("correction_missing", sentence, field="correction")
    with transaction.atomic():
        _handle(actor, prediction)
        return give_feedback(
            actor=_judging(actor), prediction=prediction, verdict=Verdict.BAD, correction=correction, comment=comment
        )


def reopen_answer(*, actor: Actor, prediction: Prediction) -> None:
    """Undo of a decision by the one who took it: the verdict is taken back and the answer waits again; what somebody else said
    of it since stays. Raises UserError 409 for another person's decision, and when it already led to a row in the data (as
    ``take_feedback_back``)."""
    actor.require(Act.REVIEW)
    with transaction.atomic():
        said = Feedback.objects.filter(project=actor.project, request_id=prediction.request_id).first()
        mine = Prediction.objects.filter(pk=prediction.pk, project=actor.project, needs_human=True)
        mine = mine.filter(handled_by=actor.user).exclude(handled_at=None)
        is_mine = actor.user is not None or (said is not None and said.by_key_id == _key_of(actor))
        if not is_mine or not mine.update(handled_at=None, handled_by=None):
            raise UserError("not_yours", _("This is not a decision of yours that could be taken back."), status=409)
        if said is not None and (said.by_user_id, said.by_key_id) == (_user_of(actor), _key_of(actor)):
            take_feedback_back(actor=_judging(actor), feedback=said)
    prediction.refresh_from_db()


def _handle(actor: Actor, prediction: Prediction) -> None:
    """Take the answer out of the queue, for good and only once: of two reviewers the second is told so (409)."""
    actor.require(Act.REVIEW)
    waiting = Prediction.objects.filter(pk=prediction.pk, project=actor.project, needs_human=True, handled_at=None)
    if not waiting.update(handled_at=timezone.now(), handled_by=actor.user):
        sentence = _("This answer does not wait for anybody any more: somebody was first.")
        raise UserError("already_handled", sentence, status=409)


def _user_of(actor: Actor) -> Any:
    return None if actor.user is None else actor.user.pk


def _key_of(actor: Actor) -> str | None:
    return None if actor.api_key is None else actor.api_key.pk


def _judging(actor: Actor) -> Actor:
    """Whoever may decide on rows may say what they think of an answer, also with a key that may not ask the model."""
    return replace(actor, acts=actor.acts | {Act.PREDICT})
