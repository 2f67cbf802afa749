"""Models that a provider trains, the keys a project has there, and what its trainings there have cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from accounts_app.models import Project
from finetune_engine.catalogue.catalogue import Price
from finetune_engine.catalogue.cost import Cost, provider_cost
from jobs_app.choices import Provider
from jobs_app.models import Budget, ProviderConnection, TrainingJob
from jobs_app.other_spending import spent_elsewhere
from jobs_app.queries.base_models import find_base_model
from jobs_app.queries.providers import OPENAI_URL, connections_of, is_openai_address, operators_key
from work_kit.choices import OPEN, State

SHOWN_JOBS = 50


@dataclass(frozen=True)
class RemoteModel:
    """A base model that a provider trains: ``model`` is its name there, ``base_url`` the only address that may be asked
    (any connection's for OpenAI's own models). None means unknown."""

    key: str
    name: str
    model: str
    base_url: str
    is_openai: bool
    is_closed: bool
    context_length: int | None
    price: Price | None


@dataclass(frozen=True)
class Access:
    """The way to a provider: a project's connection, or the operator's own key (``connection`` None)."""

    base_url: str
    connection: ProviderConnection | None

    @property
    def name(self) -> str:
        """For people."""
        return self.connection.name if self.connection is not None else "OpenAI"


def remote_model(key: str) -> RemoteModel | None:
    """The model with this key when a provider trains it; None when it is trained here, or unknown."""
    card = find_base_model(key)
    if card is None or not card.is_remote:
        return None
    return RemoteModel(
        key=card.key,
        name=card.name,
        model=card.remote_model,
        base_url=card.base_url.rstrip("/"),
        is_openai=card.provider == Provider.OPENAI,
        is_closed=card.status == "closed",
        context_length=card.context_length,
        price=card.entry.price,
    )


def access_to(model: RemoteModel, project: Project, chosen: ProviderConnection | None = None) -> Access | None:
    """The way to the provider of ``model`` for this project; None when somebody has to add a key first.

    An endpoint's model goes to that endpoint alone. OpenAI's models go to the project's connection there, else with the
    operator's own key (``OPENAI_API_KEY``), or to a ``chosen`` connection that offers them under another address.
    """
    if chosen is not None:
        fits = model.is_openai or chosen.base_url == model.base_url
        return Access(chosen.base_url, chosen) if fits and chosen.project_id == project.pk else None
    for connection in connections_of(project):
        if connection.base_url == model.base_url or (model.is_openai and is_openai_address(connection.base_url)):
            return Access(connection.base_url, connection)
    return Access(OPENAI_URL, None) if model.is_openai and operators_key() else None


def training_cost(model: RemoteModel, tokens: int) -> Cost | None:
    """What training on ``tokens`` in all (every pass counted) costs there; None when the price is unknown."""
    return provider_cost(model, tokens, 1)


@dataclass(frozen=True)
class MonthsSpending:
    """What a project has spent at providers in this calendar month (UTC), and what is expected to be added: by open jobs,
    by cancelled ones, because a provider lets what it had learnt by then be paid and does not say how much that is, and by
    what else is asked of models there (evaluations), whose bills nobody here sees."""

    currency: str
    spent: Decimal
    expected: Decimal
    limit: Decimal | None

    @property
    def left(self) -> Decimal | None:
        """Never below zero; None without a limit."""
        return None if self.limit is None else max(Decimal(0), self.limit - self.spent - self.expected)

    @property
    def share(self) -> float | None:
        """Spent and expected, 0..1 of the limit; None without a limit."""
        if not self.limit:
            return None
        return float(min(Decimal(1), (self.spent + self.expected) / self.limit))


def budget_of(project: Project) -> Budget:
    """The project's budget; one with the defaults (not stored) when nobody has set it."""
    return Budget.objects.filter(project=project).first() or Budget(project=project)


def spending(project: Project, budget: Budget | None = None) -> MonthsSpending:
    """This month, in the budget's currency."""
    budget = budget or budget_of(project)
    paid = TrainingJob.objects.filter(project=project, cost_currency=budget.currency, work__finished_at__gte=_month())
    spent = paid.aggregate(total=Sum("cost_amount"))["total"] or Decimal(0)
    cancelled = Q(work__state=State.CANCELLED, work__finished_at__gte=_month())
    told = [_expected_cost(job) for job in remote_jobs(project).filter(Q(work__state__in=OPEN) | cancelled)]
    expected = sum((Decimal(cost["expected"]) for cost in told if cost.get("currency") == budget.currency), Decimal(0))
    expected += spent_elsewhere(project, budget.currency, _month())
    return MonthsSpending(budget.currency, spent, expected, budget.monthly_limit)


def _expected_cost(training: TrainingJob) -> dict[str, str]:
    """What the training may still cost, as ``Cost.as_dict``; empty when that is known or nothing."""
    began_there = bool((training.remote.get("state") or {}).get("job"))
    counts = training.work.state in OPEN or (training.work.state == State.CANCELLED and began_there)
    return (training.remote.get("expected_cost") or {}) if counts and training.cost_amount is None else {}


def _month() -> datetime:
    return timezone.now().astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def remote_jobs(project: Project) -> QuerySet[TrainingJob]:
    """Trainings that a provider carries out, the newest first."""
    return TrainingJob.objects.filter(project=project, work__queue="remote").select_related("work").order_by("-id")


@dataclass(frozen=True)
class RemoteJobCard:
    """One line of the page of budgets. ``reason`` says why there is no amount."""

    id: str
    name: str
    base_model: str
    state: str
    label: str
    amount: Decimal | None
    currency: str
    is_expected: bool
    reason: str
    created_at: datetime


def remote_job_cards(project: Project) -> list[RemoteJobCard]:
    """What each training at a provider has cost, or is expected to."""
    return [_card(training) for training in remote_jobs(project)[:SHOWN_JOBS]]


def _card(training: TrainingJob) -> RemoteJobCard:
    expected = _expected_cost(training)
    amount, currency = training.cost_amount, training.cost_currency
    if expected:
        amount, currency = Decimal(expected["expected"]), str(expected["currency"])
    return RemoteJobCard(
        id=training.pk,
        name=training.name,
        base_model=training.base_model_key,
        state=training.work.state,
        label=str(training.work.get_state_display()),
        amount=amount,
        currency=currency,
        is_expected=training.cost_amount is None and amount is not None,
        reason=str(training.remote.get("cost_unknown") or ""),
        created_at=training.created_at,
    )
