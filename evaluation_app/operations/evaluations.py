"""Everything that changes evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.models import Project
from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app.choices import SnapshotState
from datasets_app.models import Snapshot
from datasets_app.queries import latest_snapshot
from evaluation_app.choices import Split, Suite
from evaluation_app.models import Contender, Evaluation
from evaluation_app.operations.contenders import BASE_KEY, ContenderWish, Lineup, lineup, wish_of
from evaluation_app.operations.evaluation_settings import checked_settings
from evaluation_app.operations.spending import Outlay, outlay, require_approval
from evaluation_app.queries.contenders import contenders_of
from evaluation_app.queries.lists import headline_score
from evaluation_app.queries.rules import cases_of
from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel
from web_kit.wording import number_words
from work_kit.choices import Queue
from work_kit.models import Job
from work_kit.operations import submit_job

KIND = "evaluation.run"
MOST_CASES = 1_000_000_000  # what a column holds
CHOSEN_BY_US = ("addresses", "expected_cost")
"""Keys of an evaluation's settings that nobody chose."""


class EvaluationProblems(UserError):
    """Everything that is wrong with an evaluation, found in one go; ``problems`` has one UserError for each."""

    def __init__(self, problems: list[UserError]) -> None:
        self.problems = problems
        sentence = " ".join(problem.sentence for problem in problems)
        first = problems[0]
        super().__init__(first.code, sentence, field=first.field, reason="bad_config", status=first.status)

    def as_dict(self) -> dict[str, Any]:
        """As UserError, with ``problems``: a list of ``{code, message, field}``."""
        return super().as_dict() | {"problems": [problem.as_dict() for problem in self.problems]}


def start_evaluation(
    *,
    actor: Actor,
    trained_model: TrainedModel,
    others: Sequence[ContenderWish] = (),
    snapshot: Snapshot | None = None,
    split: str = Split.TEST,
    limit: int | None = None,
    suites: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
    cost_approved: bool = False,
    cost_figures: str = "",
    repeated_from: Evaluation | None = None,
) -> Evaluation:
    """Queue a comparison of this model with its base model and with ``others``, over the same frozen rows.

    ``snapshot`` None means the one it was trained from, ``limit`` None all its rows, ``suites`` None quality only;
    ``settings`` are those of ``evaluation_settings.KNOWN``. Where rows leave for somebody else's machine, somebody has
    to say ``cost_approved`` first (to ``cost_figures``, where a page showed them). The same ``idempotency_key`` returns
    the first evaluation. Raises UserError (EvaluationProblems when there are several) for what cannot be judged, and
    PermissionDenied without the right to train.
    """
    actor.require(Act.TRAIN)
    plan = _plan(actor.project, trained_model, others, snapshot, split, limit, suites, settings)
    with transaction.atomic():
        job = submit_job(
            actor=actor,
            kind=KIND,
            title=_("Evaluate %(model)s") % {"model": trained_model.name},
            params={},
            idempotency_key=(idempotency_key or "")[:200] or None,
            queue=None if plan.models.needs_machine else Queue.REMOTE,
        )
        first = Evaluation.objects.filter(pk=job.pk).first()
        if first is not None:
            return first
        if plan.outlay is not None:
            require_approval(project=actor.project, found=plan.outlay, approved=cost_approved, figures=cost_figures)
        return _create(actor, trained_model, job, plan, repeated_from)


@dataclass(frozen=True)
class _Plan:
    """What was asked for, checked."""

    snapshot: Snapshot
    split: str
    limit: int | None
    suites: list[str]
    models: Lineup
    settings: dict[str, Any]
    outlay: Outlay | None


def _plan(
    project: Project,
    trained_model: TrainedModel,
    others: Sequence[ContenderWish],
    snapshot: Snapshot | None,
    split: str,
    limit: int | None,
    suites: Sequence[str] | None,
    settings: Mapping[str, Any] | None,
) -> _Plan:
    chosen = snapshot or trained_model.training_job.snapshot
    if trained_model.project_id != project.pk or (chosen and chosen.project_id != project.pk):
        raise UserError("not_found", _("There is no such model or snapshot in this project."), status=404)
    if chosen is None:
        raise _no_snapshot()
    wanted = _suites(suites)
    models = lineup(project, trained_model, others)
    kept, problems = checked_settings(settings, project=project, snapshot=chosen)
    _refuse([*_problems(chosen, split, limit, wanted), *models.problems, *problems, *_shot_problems(models, chosen)])
    cases = min(limit or int(chosen.counts[split]), int(chosen.counts[split]))
    found = outlay(
        models.contenders,
        models.addresses,
        snapshot=chosen,
        cases=cases,
        suites=wanted,
        judge=kept.get("judge"),
        kept_cases=cases_of(project).count(),
    )
    return _Plan(chosen, split, limit, wanted, models, kept, found)


def _create(
    actor: Actor, trained_model: TrainedModel, job: Job, plan: _Plan, repeated_from: Evaluation | None
) -> Evaluation:
    evaluation = Evaluation.objects.create(
        id=job.pk,
        project=actor.project,
        trained_model=trained_model,
        snapshot=plan.snapshot,
        work=job,
        split=plan.split,
        suites=plan.suites,
        case_limit=plan.limit,
        settings=plan.settings | _ours(plan.models, plan.outlay),
        repeated_from=repeated_from,
        created_by=actor.user,
        created_by_key=actor.api_key,
    )
    _store(evaluation, plan.models.contenders)
    _tell(actor, evaluation, plan.outlay)
    return evaluation


def _store(evaluation: Evaluation, contenders: Sequence[Contender]) -> None:
    for contender in contenders:
        contender.evaluation = evaluation
    Contender.objects.bulk_create(contenders)


