"""The one thing to do next about what people complained of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from datasets_app.models import Dataset, Snapshot
from datasets_app.queries import latest_snapshot
from jobs_app.models import TrainingJob
from serving_app.queries.improvement import Improvement, Line, Stage


@dataclass(frozen=True)
class NextStep:
    """A sentence, and where to do it; ``url`` is empty where it happens on the page itself or this person may not."""

    stage: str
    sentence: str
    act: str = ""
    url: str = ""


_Made = Callable[[Actor, list[Line], int], NextStep]


def next_step(actor: Actor, found: Improvement) -> NextStep:
    """The earliest stage in which something waits: corrections first; what a new version already does rightly before what
    it was not asked yet."""
    for stage, made in _STEPS:
        lines = [line for line in found.lines if line.stage == stage]
        if lines:
            return made(actor, lines, len(lines))
    if found.lines:
        return NextStep("", _("Nothing waits: what was complained about is answered rightly now."))
    return NextStep(
        "", _("Nothing was complained about. Say in the playground or in the log what you think of an answer.")
    )


def retrain_url(project_slug: str, job: TrainingJob, snapshot: Snapshot | None) -> str:
    """The form of a new training with the settings of this one, on this snapshot."""
    asked = {"clone": job.pk} | ({"snapshot": snapshot.pk} if snapshot is not None else {})
    return f"{reverse('jobs:new', args=[project_slug])}?{urlencode(asked)}"


def _propose(actor: Actor, lines: list[Line], n: int) -> NextStep:
    sentence = ngettext("%(n)s correction is not in the data yet.", "%(n)s corrections are not in the data yet.", n)
    how = ngettext("Choose it below and propose it.", "Choose them below and propose them.", n)
    if not actor.may(Act.TRAIN):
        how = _("Somebody who may train can propose them.")
    return NextStep(Stage.CORRECTED, sentence % {"n": n} + " " + how)


def _review(actor: Actor, lines: list[Line], n: int) -> NextStep:
    sentence = ngettext("%(n)s correction waits for review.", "%(n)s corrections wait for review.", n) % {"n": n}
    return _at(actor, Act.REVIEW, Stage.PROPOSED, sentence, _("Review"), "datasets:review", lines[0].dataset)


def _freeze(actor: Actor, lines: list[Line], n: int) -> NextStep:
    sentence = ngettext(
        "%(n)s accepted correction is in no snapshot yet.", "%(n)s accepted corrections are in no snapshot yet.", n
    )
    act = _("Freeze a new snapshot")
    return _at(actor, Act.TRAIN, Stage.ACCEPTED, sentence % {"n": n}, act, "datasets:freeze", lines[0].dataset)


def _train(actor: Actor, lines: list[Line], n: int) -> NextStep:
    sentence = ngettext(
        "%(n)s correction waits in a snapshot for the next training.",
        "%(n)s corrections wait in a snapshot for the next training.",
        n,
    ) % {"n": n}
    model = lines[0].feedback.deployment.trained_model if lines[0].feedback.deployment else None
    frozen = lines[0].frozen
    if model is None or not actor.may(Act.TRAIN):
        return NextStep(Stage.FROZEN, sentence)
    newest = latest_snapshot(frozen.dataset) if frozen is not None else None
    url = retrain_url(actor.project.slug, model.training_job, newest or frozen)
    return NextStep(Stage.FROZEN, sentence, _("Train the next version like the last one"), url)


def _judge(actor: Actor, lines: list[Line], n: int) -> NextStep:
    model = lines[0].model
    if all(not line.is_case for line in lines):
        sentence = ngettext(
            "Nobody has asked “%(name)s” %(n)s complaint again.",
            "Nobody has asked “%(name)s” %(n)s complaints again.",
            n,
        ) % {"n": n, "name": model}
        how = _("Keep them as cases: the next evaluation asks them.")
        return NextStep(Stage.TRAINED, f"{sentence} {how}")
    sentence = _("“%(name)s” learned from corrections and was not asked again yet.") % {"name": model}
    url = reverse("evaluation:new", args=[actor.project.slug]) + (f"?model={model.pk}" if model else "")
    return NextStep(Stage.TRAINED, sentence, _("Evaluate it"), url if actor.may(Act.TRAIN) else "")


def _deploy(actor: Actor, lines: list[Line], n: int) -> NextStep:
    outcome = lines[0].outcome
    name = outcome.model_name if outcome is not None else ""
    sentence = ngettext(
        "“%(name)s” gets %(n)s complaint right and is not in use yet.",
        "“%(name)s” gets %(n)s complaints right and is not in use yet.",
        n,
    ) % {"n": n, "name": name}
    url = reverse("serving:detail", args=[actor.project.slug]) if actor.may(Act.OWN) else ""
    return NextStep(Stage.PASSED, sentence, _("Put it into use"), url)


def _again(actor: Actor, lines: list[Line], n: int) -> NextStep:
    sentence = ngettext(
        "%(n)s answer is still wrong after training.", "%(n)s answers are still wrong after training.", n
    ) % {"n": n}
    return NextStep(Stage.STILL_WRONG, sentence + " " + _("More examples of the same kind help most."))


def _correct(actor: Actor, lines: list[Line], n: int) -> NextStep:
    sentence = ngettext("%(n)s bad answer has no correction yet.", "%(n)s bad answers have no correction yet.", n) % {
        "n": n
    }
    return NextStep(Stage.SAID, sentence + " " + _("A model learns only from the right answer."))


def _at(
    actor: Actor, needed: str, stage: str, sentence: str, act: str, route: str, dataset: Dataset | None
) -> NextStep:
    if dataset is None or not actor.may(needed):
        return NextStep(stage, sentence)
    return NextStep(stage, sentence, act, reverse(route, args=[actor.project.slug, dataset.pk]))


_STEPS: tuple[tuple[str, _Made], ...] = (
    (Stage.CORRECTED, _propose),
    (Stage.PROPOSED, _review),
    (Stage.ACCEPTED, _freeze),
    (Stage.FROZEN, _train),
    (Stage.PASSED, _deploy),
    (Stage.STILL_WRONG, _again),
    (Stage.TRAINED, _judge),
    (Stage.SAID, _correct),
)
