"""What a project decided about its data once and for all: personal data and cleaning."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts_app.models import Project, User
from datasets_app.choices import PiiAction
from datasets_app.models import DataPolicy, Dataset

KIND_NAMES: dict[str, object] = {
    "email": gettext_lazy("E-mail addresses"),
    "phone": gettext_lazy("Telephone numbers"),
    "card": gettext_lazy("Payment card numbers"),
    "iban": gettext_lazy("Bank account numbers (IBAN)"),
    "ip": gettext_lazy("Internet addresses (IP)"),
    "us_ssn": gettext_lazy("US social security numbers"),
    "national_id": gettext_lazy("National identity, tax and health numbers"),
    "url_credentials": gettext_lazy("Web addresses with a password"),
    "secret": gettext_lazy("Passwords and keys"),
    "name": gettext_lazy("Names of people"),
}
CLEANING = "cleaning"  # its place in DataPolicy.decided, beside the kinds


@dataclass(frozen=True)
class Decided:
    """Who decided and when. ``by`` is empty when the person is gone; ``at`` is None while nobody decided."""

    by: str = ""
    at: datetime | None = None


@dataclass(frozen=True)
class KindDecision:
    """What happens to one kind of personal data. ``rows`` is how many rows of a dataset hold it."""

    kind: str
    title: str
    action: str
    rows: int
    decided: Decided


def all_kinds() -> tuple[str, ...]:
    """Every kind of personal data that the engine can find."""
    from finetune_engine.data.pii import KINDS

    return tuple(KINDS)


def names_are_found() -> bool:
    """Whether this installation can find names of people."""
    from finetune_engine.data import pii

    return pii.names_are_found()


def kind_title(kind: str) -> str:
    """The plain words for a kind of personal data."""
    return str(KIND_NAMES.get(kind) or kind.replace("_", " ").capitalize())


def policy_of(project: Project) -> DataPolicy:
    """The project's decisions; one that is not stored yet, with the defaults, when nothing was decided."""
    return DataPolicy.objects.filter(project=project).first() or DataPolicy(project=project)


def pii_policy(project: Project) -> dict[str, str]:
    """``{kind: mask | reject | keep}`` for every kind; mask where nobody decided."""
    stored = policy_of(project).pii
    return {kind: _action(stored.get(kind)) for kind in all_kinds()}


def cleaning_plan(project: Project) -> dict[str, Any]:
    """The import options about cleaning: ``{cleaning, replacements, boilerplate}``; ``cleaning`` None means the usual
    steps."""
    policy = policy_of(project)
    return {"cleaning": policy.cleaning, "replacements": policy.replacements, "boilerplate": policy.boilerplate}


def checked_plan(options: dict[str, Any]) -> Any:
    """The engine's ``CleaningPlan`` for such options. Raises UserError for an unknown step or a rule that cannot be
    read."""
    from finetune_engine.data.cleaning import read_plan

    return read_plan(options)


def kind_decisions(project: Project, dataset: Dataset | None = None) -> list[KindDecision]:
    """Every kind with its decision, the most frequent of this dataset first."""
    policy = policy_of(project)
    who = decisions_made(policy)
    counts = dataset.pii if dataset is not None else {}
    kinds = [
        KindDecision(
            kind=kind,
            title=kind_title(kind),
            action=_action(policy.pii.get(kind)),
            rows=int(counts.get(kind, 0)),
            decided=who.get(kind, Decided()),
        )
        for kind in all_kinds()
    ]
    return sorted(kinds, key=lambda one: -one.rows)


def decisions_made(policy: DataPolicy) -> dict[str, Decided]:
    """Who decided each kind (and ``cleaning``), and when. One query for the names."""
    ids = {entry.get("user") for entry in policy.decided.values() if entry.get("user")}
    names = {user.pk: str(user) for user in User.objects.filter(pk__in=ids)} if ids else {}
    return {
        subject: Decided(
            by=names.get(entry.get("user"), "")
            or (_("the key %(key)s") % {"key": entry["key"]} if entry.get("key") else ""),
            at=parse_datetime(str(entry.get("at", ""))),
        )
        for subject, entry in policy.decided.items()
    }


def _action(stored: object) -> str:
    return str(stored) if stored in PiiAction.values else PiiAction.MASK.value