def _tell(actor: Actor, evaluation: Evaluation, found: Outlay | None) -> None:
    data = {
        "trained_model": evaluation.trained_model_id,
        "snapshot": evaluation.snapshot_id,
        "split": evaluation.split,
        "suites": evaluation.suites,
        "sent_to": list(found.names) if found is not None else [],
        "repeated_from": evaluation.repeated_from_id,
    }
    subject = f"evaluation {evaluation.pk}"
    record(actor=actor, project=actor.project, act="evaluation.start", subject=subject, data=data)


def _ours(models: Lineup, found: Outlay | None) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if models.addresses:
        out["addresses"] = models.addresses
    if found is not None:
        out["expected_cost"] = found.as_dict()
    return out


def repeat_evaluation(
    *,
    actor: Actor,
    evaluation: Evaluation,
    snapshot: Snapshot | None = None,
    idempotency_key: str | None = None,
    cost_approved: bool = False,
    cost_figures: str = "",
) -> Evaluation:
    """Run the same models with the same settings again. ``snapshot`` None: the newest of the same data.

    Raises UserError as ``start_evaluation``, and ``contender_gone`` (409) when a model has been deleted since.
    """
    if evaluation.project_id != actor.project.pk:
        raise UserError("not_found", _("There is no such evaluation in this project."), status=404)
    rest = [one for one in contenders_of(evaluation) if not one.is_subject and one.key != BASE_KEY]
    chosen = {name: value for name, value in evaluation.settings.items() if name not in CHOSEN_BY_US}
    return start_evaluation(
        actor=actor,
        trained_model=evaluation.trained_model,
        others=[wish_of(contender) for contender in rest],
        snapshot=snapshot or latest_snapshot(evaluation.snapshot.dataset) or evaluation.snapshot,
        split=evaluation.split,
        limit=evaluation.case_limit,
        suites=evaluation.suites,
        settings=chosen,
        idempotency_key=idempotency_key,
        cost_approved=cost_approved,
        cost_figures=cost_figures,
        repeated_from=evaluation,
    )


def keep_report(*, evaluation_id: str, report: Mapping[str, Any], samples_name: str) -> None:
    """Store what an evaluation found. Called by its runner inside the guarded transaction of the job."""
    verdict = report.get("verdict") or {}
    score = headline_score(report)
    Evaluation.objects.filter(pk=evaluation_id).update(
        report=dict(report),
        verdict=str(verdict.get("kind") or ""),
        verdict_sentence=str(verdict.get("sentence") or ""),
        headline=str(report.get("headline") or "")[:40],
        headline_value=score.get("value"),
        headline_low=score.get("ci_low"),
        headline_high=score.get("ci_high"),
        cases=report.get("n"),
        overall_score=_overall(report.get("overall_score")),
        samples_name=samples_name,
    )


def _overall(told: Any) -> float | None:
    value = told.get("value") if isinstance(told, Mapping) else told
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _suites(suites: Sequence[str] | None) -> list[str]:
    """Quality is always measured: everything else is compared with it."""
    wanted = [Suite.QUALITY, *(suites or [])]
    return [str(name) for name in dict.fromkeys(wanted)]


def _refuse(problems: list[UserError]) -> None:
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise EvaluationProblems(problems)


def _no_snapshot() -> UserError:
    return UserError(
        "no_snapshot",
        _(
            "This model was trained outside this site, so its test rows are not known. Choose a snapshot to judge it on."
        ),
        field="snapshot",
    )


def _problems(snapshot: Snapshot, split: str, limit: int | None, suites: Sequence[str]) -> list[UserError]:
    found = []
    if split not in Split.values:
        sentence = _(
            "The split %(split)r cannot be judged on: choose %(known)s. Rows that the model has learnt say nothing about "
            "new ones."
        )
        told = {"split": split, "known": _(" or ").join(Split.values)}
        found.append(UserError("unknown_split", sentence % told, field="split"))
    elif snapshot.state != SnapshotState.READY:
        sentence = _("Snapshot %(number)s has no rows to judge on: %(state)s. Choose another snapshot.")
        told = {"number": str(snapshot.number), "state": str(snapshot.get_state_display()).lower()}
        found.append(UserError("snapshot_not_ready", sentence % told, field="snapshot", status=409))
    elif not (snapshot.counts or {}).get(split):
        sentence = _("Snapshot %(number)s has no %(split)s rows. Choose another snapshot or another part.")
        told = {"number": str(snapshot.number), "split": split}
        found.append(UserError("empty_split", sentence % told, field="snapshot"))
    unknown = [suite for suite in suites if suite not in Suite.values]
    if unknown:
        sentence = _("Unknown suite %(name)r: choose among %(known)s.")
        told = {"name": unknown[0], "known": ", ".join(Suite.values)}
        found.append(UserError("unknown_suite", sentence % told, field="suites"))
    if limit is not None and not 1 <= limit <= MOST_CASES:
        sentence = _("The number of rows is from 1 to %(most)s. Leave it empty for all.")
        found.append(UserError("bad_limit", sentence % {"most": number_words(MOST_CASES)}, field="limit"))
    return found


def _shot_problems(models: Lineup, snapshot: Snapshot) -> list[UserError]:
    """Examples before a question come from the rows that were trained on."""
    most = max((int((one.prompt or {}).get("shots") or 0) for one in models.contenders), default=0)
    rows = int((snapshot.counts or {}).get("train") or 0)
    if most <= rows:
        return []
    sentence = _("Snapshot %(number)s has %(rows)s training rows, too few for %(shots)s examples before each question.")
    told = {"number": snapshot.number, "rows": rows, "shots": most}
    return [UserError("few_examples", sentence % told, field="prompts")]
