"""The start of a training at a provider: which way it goes, with which numbers, and whether the money is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.utils.translation import gettext as _

from accounts_app.permissions import Actor
from datasets_app.models import Dataset, Snapshot
from finetune_engine.errors import UserError
from finetune_engine.train.provider.settings import AUTO, FEWEST_EXAMPLES, Hyperparameters
from jobs_app.models import ProviderConnection, TrainedModel, TrainingJob
from jobs_app.operations import budgets
from jobs_app.queries.connections import Access, RemoteModel, access_to, remote_model
from jobs_app.training_settings import automatic_passes

METHODS = ("sft", "dpo")
OPENAI_NUMBERS = ("n_epochs", "batch_size", "learning_rate_multiplier", "beta")


@dataclass(frozen=True)
class Plan:
    """A training at a provider, before it starts. ``passes`` None: as many as suit the number of rows."""

    model: RemoteModel
    access: Access
    numbers: dict[str, Any]
    passes: float | None


def plan(
    *,
    actor: Actor,
    key: str,
    spec: Mapping[str, Any],
    connection: ProviderConnection | None,
    parent: TrainedModel | None,
    asked: Mapping[str, Any] | None,
    openai_request: Mapping[str, Any] | None,
) -> Plan | None:
    """How a training of the base model ``key`` goes out; None when it is trained here.

    Raises UserError ``no_connection`` when the project has no key there, and for settings that no provider takes.
    """
    model = remote_model(key)
    if model is None:
        if connection is not None or asked:
            sentence = _("This base model is trained here; a provider's settings do not apply to it.")
            raise UserError("not_remote", sentence, field="base_model", reason="bad_config")
        return None
    if model.is_closed:
        sentence = _("%(model)s: its maker offers no new training. Choose another base model.")
        raise UserError(
            "model_unavailable", sentence % {"model": model.name}, field="base_model", reason="model_unavailable"
        )
    if spec.get("method", "sft") not in METHODS:
        sentence = _("A provider trains with the methods %(methods)s only.") % {"methods": ", ".join(METHODS)}
        raise UserError("method_not_at_provider", sentence, field="method", reason="bad_config")
    access = access_to(model, actor.project, connection)
    if access is None:
        sentence = _(
            "%(model)s is trained at %(where)s, and this project has no key there. An owner adds one on the page "
            "'Providers and budget'."
        )
        told = {"model": model.name, "where": "OpenAI" if model.is_openai else urlsplit(model.base_url).netloc}
        raise UserError("no_connection", sentence % told, field="base_model", reason="bad_config")
    if parent is not None:
        if not parent.remote_name:
            sentence = _("A provider can go on only from a model that it keeps itself.")
            raise UserError("parent_not_at_provider", sentence, field="parent_model", reason="bad_config")
        model = replace(model, model=parent.remote_name)
    numbers = _numbers(spec, asked, openai_request)
    wanted = numbers.get("n_epochs")
    return Plan(model, access, numbers, float(wanted) if isinstance(wanted, int) else None)


def _numbers(
    spec: Mapping[str, Any], asked: Mapping[str, Any] | None, openai_request: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What was said about the provider's numbers: outright, in OpenAI's words, or through our own settings."""
    numbers: dict[str, Any] = {}
    if spec.get("num_train_epochs") is not None:
        numbers["n_epochs"] = max(1, round(float(spec["num_train_epochs"])))
    if "per_device_train_batch_size" in spec or "gradient_accumulation_steps" in spec:
        at_a_time = int(spec.get("per_device_train_batch_size", 1))
        numbers["batch_size"] = at_a_time * int(spec.get("gradient_accumulation_steps", 1))
    if spec.get("beta") is not None:
        numbers["beta"] = spec["beta"]
    told = openai_request or {}
    numbers |= {name: told[name] for name in OPENAI_NUMBERS if told.get(name) is not None}
    numbers |= dict(asked or {})
    Hyperparameters.from_dict(numbers)
    return numbers


def settle(*, actor: Actor, training: TrainingJob, plan: Plan, data: Snapshot | Dataset, approved: bool) -> None:
    """Note the way out with the new training, in the transaction that makes it. Raises UserError when the data is too
    small for any provider, when the cost was not approved, and when the month's limit does not allow it."""
    rows = _rows(data)
    if rows is not None and rows < FEWEST_EXAMPLES:
        sentence = _("A provider needs at least %(fewest)s examples to learn from; this data has %(rows)s.")
        figures = {"fewest": FEWEST_EXAMPLES, "rows": rows}
        raise UserError("too_few_examples", sentence % figures, field="snapshot")
    passes = plan.passes if plan.passes is not None else float(automatic_passes(rows or 0))
    cost = budgets.expected_cost(plan.model, data, passes)
    budgets.require_approval(project=actor.project, model=plan.model, cost=cost, approved=approved)
    training.connection = plan.access.connection
    training.cost_approved_by = actor.user if approved else None
    training.remote = {
        "base_url": plan.access.base_url,
        "model": plan.model.model,
        "hyperparameters": plan.numbers,
        "cost_approved": approved,
    } | ({"expected_cost": cost.as_dict()} if cost is not None else {})
    training.save(update_fields=["connection", "cost_approved_by", "remote"])


def _rows(data: Snapshot | Dataset) -> int | None:
    """Rows to learn from at most; None while they are not counted yet."""
    if data.state != "ready":
        return None
    return int(data.counts.get("train", 0)) if isinstance(data, Snapshot) else data.usable


def hyperparameters(training: TrainingJob, snapshot: Snapshot) -> dict[str, Any]:
    """The numbers that are sent: as asked, with the passes settled now that the rows are counted."""
    numbers = dict(training.remote.get("hyperparameters") or {})
    numbers.setdefault("n_epochs", automatic_passes(int(snapshot.counts.get("train", 0))))
    return asdict(Hyperparameters.from_dict(numbers))


def settle_cost(*, training: TrainingJob, snapshot: Snapshot) -> None:
    """Check the month's limit once more when the cost could not be known at the start. Raises UserError ``over_budget``."""
    model = remote_model(training.base_model_key)
    if model is None or training.remote.get("expected_cost"):
        return
    passes = hyperparameters(training, snapshot)["n_epochs"]
    passes = float(automatic_passes(int(snapshot.counts.get("train", 0)))) if passes == AUTO else float(passes)
    cost = budgets.expected_cost(model, snapshot, passes)
    if cost is None:
        return
    with transaction.atomic():
        budgets.check_limit(project=training.project, cost=cost)
        training.remote = training.remote | {"expected_cost": cost.as_dict()}
        training.save(update_fields=["remote"])
