"""The page Improve: what was complained about, where it stands, and what to do next."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from datasets_app.models import Dataset
from datasets_app.queries import datasets_of, latest_snapshot
from finetune_engine.errors import UserError
from serving_app.models import Feedback
from serving_app.operations.feedback import set_feedback_aside
from serving_app.operations.proposals import drop_case_of, keep_as_cases, propose_corrections, withdraw_proposal
from serving_app.queries.feedback import feedback_of
from serving_app.queries.feedback_figures import FeedbackFigures, VersionRate, feedback_figures, newest_change
from serving_app.queries.improvement import Improvement, improvement
from serving_app.queries.next_step import next_step, retrain_url
from serving_app.views.improvement_lines import shown_lines
from web_kit.report_plots import Standing, bars, forest
from web_kit.wording import percent_words

MOST_ASIDE = 30
MOST_DATASETS = 50


@project_page({"GET": Act.VIEW})
def improve(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Complaints and their way, counts, versions."""
    project = actor.project
    found, figures = improvement(project), feedback_figures(project)
    context = {
        "project": project,
        "found": found,
        "lines": shown_lines(actor, found.lines),
        "step": next_step(actor, found),
        "figures": figures,
        "change": newest_change(project),
        "aside": list(feedback_of(project).filter(dismissed_at__isnull=False)[:MOST_ASIDE]),
        "datasets": [entry for entry in datasets_of(project)[:MOST_DATASETS] if not entry.is_plain_text],
        "retrain": _retrain(actor, found),
        "may_train": actor.may(Act.TRAIN),
        "may_review": actor.may(Act.REVIEW),
        "may_predict": actor.may(Act.PREDICT),
        **_drawings(figures),
    }
    return render(request, "serving_app/improvement.html", context)


@project_page({"POST": Act.REVIEW})
def act_on_chosen(request: HttpRequest, actor: Actor) -> HttpResponse:
    """``act`` on the chosen ``feedback``: propose, case, both, withdraw, drop_case, aside or put_back."""
    acts = {
        "propose": _propose,
        "case": _keep,
        "both": _both,
        "withdraw": _withdraw,
        "drop_case": _drop,
        "aside": _aside,
        "put_back": _put_back,
    }
    wanted = acts.get(request.POST.get("act", ""))
    if wanted is None:
        raise UserError("unknown_act", _("There is no such act."), field="act")
    chosen = list(feedback_of(actor.project).filter(pk__in=request.POST.getlist("feedback")))
    if not chosen:
        raise UserError("nothing_chosen", _("Choose at least one answer."), field="feedback")
    home = request.POST.get("dataset", "")
    messages.success(request, wanted(actor, chosen, fetch(actor, Dataset, pk=home) if home else None))
    return redirect("serving:improvement", actor.project.slug)


def _propose(actor: Actor, chosen: list[Feedback], dataset: Dataset | None) -> str:
    done = propose_corrections(actor=actor, feedback=chosen, dataset=dataset)
    words = ngettext(
        "%(n)s correction waits in the review queue of the data now.",
        "%(n)s corrections wait in the review queue of the data now.",
        done.added,
    ) % {"n": done.added}
    if done.known:
        words += " " + ngettext("%(n)s was there already.", "%(n)s were there already.", done.known) % {"n": done.known}
    return words


def _keep(actor: Actor, chosen: list[Feedback], dataset: Dataset | None) -> str:
    added = keep_as_cases(actor=actor, feedback=chosen)
    words = ngettext(
        "%(n)s case added: every evaluation asks it.", "%(n)s cases added: every evaluation asks them.", added
    )
    return words % {"n": added}


def _both(actor: Actor, chosen: list[Feedback], dataset: Dataset | None) -> str:
    return _propose(actor, chosen, dataset) + " " + _keep(actor, chosen, dataset)


def _withdraw(actor: Actor, chosen: list[Feedback], dataset: Dataset | None) -> str:
    freed = withdraw_proposal(actor=actor, feedback=chosen[0])
    words = ngettext(
        "%(n)s correction is taken out of the data.", "%(n)s corrections are taken out of the data.", freed
    )
    return words % {"n": freed}


def _drop(actor: Actor, chosen: list[Feedback], dataset: Dataset | None) -> str:
    for one in chosen:
        drop_case_of(actor=actor, feedback=one)
    return _("Later models are no longer asked it.")


def _aside(actor: Actor, chosen: list[Feedback], dataset: Dataset | None) -> str:
    set_feedback_aside(actor=actor, feedback=chosen)
    return _("Set aside. It can be put back at the end of this page.")


def _put_back(actor: Actor, chosen: list[Feedback], dataset: Dataset | None) -> str:
    set_feedback_aside(actor=actor, feedback=chosen, aside=False)
    return _("It is on the list again.")


def _retrain(actor: Actor, found: Improvement) -> dict[str, Any] | None:
    """The way to the next version: the deployed model's settings on the newest snapshot of its data."""
    model = found.deployment.trained_model if found.deployment is not None else None
    if model is None or not actor.may(Act.TRAIN):
        return None
    job = model.training_job
    data = job.snapshot.dataset if job.snapshot is not None else job.dataset
    newest = latest_snapshot(data) if data is not None and data.deleted_at is None else None
    if newest is None:
        return None
    return {"model": model, "snapshot": newest, "url": retrain_url(actor.project.slug, job, newest),
            "is_new": newest.pk != job.snapshot_id}  # fmt: skip


def _drawings(figures: FeedbackFigures) -> dict[str, SafeString | None]:
    most = max((count for _name, _label, count in figures.reasons), default=0)
    busiest = max((max(week.good, week.bad) for week in figures.weeks), default=0)
    reasons = [(label or _("No reason given"), [(0, count, str(count))]) for _name, label, count in figures.reasons]
    weeks = [
        (week.start.strftime("%d.%m."), [(0, week.good, _("%(n)s good") % {"n": week.good}),
                                         (1, week.bad, _("%(n)s bad") % {"n": week.bad})])
        for week in figures.weeks if week.good or week.bad
    ]  # fmt: skip
    versions = [_standing(rate) for rate in figures.versions]
    return {
        "reason_plot": bars(reasons, label=_("Complaints by reason"), high=most) if reasons else None,
        "week_plot": bars(weeks, label=_("Verdicts by week"), high=busiest) if weeks else None,
        "version_plot": forest(
            versions, label=_("Share of good verdicts by version, with 95 % intervals"), low=0.0, high=1.0, unit="share"
        )
        if versions
        else None,
    }


def _standing(rate: VersionRate) -> Standing:
    low, high = percent_words(rate.low, 0), percent_words(rate.high, 0)
    words = _("%(good)s of %(n)s good (%(low)s to %(high)s)") % {
        "good": rate.good, "n": rate.n, "low": low, "high": high,
    }  # fmt: skip
    return Standing(rate.name, words, rate.share, rate.low, rate.high, is_muted=False)
