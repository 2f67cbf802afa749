"""Operations on money: what a project may spend at providers, whether a training may start, and what it has cost."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.models import Project
from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app.models import Dataset, Snapshot
from finetune_engine.catalogue.cost import Cost, provider_cost
from finetune_engine.catalogue.estimate import DataFacts
from finetune_engine.catalogue.ranges import whole
from finetune_engine.errors import UserError
from jobs_app.models import Budget, TrainingJob
from jobs_app.queries import connections as queries
from jobs_app.queries.connections import RemoteModel
from web_kit.wording import money_words

MOST = Decimal(10) ** 9
CENT = Decimal("0.01")


def set_budget(*, actor: Actor, monthly_limit: Decimal | None, ask_above: Decimal, currency: str = "USD") -> Budget:
    """What the project may spend in a calendar month (None: no limit), and above which amount a start has to be confirmed.
    Raises UserError for amounts below zero and a currency that is no code of three letters."""
    currency = currency.strip().upper()
    if len(currency) != 3 or not currency.isascii() or not currency.isalpha():
        raise UserError("bad_currency", _("A currency has three letters, such as USD."), field="currency")
    limit, above = _amount(monthly_limit, "monthly_limit"), _amount(ask_above, "ask_above")
    with transaction.atomic():
        values = {"monthly_limit": limit, "ask_above": above or Decimal(0), "currency": currency}
        more = {"updated_by": actor.user, "updated_at": timezone.now()}
        budget, _is_new = Budget.objects.update_or_create(project=actor.project, defaults=values | more)
        data = {name: None if value is None else str(value) for name, value in values.items()}
        record(actor=actor, project=actor.project, act="budget.set", subject="budget", data=data)
    return budget


def expected_cost(model: RemoteModel, data: Snapshot | Dataset, passes: float) -> Cost | None:
    """What a training will probably cost, from the lengths of the rows. None when those or the price are unknown."""
    facts = _lengths(data)
    if facts is None:
        return None
    tokens = facts.tokens(facts.mean, model.key).map(lambda length: length * facts.rows)
    return provider_cost(model, whole(tokens), passes)


def _lengths(data: Snapshot | Dataset) -> DataFacts | None:
    """How many rows would be sent and how long they are; None while the data is being imported."""
    figures = data.statistics or {}
    rows = int(data.counts.get("train", 0)) if isinstance(data, Snapshot) else data.usable
    counted = int(figures.get("total_examples") or 0)
    if not rows or not counted:
        return None
    if figures.get("total_tokens"):
        return DataFacts(rows, 0, int(figures["total_tokens"]) / counted, 0.0, unit="tokens")
    words = float(figures.get("avg_prompt_length") or 0) + float(figures.get("avg_completion_length") or 0)
    return DataFacts(rows, 0, words, 0.0)


def require_approval(*, project: Project, model: RemoteModel, cost: Cost | None, approved: bool) -> None:
    """Ask before money is spent. Call inside the transaction that starts the training.

    Raises UserError ``cost_not_approved`` (402) until a person says yes, unless the budget lets so cheap a training start
    without a question; ``over_budget`` (402), yes or no, when this month's limit does not allow it.
    """
    budget = queries.budget_of(project)
    if cost is None:
        if not approved:
            sentence = _(
                "What a training of %(model)s costs is not known here. Confirm that it may start all the same."
            )
            raise _ask(sentence % {"model": model.name})
        return
    check_limit(project=project, cost=cost)
    asks = cost.expected > 0 and (cost.currency != budget.currency or cost.expected > budget.ask_above)
    if asks and not approved:
        sentence = _("This training costs about %(expected)s (%(low)s to %(high)s). Confirm that it may start.")
        figures = {name: money_words(getattr(cost, name), cost.currency) for name in ("low", "expected", "high")}
        raise _ask(sentence % figures)


def check_limit(*, project: Project, cost: Cost) -> None:
    """Raises UserError ``over_budget`` (402) when this month's limit does not allow a training that costs so much. Call
    inside the transaction that notes the cost."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)  # two at once may not both take the last money
    budget = queries.budget_of(project)
    if budget.monthly_limit is None or not cost.expected:
        return
    if cost.currency != budget.currency:
        sentence = _(
            "The monthly limit is in %(ours)s, this training's price in %(theirs)s, so the limit cannot be checked. An owner "
            "can set the budget in %(theirs)s."
        )
        raise _over(sentence % {"ours": budget.currency, "theirs": cost.currency})
    month = queries.spending(project, budget)
    if month.spent + month.expected + cost.expected > budget.monthly_limit:
        sentence = _(
            "This training costs about %(cost)s. Of this month's limit of %(limit)s, %(spent)s are spent and %(reserved)s are "
            "expected for trainings under way or cancelled, so %(left)s are left. An owner can raise the limit."
        )
        figures = {
            "cost": cost.expected,
            "limit": budget.monthly_limit,
            "spent": month.spent,
            "reserved": month.expected,
            "left": month.left,
        }
        raise _over(sentence % {name: money_words(amount, cost.currency) for name, amount in figures.items()})


def record_cost(*, training: TrainingJob, trained_tokens: int | None) -> None:
    """Write down what a training at a provider has cost, or why that is unknown. Part of the job's last transaction."""
    model = queries.remote_model(training.base_model_key)
    cost = queries.training_cost(model, trained_tokens) if model is not None and trained_tokens is not None else None
    if cost is not None:
        training.cost_amount, training.cost_currency = cost.expected, cost.currency
    else:
        why = _("The provider has not said how many tokens it counted.")
        if trained_tokens is not None:
            why = _("The price of this model is not known here.")
        training.remote = training.remote | {"cost_unknown": str(why)}
    training.save(update_fields=["cost_amount", "cost_currency", "remote"])


def _amount(value: Decimal | None, field: str) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = Decimal(value).quantize(CENT)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount <= MOST:
        raise UserError("bad_amount", _("An amount is a number from 0."), field=field)
    return amount


def _ask(sentence: str) -> UserError:
    return UserError("cost_not_approved", sentence, field="cost_approved", reason="bad_config", status=402)


def _over(sentence: str) -> UserError:
    return UserError("over_budget", sentence, field="base_model", reason="bad_config", status=402)
