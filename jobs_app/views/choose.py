"""Which base model? All of them ranked, with reasons, and the alternatives to training."""

from __future__ import annotations

from dataclasses import asdict

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from finetune_engine.catalogue import recommend
from finetune_engine.catalogue.recommend import Wishes
from jobs_app import queries
from jobs_app.forms.advice import WishesForm

SHOWN_FIRST = 6
WEIGHTS = (
    (_("examples"), recommend.ENOUGH, recommend.TOO_FEW),
    (_("budget"), recommend.PAID, 0),
    (_("privacy"), recommend.PRIVATE, recommend.LEAVES),
    (_("quality"), recommend.GOOD, 0),
    (_("this machine"), recommend.FITS, recommend.TOO_LARGE),
    (_("length of the examples"), 0, recommend.CONTEXT_SHORT),
    (_("speed of answers"), recommend.QUICK, 0),
    (_("licence"), 0, recommend.ASK_FIRST),
    (_("still offered"), 0, recommend.CLOSING),
    (_("at hand"), recommend.AT_HAND, 0),
)


@project_page(Act.VIEW)
def choose(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The wishes stand in the address; what is not said comes from the project's data and its advice."""
    data = queries.project_data(actor.project)
    begin = asdict(queries.wishes_of(actor.project, data))
    form = WishesForm(request.GET or None, initial=begin)
    said = {name: value for name, value in form.cleaned_data.items() if value} if form.is_valid() else {}
    wishes = Wishes.from_dict(begin | said)
    ranked = queries.ranked_models(actor.project, wishes, data.dataset)
    context = {
        "form": WishesForm(initial=asdict(wishes)),
        "data": data,
        "first": ranked[:SHOWN_FIRST],
        "others": ranked[SHOWN_FIRST:],
        "weights": WEIGHTS,
        "project": actor.project,
        "may_train": actor.may(Act.TRAIN),
        "may_own": actor.may(Act.OWN),
    }
    return render(request, "jobs_app/choose.html", context)
