"""Rules about a model in use, and the alerts that they open and close."""

from __future__ import annotations

import math
from datetime import timedelta
from logging import getLogger

from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.operations import record
from accounts_app.permissions import Actor
from finetune_engine.errors import UserError
from serving_app.alerts import DEFAULTS, KINDS, Reading, sentence_of
from serving_app.choices import AlertKind
from serving_app.histograms import LATENCY_EDGES
from serving_app.models import Alert, AlertRule
from work_kit.notifications import outbox
from work_kit.notifications.messages import News

logger = getLogger(__name__)

OPENED, CLOSED = "serving.alert.opened", "serving.alert.closed"
MOST_RULES = 50
LONGEST_WINDOW = 10_080
QUIET = timedelta(minutes=10)
"""After an alert is over the same rule opens none for so long: a server that ends and comes back fills no mailbox."""


def add_alert_rule(*, actor: Actor, kind: str, threshold: float, window_minutes: int | None = None) -> AlertRule:
    """Be told when this figure passes ``threshold`` (in the kind's unit; shares are 0..1) over ``window_minutes`` (None: what is
    usual for the kind). Raises UserError for an unknown kind or a threshold or window that makes no sense."""
    actor.require(Act.OWN)
    if kind not in AlertKind.values:
        raise UserError("unknown_kind", _("Choose one of the figures."), field="kind")
    window = KINDS[kind].window_minutes if window_minutes is None else window_minutes
    _check(kind, threshold, window)
    with transaction.atomic():
        if AlertRule.objects.filter(project=actor.project).count() >= MOST_RULES:
            raise UserError("too_many_rules", _("A project has at most %(n)s rules.") % {"n": MOST_RULES})
        rule = AlertRule.objects.create(
            project=actor.project, kind=kind, threshold=threshold, window_minutes=window, created_by=actor.user
        )
        _audit(actor, "alert_rule.add", rule)
    return rule


def add_usual_rules(*, actor: Actor) -> list[AlertRule]:
    """The rules that most projects want, of those kinds that have none yet."""
    there = set(AlertRule.objects.filter(project=actor.project).values_list("kind", flat=True))
    kinds = [kind for kind in DEFAULTS if kind not in there]
    with transaction.atomic():
        return [add_alert_rule(actor=actor, kind=kind, threshold=KINDS[kind].threshold) for kind in kinds]


def change_alert_rule(
    *,
    actor: Actor,
    rule: AlertRule,
    threshold: float | None = None,
    window_minutes: int | None = None,
    is_enabled: bool | None = None,
) -> AlertRule:
    """Change what is not None. The open alert of a rule that is switched off is closed without a message."""
    actor.require(Act.OWN)
    with transaction.atomic():
        rule = AlertRule.objects.select_for_update().get(pk=rule.pk)
        rule.threshold = rule.threshold if threshold is None else threshold
        rule.window_minutes = rule.window_minutes if window_minutes is None else window_minutes
        rule.is_enabled = rule.is_enabled if is_enabled is None else is_enabled
        _check(rule.kind, rule.threshold, rule.window_minutes)
        rule.save(update_fields=["threshold", "window_minutes", "is_enabled"])
        if not rule.is_enabled:
            Alert.objects.filter(rule=rule, closed_at=None).update(closed_at=timezone.now())
        _audit(actor, "alert_rule.change", rule)
    return rule


def delete_alert_rule(*, actor: Actor, rule: AlertRule) -> None:
    """Delete a rule with its alerts."""
    actor.require(Act.OWN)
    with transaction.atomic():
        _audit(actor, "alert_rule.delete", rule)
        rule.delete()


def check_alerts() -> int:
    """Look at every rule that is on; returns how many alerts were opened or closed. One rule that cannot be read does not keep
    the others waiting."""
    moved = 0
    rules = AlertRule.objects.filter(is_enabled=True).select_related("project").order_by("project_id", "id")
    for rule in rules:
        try:
            moved += _checked(rule)
        except Exception:  # a front door: the other rules must be looked at
            logger.exception("alert rule %s could not be checked", rule.pk)
    return moved


def _checked(rule: AlertRule) -> bool:
    kind = KINDS[rule.kind]
    reading = kind.read(rule.project, rule.window_minutes)
    alert = Alert.objects.filter(rule=rule, closed_at=None).first()
    if alert is None:
        if Alert.objects.filter(rule=rule, closed_at__gt=timezone.now() - QUIET).exists():
            return False
        past = reading.is_enough and kind.is_past(float(reading.value or 0.0), rule.threshold)
        return past and _open(rule, float(reading.value or 0.0))
    return _is_over(rule, reading) and _close(rule, alert, reading.value)


def _is_over(rule: AlertRule, reading: Reading) -> bool:
    """Where nothing is left to measure nothing is wrong any more; a few cases alone close nothing."""
    if reading.value is None:
        return True
    return reading.is_enough and KINDS[rule.kind].is_back(reading.value, rule.threshold)


def _open(rule: AlertRule, value: float) -> bool:
    """False when somebody else was first."""
    sentence = sentence_of(rule, value)[:300]
    try:
        with transaction.atomic():
            alert = Alert.objects.create(project=rule.project, rule=rule, value=value, sentence=sentence)
            _tell(OPENED, alert, sentence, value)
    except IntegrityError:
        return False
    return True


def _close(rule: AlertRule, alert: Alert, value: float | None) -> bool:
    with transaction.atomic():
        if not Alert.objects.filter(pk=alert.pk, closed_at=None).update(closed_at=timezone.now()):
            return False
        told = sentence_of(rule, value) if value is not None else _("There is nothing to measure any more.")
        _tell(CLOSED, alert, _("It is over: %(sentence)s") % {"sentence": told}, value)
    return True


def _tell(event: str, alert: Alert, headline: str, value: float | None) -> None:
    rule = alert.rule
    page = reverse("serving:alerts", args=[alert.project.slug])
    data = {
        "kind": rule.kind,
        "value": value,
        "threshold": rule.threshold,
        "window_minutes": rule.window_minutes,
        "sentence": headline,
        "project": alert.project.slug,
    }
    outbox.tell_project(alert.project, News(event, alert.pk, headline, page, data))


def _check(kind: str, threshold: float, window_minutes: int) -> None:
    if not math.isfinite(threshold) or threshold < 0 or (KINDS[kind].unit == "share" and threshold > 1):
        raise UserError("bad_threshold", _("A limit is a number from 0; a share is at most 1 (100%)."), "threshold")
    if kind == AlertKind.LATENCY and threshold >= LATENCY_EDGES[-1]:
        sentence = _("Times are counted up to %(most)s seconds: choose less.") % {"most": f"{LATENCY_EDGES[-1]:.0f}"}
        raise UserError("bad_threshold", sentence, "threshold")
    if not 5 <= window_minutes <= LONGEST_WINDOW:
        raise UserError(
            "bad_window", _("Look at 5 to %(n)s minutes.") % {"n": f"{LONGEST_WINDOW:,}"}, field="window_minutes"
        )


def _audit(actor: Actor, act: str, rule: AlertRule) -> None:
    data = {"kind": rule.kind, "threshold": rule.threshold, "window_minutes": rule.window_minutes}
    subject = f"alert rule {rule.pk}"
    record(actor=actor, project=actor.project, act=act, subject=subject, data=data | {"is_enabled": rule.is_enabled})
