"""Being told when a model in use does worse."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor, fetch
from accounts_app.views.access import project_page
from finetune_engine.errors import UserError
from serving_app.alerts import DEFAULTS, rule_words
from serving_app.forms.alerts import AlertRuleForm
from serving_app.models import AlertRule
from serving_app.operations import alerts as operations
from serving_app.queries.alerts import alert_rules, alerts_of
from web_kit.pagination import paginate
from work_kit.notifications.queries import mail_is_sent


def _page(request: HttpRequest, actor: Actor, *, form: AlertRuleForm | None = None, status: int = 200) -> HttpResponse:
    rules = alert_rules(actor.project)
    kinds = {rule.kind for rule in rules}
    context = {
        "project": actor.project,
        "rules": [{"rule": rule, "words": rule_words(rule), "alert": rule.open_alert} for rule in rules],  # type: ignore[attr-defined]
        "page": paginate(alerts_of(actor.project), order=("-id",), limit=25, cursor=request.GET.get("cursor")),
        "form": form or AlertRuleForm(),
        "usual": [kind for kind in DEFAULTS if kind not in kinds],
        "may_own": actor.may(Act.OWN),
        "mail_is_sent": mail_is_sent(),
    }
    return render(request, "serving_app/alerts.html", context, status=status)


@project_page({"GET": Act.VIEW, "POST": Act.OWN})
def alerts(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The rules and what became of them; POST adds a rule."""
    if request.method != "POST":
        return _page(request, actor)
    form = AlertRuleForm(request.POST)
    if form.is_valid():
        try:
            operations.add_alert_rule(actor=actor, **form.kept())
        except UserError as error:
            form.add_user_error(error)
        else:
            messages.success(request, _("You will be told."))
            return redirect("serving:alerts", actor.project.slug)
    return _page(request, actor, form=form, status=422)


@project_page({"POST": Act.OWN})
def usual_alerts(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Add the rules that most projects want."""
    added = operations.add_usual_rules(actor=actor)
    messages.success(request, _("%(n)s rules were added.") % {"n": len(added)})
    return redirect("serving:alerts", actor.project.slug)


@project_page({"POST": Act.OWN})
def change_alert(request: HttpRequest, actor: Actor, rule_id: str) -> HttpResponse:
    """Switch a rule on or off, or delete it."""
    rule = fetch(actor, AlertRule, pk=rule_id)
    if request.POST.get("to") == "delete":
        operations.delete_alert_rule(actor=actor, rule=rule)
        messages.success(request, _("The rule is deleted."))
    else:
        operations.change_alert_rule(actor=actor, rule=rule, is_enabled=request.POST.get("to") == "on")
    return redirect("serving:alerts", actor.project.slug)
