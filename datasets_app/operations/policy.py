"""What a project decides about its data: personal data per kind, and how texts are cleaned."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app.choices import PiiAction
from datasets_app.models import DataPolicy
from datasets_app.queries.policy import CLEANING, all_kinds, checked_plan
from finetune_engine.errors import UserError


def set_pii_decisions(*, actor: Actor, decisions: dict[str, str]) -> DataPolicy:
    """Say what happens to personal data of each kind (``{kind: mask | reject | keep}``) in everything that is frozen from
    now on; all or none. A decision that stands already is confirmed: its person and time become the newest.

    Snapshots that exist stay as they are. Raises UserError for an unknown kind or action.
    """
    kinds = all_kinds()
    for kind, action in decisions.items():
        if kind not in kinds:
            sentence = _("There is no kind of personal data “%(kind)s”; the kinds are %(kinds)s.")
            raise UserError("unknown_kind", sentence % {"kind": kind[:40], "kinds": ", ".join(kinds)}, field="kind")
        if action not in PiiAction.values:
            sentence = _(
                "Personal data is replaced (mask), its rows are left out (reject), or it is kept (keep): “%(action)s” is"
                " none of these."
            )
            raise UserError("unknown_action", sentence % {"action": action[:40]}, field="action")
    with transaction.atomic():
        policy = _locked(actor)
        for kind, action in decisions.items():
            before = policy.pii.get(kind, PiiAction.MASK.value)
            policy.pii[kind] = action
            _sign(policy, kind, actor)
            record(
                actor=actor,
                project=actor.project,
                act="data_policy.pii",
                subject=f"personal data {kind}",
                data={"from": before, "to": action},
            )
        _save(policy, actor)
    return policy


def set_cleaning(
    *,
    actor: Actor,
    steps: list[str] | None,
    replacements: list[dict[str, Any]] | None = None,
    boilerplate: list[str] | None = None,
) -> DataPolicy:
    """Say how texts are cleaned at the next check: the names of ``steps`` in order (None means the usual ones),
    find-and-replace rules, and patterns of text to take out.

    Raises UserError for an unknown step, a rule without anything to find, or a pattern that cannot be read.
    """
    replacements, boilerplate = replacements or [], boilerplate or []
    _check_storable(
        "replacements", [str(value) for rule in replacements if isinstance(rule, dict) for value in rule.values()]
    )
    _check_storable("boilerplate", [str(line) for line in boilerplate])
    checked_plan({"cleaning": steps, "replacements": replacements, "boilerplate": boilerplate})
    with transaction.atomic():
        policy = _locked(actor)
        policy.cleaning, policy.replacements, policy.boilerplate = steps, replacements, boilerplate
        _sign(policy, CLEANING, actor)
        _save(policy, actor)
        record(
            actor=actor,
            project=actor.project,
            act="data_policy.cleaning",
            subject="cleaning",
            data={"steps": steps, "replacements": len(replacements), "boilerplate": len(boilerplate)},
        )
    return policy


def _check_storable(field: str, texts: list[str]) -> None:
    """Raises UserError for characters that no database stores: NUL, and halves of characters."""
    if any("\0" in text or any("\ud800" <= c <= "\udfff" for c in text) for text in texts):
        raise UserError("bad_cleaning", _("A rule holds a damaged character. Type it again."), field=field)


def _locked(actor: Actor) -> DataPolicy:
    DataPolicy.objects.get_or_create(project=actor.project)
    return DataPolicy.objects.select_for_update().get(project=actor.project)


def _sign(policy: DataPolicy, subject: str, actor: Actor) -> None:
    policy.decided[subject] = {
        "user": actor.user.pk if actor.user else None,
        "key": actor.api_key.prefix if actor.api_key else "",
        "at": timezone.now().isoformat(),
    }


def _save(policy: DataPolicy, actor: Actor) -> None:
    policy.updated_by, policy.updated_at = actor.user, timezone.now()
    policy.save()
