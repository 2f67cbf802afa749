"""An owner's signature under a model, and taking it back."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from accounts_app.choices import Act
from accounts_app.models import Project
from accounts_app.operations import record
from accounts_app.permissions import Actor
from evaluation_app.choices import VerdictKind
from evaluation_app.models import Evaluation, SignOff
from evaluation_app.queries.sign_offs import failed_demands, report_sha256
from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel

SHORTEST_REASON = 15
LONGEST_STATEMENT = 5_000
STANDING = "I have read the report and stand for using this model."
"""What the box on the page says. It is no reason where something speaks against the model."""


def sign_off_model(
    *, actor: Actor, trained_model: TrainedModel, evaluation: Evaluation | None = None, statement: str = ""
) -> SignOff:
    """Record that an owner has read the report and stands for using this model.

    ``evaluation`` None: there is none, or the owner does not rest on it. Against a verdict other than *ship*, a failed
    rule or no evaluation at all, ``statement`` must give the reason. Signing the same report again, with the same words
    or none, returns one's own signature that is there. Raises UserError, and PermissionDenied for anybody but an owner.
    """
    actor.require(Act.OWN)
    statement = statement.strip()
    _check(actor, trained_model, evaluation, statement)
    digest = report_sha256(evaluation) if evaluation else ""
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=actor.project.pk)  # a double click signs once
        if (found := _own(actor, trained_model, evaluation, digest, statement)) is not None:
            return found
        signed = SignOff.objects.create(
            project=actor.project,
            trained_model=trained_model,
            evaluation=evaluation,
            report_sha256=digest,
            verdict=evaluation.verdict if evaluation else "",
            statement=statement,
            signed_by=actor.user,
            signed_by_key=actor.api_key,
        )
        facts = {
            "evaluation": signed.evaluation_id,
            "report_sha256": digest,
            "verdict": signed.verdict,
            "statement": statement,
        }
        subject = f"trained model {trained_model.pk}"
        record(actor=actor, project=actor.project, act="model.sign_off", subject=subject, data=facts)
    return signed


def withdraw_sign_off(*, actor: Actor, sign_off: SignOff, reason: str = "") -> SignOff:
    """Take a signature back; it stays on record. A model in use goes on answering until it is taken out of use.

    Withdrawing twice changes nothing. Raises PermissionDenied for anybody but an owner.
    """
    actor.require(Act.OWN)
    with transaction.atomic():
        moved = SignOff.objects.filter(pk=sign_off.pk, withdrawn_at=None).update(
            withdrawn_at=timezone.now(), withdrawn_by=actor.user
        )
        if moved:
            record(
                actor=actor,
                project=actor.project,
                act="model.withdraw_sign_off",
                subject=f"trained model {sign_off.trained_model_id}",
                data={"sign_off": sign_off.pk, "reason": reason.strip()[:LONGEST_STATEMENT]},
            )
    sign_off.refresh_from_db()
    return sign_off


def _own(
    actor: Actor, model: TrainedModel, evaluation: Evaluation | None, digest: str, statement: str
) -> SignOff | None:
    """This owner's valid signature under the same report: another owner's is not theirs, nor does it say their words."""
    there = SignOff.objects.filter(
        trained_model=model,
        evaluation=evaluation,
        report_sha256=digest,
        withdrawn_at=None,
        signed_by=actor.user,
        signed_by_key=actor.api_key,
    )
    return (there if statement in ("", STANDING) else there.filter(statement=statement)).first()


def _check(actor: Actor, model: TrainedModel, evaluation: Evaluation | None, statement: str) -> None:
    if model.project_id != actor.project.pk:
        raise UserError("not_found", "There is no such model in this project.", "model", status=404)
    if evaluation is not None and (evaluation.project_id, evaluation.trained_model_id) != (model.project_id, model.pk):
        sentence = "This evaluation is about another model. Choose one that judged the model you sign for."
        raise UserError("other_model", sentence, "evaluation")
    if evaluation is not None and not evaluation.report:
        sentence = "This evaluation has no report yet. Wait until it is done, then sign."
        raise UserError("no_report", sentence, "evaluation", status=409)
    if len(statement) > LONGEST_STATEMENT:
        raise UserError("too_long", f"A statement has at most {LONGEST_STATEMENT:,} characters.", "statement")
    against = _speaks_against(evaluation)
    if against and (statement == STANDING or len(statement) < SHORTEST_REASON):
        raise UserError(
            "reason_missing",
            f"{against} You can still sign, but write down why the model may be used nevertheless "
            f"(at least {SHORTEST_REASON} characters).",
            "statement",
        )


def _speaks_against(evaluation: Evaluation | None) -> str:
    """Why a signature needs a reason; empty when it needs none."""
    if evaluation is None:
        return "No evaluation stands behind this model."
    failed = failed_demands(evaluation.report)
    if failed:
        return f"The model breaks what was demanded: {', '.join(failed)}."
    if evaluation.verdict == VerdictKind.MORE_CASES:
        return "The evaluation says that more cases are needed."
    return "" if evaluation.verdict == VerdictKind.SHIP else "The evaluation says: do not use it."
