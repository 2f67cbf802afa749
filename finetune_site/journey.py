"""The seven steps of a project: where it stands, and the one thing to do next."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from datasets_app import queries as data
from datasets_app.models import Dataset
from evaluation_app import queries as evaluations
from evaluation_app.choices import VerdictKind
from evaluation_app.models import Evaluation
from evaluation_app.queries.lists import first_sentence
from evaluation_app.queries.waiting import waiting_review
from jobs_app import queries as training
from jobs_app.models import TrainedModel, TrainingJob
from serving_app import queries as serving
from serving_app.queries.improvement import new_complaints
from work_kit.choices import TERMINAL, State


@dataclass(frozen=True)
class Step:
    """One step. ``state`` is ``done``, ``now``, ``warn`` or ``later``; ``act`` is the words on the button."""

    name: str
    state: str
    sentence: str
    url: str = ""
    act: str = ""
    act_url: str = ""


@dataclass(frozen=True)
class Journey:
    """All steps, and whether the project has anything at all."""

    steps: list[Step]
    is_empty: bool
    next_step: Step | None


@dataclass(frozen=True)
class _Standing:
    slug: str
    dataset: Dataset | None
    run: TrainingJob | None
    model: TrainedModel | None
    evaluation: Evaluation | None
    deployed: str
    verdict: str
    votes_missing: int
    review_id: str
    is_signed: bool
    complaints: int
    may_train: bool
    may_review: bool
    may_own: bool

    def url(self, name: str, *args: object) -> str:
        return reverse(name, args=[self.slug, *args])


def journey(actor: Actor) -> Journey:
    """The newest of everything in this project, as seven steps with one next act (at most thirteen queries)."""
    project = actor.project
    deployment = serving.current_deployment(project)
    model = training.trained_models(project).first()
    evaluation = evaluations.latest_evaluation(model) if model else None
    review = waiting_review(evaluation) if evaluation and evaluation.verdict else None
    standing = _Standing(
        slug=project.slug,
        dataset=data.datasets_of(project).first(),
        run=training.training_jobs(project).first(),
        model=model,
        evaluation=evaluation,
        deployed=str(deployment.trained_model or deployment.base_model_key) if deployment else "",
        verdict=training.kept_verdict(project),
        votes_missing=review.missing if review else 0,
        review_id=review.id if review else "",
        is_signed=bool(model and evaluation and evaluations.is_signed_off(model)),
        complaints=new_complaints(project) if deployment else 0,
        may_train=actor.may(Act.TRAIN),
        may_review=actor.may(Act.REVIEW),
        may_own=actor.may(Act.OWN),
    )
    drawn = [_advice(standing), _data(standing), _review(standing), _model(standing), _train(standing)]
    drawn += [_judge(standing), _use(standing)]
    steps, found = [], None
    for step in drawn:
        if step.state == "now" and found is not None:
            step = Step(step.name, "later", step.sentence, step.url)
        elif step.state in {"now", "warn"} and found is None and step.act:
            found = step
        steps.append(step)
    return Journey(steps, is_empty=standing.dataset is None, next_step=found)


def _advice(at: _Standing) -> Step:
    url = at.url("jobs:advice")
    said = {
        "fine_tune": _("Fine-tuning is likely to pay."),
        "prompt": _("Better instructions come first."),
        "collect_data": _("More good examples come first."),
    }
    if at.verdict in said:
        return Step(_("Advice"), "done" if at.verdict == "fine_tune" else "warn", said[at.verdict], url)
    sentence = _("Fine-tuning pays when the task is narrow and repeated often. A few questions tell whether yours is.")
    return Step(_("Advice"), "later", sentence, url)


def _data(at: _Standing) -> Step:
    name = _("Data")
    if at.dataset is None:
        act = _("Upload examples") if at.may_train else ""
        return Step(name, "now", _("Nothing uploaded yet."), "", act, at.url("datasets:upload"))
    url = at.url("datasets:detail", at.dataset.pk)
    if at.dataset.state == "processing":
        return Step(name, "now", _("The file is being read."), url, _("Watch"), url)
    if at.dataset.state == "failed":
        return Step(name, "warn", _("The file could not be used."), url, _("See why"), url)
    total = int(at.dataset.counts.get("total", 0))
    sentence = ngettext("%(count)s row in %(name)s.", "%(count)s rows in %(name)s.", total)
    return Step(name, "done", sentence % {"count": f"{total:,}", "name": at.dataset.name}, url)


def _review(at: _Standing) -> Step:
    name = _("Review")
    if at.dataset is None or at.dataset.state != "ready":
        return Step(name, "later", _("Look at what the checks found, and decide."))
    url = at.url("datasets:detail", at.dataset.pk)
    waiting = int(at.dataset.counts.get("needs_review", 0))
    if waiting and at.run is None:
        sentence = ngettext("%(n)s row waits for a decision.", "%(n)s rows wait for a decision.", waiting)
        queue = at.url("datasets:review", at.dataset.pk)
        return Step(name, "warn", sentence % {"n": waiting} + " " + _("They stay out until decided."), queue)
    return Step(name, "done", _("Nothing waits.") if not waiting else _("Undecided rows stayed out."), url)


def _model(at: _Standing) -> Step:
    name = _("Model")
    if at.run is None:
        return Step(name, "later", _("Choose the base model to start from."), at.url("jobs:choose"))
    return Step(name, "done", _("Starting from %(key)s.") % {"key": at.run.base_model_key}, at.url("jobs:choose"))


def _train(at: _Standing) -> Step:
    name = _("Train")
    ready = at.dataset is not None and at.dataset.state == "ready"
    if at.run is None:
        act = _("Train a model") if at.may_train and ready else ""
        return Step(name, "now" if ready else "later", _("No training yet."), "", act, at.url("jobs:new"))
    url = at.url("jobs:detail", at.run.pk)
    work = at.run.work
    if work.state not in TERMINAL:
        return Step(name, "now", str(State(work.state).label), url, _("Watch"), url)
    if at.model is None:
        return Step(name, "warn", str(State(work.state).label), url, _("See why"), url)
    return Step(name, "done", at.model.name, url)


def _judge(at: _Standing) -> Step:
    name = _("Judge")
    if at.model is None:
        return Step(name, "later", _("Measure the new model against its base."))
    if at.evaluation is None:
        act = _("Evaluate it") if at.may_train else ""
        return Step(name, "now", _("Not measured yet."), "", act, at.url("evaluation:new") + f"?model={at.model.pk}")
    url = at.url("evaluation:detail", at.evaluation.pk)
    if at.evaluation.work.state not in TERMINAL:
        return Step(name, "now", _("Being measured."), url, _("Watch"), url)
    if at.evaluation.work.state != State.SUCCEEDED:
        return Step(name, "warn", _("The evaluation did not finish."), url, _("See why"), url)
    return _judged(at, name, url)


def _judged(at: _Standing, name: str, url: str) -> Step:
    """What people have still to say about the measured model: votes first, then a signature."""
    assert at.evaluation is not None
    sentence = first_sentence(at.evaluation.verdict_sentence)
    if at.votes_missing:
        waiting = ngettext(
            "A review waits: %(n)s vote is missing.", "A review waits: %(n)s votes are missing.", at.votes_missing
        )
        queue = at.url("evaluation:review_queue", at.review_id)
        act = _("Judge the answers") if at.may_review else ""
        return Step(name, "now", f"{waiting % {'n': at.votes_missing}} {sentence}", url, act, queue)
    if at.is_signed:
        return Step(name, "done", _("Signed off.") + f" {sentence}", url)
    if at.evaluation.verdict == VerdictKind.SHIP and at.may_own and at.model is not None:
        signing = at.url("evaluation:sign_off", at.model.pk)
        return Step(name, "now", sentence, url, _("Read and sign off"), signing)
    if at.evaluation.verdict == VerdictKind.DO_NOT_SHIP:
        return Step(name, "warn", sentence, url, _("See what would help"), url)
    if at.evaluation.verdict == VerdictKind.MORE_CASES:
        return Step(name, "warn", sentence, url, _("See what is missing"), url)
    return Step(name, "done", sentence, url)


def _use(at: _Standing) -> Step:
    name = _("Use")
    url = at.url("serving:detail")
    if at.deployed and at.complaints:
        waiting = ngettext("%(n)s complaint waits.", "%(n)s complaints wait.", at.complaints) % {"n": at.complaints}
        sentence = _("%(name)s answers.") % {"name": at.deployed} + f" {waiting}"
        return Step(name, "warn", sentence, url, _("Learn from them"), at.url("serving:improvement"))
    if at.deployed:
        return Step(name, "done", _("%(name)s answers.") % {"name": at.deployed}, url, _("Try it"), url)
    if at.model is not None and at.model.remote_name:
        return Step(name, "done", _("Its provider answers for it."), at.url("jobs:model", at.model.pk))
    is_good = at.is_signed or (at.evaluation is not None and at.evaluation.verdict == VerdictKind.SHIP)
    act = _("Deploy it") if is_good and at.may_own else ""
    return Step(name, "now" if is_good else "later", _("Nothing is deployed yet."), url, act, url)
