"""Learning what a model's confidence is worth, and setting below which a person must look."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts_app.choices import Act
from accounts_app.operations import record
from accounts_app.permissions import Actor
from evaluation_app.models import Evaluation
from evaluation_app.queries.judged_confidence import judged_answers
from finetune_engine.errors import UserError
from finetune_engine.serve.calibration import FEWEST_ROWS, fit_calibration
from serving_app.choices import DeploymentState
from serving_app.models import Calibration, Deployment
from serving_app.queries.calibrations import confidence_view
from work_kit.choices import State
from work_kit.outages import OUTAGES

logger = logging.getLogger(__name__)

SEED = 20_260
RECENT = timedelta(days=30)
AT_ONCE = 5
_MAY_CHANGE = (DeploymentState.ACTIVE, DeploymentState.PREPARING)


def calibrate_model(*, actor: Actor, evaluation: Evaluation) -> Calibration:
    """Learn from this evaluation how often its model is right when it is so sure; the newest calibration counts.

    Raises UserError when the evaluation is of another project (404), has no answers with confidences (409), or too few.
    """
    actor.require(Act.TRAIN)
    if evaluation.project_id != actor.project.pk:
        raise UserError("not_found", "There is no such evaluation in this project.", field="evaluation", status=404)
    curve, report = _learnt(evaluation)
    with transaction.atomic():
        return _keep(actor, evaluation, curve, report)


def calibrate_finished() -> int:
    """Calibrate the models of evaluations that ended lately with answers enough; returns how many were looked at.

    Each is looked at once: where nothing can be learnt, an empty calibration keeps the reason. Safe to run twice.
    """
    waiting = (
        Evaluation.objects.filter(
            work__state=State.SUCCEEDED,
            cases__gte=FEWEST_ROWS,
            created_at__gte=timezone.now() - RECENT,
            calibrations=None,
        )
        .exclude(samples_name="")
        .select_related("project", "trained_model")
        .order_by("id")[:AT_ONCE]
    )
    count = 0
    for evaluation in waiting:
        try:
            curve, report = _learnt(evaluation)
        except UserError as error:
            curve, report = {}, {"refused": error.code, "sentence": error.sentence}
        except OUTAGES:
            raise
        except Exception:  # a file of answers that nobody can read must not keep the others waiting
            logger.exception("evaluation %s could not be learnt from", evaluation.pk)
            sentence = "The file of its answers could not be read. Try it by hand, or run the evaluation again."
            curve, report = {}, {"refused": "unreadable", "sentence": sentence}
        with transaction.atomic():
            Evaluation.objects.select_for_update(of=("self",)).get(pk=evaluation.pk)
            if not Calibration.objects.filter(evaluation=evaluation).exists():
                _keep(None, evaluation, curve, report)
                count += 1
    return count


def set_human_threshold(*, actor: Actor, deployment: Deployment, ask_human_below: float | None) -> Deployment:
    """Put answers below this calibrated confidence (0..1) before a person from now on; None: none at all.

    Raises UserError for a number outside 0..1, and 409 for a deployment that is not in use.
    """
    actor.require(Act.OWN)
    if ask_human_below is not None and not 0.0 <= ask_human_below <= 1.0:
        raise UserError("bad_threshold", "The threshold lies between 0 and 1.", field="ask_human_below")
    with transaction.atomic():
        rows = Deployment.objects.filter(pk=deployment.pk, project=actor.project, state__in=_MAY_CHANGE)
        if not rows.update(ask_human_below=ask_human_below):
            sentence = "This deployment is not in use any more. Reload the page and look again."
            raise UserError("not_in_use", sentence, status=409)
        record(
            actor=actor,
            project=actor.project,
            act="deployment.set_human_threshold",
            subject=f"deployment {deployment.pk}",
            data={"ask_human_below": ask_human_below, "before": deployment.ask_human_below},
        )
    deployment.refresh_from_db()
    return deployment


def keep_promise(*, actor: Actor, deployment: Deployment, promised: float) -> Deployment:
    """Put before a person what must be, so that of the other answers ``promised`` (0..1) are right. Raises UserError (409)
    when the model was not calibrated or no threshold keeps the promise, and as ``set_human_threshold``."""
    actor.require(Act.OWN)
    choice = confidence_view(deployment).choice_for(promised)
    if choice is None or choice.threshold is None:
        uncalibrated = "This model was not calibrated; calibrate it with an evaluation first."
        sentence = choice.reason if choice is not None else uncalibrated
        raise UserError("promise_not_kept", sentence, field="promised", status=409)
    return set_human_threshold(actor=actor, deployment=deployment, ask_human_below=choice.threshold)


def _learnt(evaluation: Evaluation) -> tuple[dict[str, Any], dict[str, Any]]:
    answers = judged_answers(evaluation)
    found = fit_calibration(answers.confidences, answers.right, groups=answers.groups, seed=SEED)
    return found.curve.as_dict(), found.report


def _keep(actor: Actor | None, evaluation: Evaluation, curve: dict[str, Any], report: dict[str, Any]) -> Calibration:
    made = Calibration.objects.create(
        project_id=evaluation.project_id,
        trained_model_id=evaluation.trained_model_id,
        evaluation=evaluation,
        curve=curve,
        report=report,
        created_by=actor.user if actor else None,
    )
    if curve:
        record(
            actor=actor,
            project=evaluation.project,
            act="model.calibrate",
            subject=f"trained model {evaluation.trained_model_id}",
            data={"evaluation": evaluation.pk, "rows": report["rows"], "ece": report["after"]["ece_10_bin"]},
        )
    return made
