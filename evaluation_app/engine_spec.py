"""An evaluation as the engine is told to carry it out: the ``spec.json`` of ``python -m finetune_engine evaluate``.

Keys never stand in it: a model behind an address names the environment variable that holds its key.
"""

from __future__ import annotations

import json
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings

from datasets_app.queries import snapshot_parquet
from evaluation_app.choices import ContenderKind
from evaluation_app.models import Contender, Evaluation
from evaluation_app.queries.answer_store import answer_store
from evaluation_app.queries.contenders import contenders_of
from evaluation_app.queries.prices import alternatives, price_at, price_for_spec
from evaluation_app.queries.rules import active_cases, active_rules
from finetune_engine.errors import UserError
from jobs_app.models import ProviderConnection, TrainedModel
from jobs_app.operations.connections import key_of
from jobs_app.queries import base_model_ref, model_files
from jobs_app.queries.estimates import machine_rate
from jobs_app.queries.providers import is_openai_address, operators_key

SEED = 42
KEY_VARIABLE = "EVALUATION_KEY_"
JUDGE = "judge"
CARRIED = ("headline", "metrics", "weights", "slices", "fairness", "discordance", "group_by")


def engine_spec(evaluation: Evaluation) -> dict[str, Any]:
    """Everything the engine needs, files brought to this machine. Raises UserError when a model or the data is gone."""
    contenders = contenders_of(evaluation)
    subject = next((one for one in contenders if one.is_subject), contenders[-1])
    against = next((one for one in contenders if one.is_reference), None)
    chosen = evaluation.settings or {}
    spec: dict[str, Any] = {
        "models": [_model(evaluation, contender) for contender in contenders],
        "subject": subject.key,
        "against": against.key if against is not None else None,
        "snapshot": {"path": str(snapshot_parquet(evaluation.snapshot)), "sha256": evaluation.snapshot.sha256},
        "split": evaluation.split,
        "limit": evaluation.case_limit,
        "task_type": evaluation.snapshot.task_type,
        "seed": SEED,
        "max_new_tokens": None,
        "suites": evaluation.suites,
        "rules": active_rules(evaluation.project),
        "regressions": active_cases(evaluation.project),
        "cost": _cost(evaluation, contenders),
        "answer_store": str(answer_store(evaluation.project_id)),
    }
    spec |= {name: chosen[name] for name in CARRIED if chosen.get(name) is not None}
    if judge := chosen.get(JUDGE):
        connection = _judge_connection(evaluation)
        spec[JUDGE] = {
            **_address(connection.base_url, judge["model"], JUDGE),
            "rubric": judge.get("rubric") or "",
            "sample": judge["sample"],
        }
    return spec


def _model(evaluation: Evaluation, contender: Contender) -> dict[str, Any]:
    head: dict[str, Any] = {"key": contender.key, "name": contender.name}
    prompt = {"prompt": contender.prompt} if contender.prompt else {}
    if address := address_of(evaluation, contender):
        return head | {"endpoint": _address(address, contender.remote_name, contender.key)} | prompt
    if contender.trained_model is not None:
        base, adapter, _digest = model_files(contender.trained_model.api_name, evaluation.project)
        return head | {"base_model": base, "adapter": str(adapter)}
    if contender.kind == ContenderKind.TRAINED or not contender.base_model_key:  # never its base model in its name
        raise UserError("model_deleted", f"The model {contender.name!r} was deleted.", "models", reason="bad_config")
    return head | {"base_model": base_model_ref(contender.base_model_key), "adapter": None} | prompt


def address_of(evaluation: Evaluation, contender: Contender) -> str:
    """Where a model behind an address is asked; empty for one that is loaded here."""
    return str((evaluation.settings.get("addresses") or {}).get(contender.key) or "")


def _address(base_url: str, model: str, key: str) -> dict[str, Any]:
    return {
        "base_url": base_url,
        "model": model,
        "key_variable": key_variable(key),
        "allowed_hosts": list(settings.OUTBOUND_ALLOWED_HOSTS),
    }


def key_variable(key: str) -> str:
    """The variable of the child's environment that holds the key for a contender, or the judge."""
    return KEY_VARIABLE + key.upper()


def endpoint_keys(evaluation: Evaluation) -> dict[str, str]:
    """The keys in clear, by variable, for the child's environment alone. Raises UserError when one is no longer there."""
    found = {}
    for contender in contenders_of(evaluation):
        if address := address_of(evaluation, contender):
            found[key_variable(contender.key)] = _key(contender, address)
    if evaluation.settings.get(JUDGE):
        found[key_variable(JUDGE)] = key_of(_judge_connection(evaluation))
    return found


def _key(contender: Contender, address: str) -> str:
    """The key belongs to its address: it is never sent to another one. The operator's is only for what was trained with it
    and its base, never for a model that a member named at a connection which is gone."""
    connection = contender.connection
    if connection is not None and connection.base_url == address:
        return key_of(connection)
    is_operators = connection is None and contender.kind != ContenderKind.ENDPOINT and is_openai_address(address)
    if is_operators and operators_key():
        return operators_key()
    raise _no_key()


def _judge_connection(evaluation: Evaluation) -> ProviderConnection:
    pk = str((evaluation.settings.get(JUDGE) or {}).get("connection") or "")
    found = ProviderConnection.objects.filter(project=evaluation.project_id, pk=pk).first()
    if found is None:
        raise _no_key()
    return found


def _no_key() -> UserError:
    return UserError(
        "no_connection",
        "The key for an address of this evaluation is no longer there. An owner adds it on the page 'Providers and budget'.",
        reason="bad_config",
    )


def _cost(evaluation: Evaluation, contenders: list[Contender]) -> dict[str, Any]:
    """Prices from the catalogue, the machine's rate as the operator or the person says it, and what the training took."""
    told = evaluation.settings.get("cost") or {}
    prices = {}
    for contender in contenders:
        if address := address_of(evaluation, contender):
            prices[contender.key] = price_for_spec(price_at(address, contender.remote_name))
    rate = machine_rate()
    hour = None if rate is None else {"amount": float(rate.hourly()), "currency": rate.currency}
    return {
        "prices": {key: price for key, price in prices.items() if price is not None},
        "device_hour": told.get("device_hour") or hour,
        "watts": told.get("watts") or (float(rate.watts) if rate is not None and rate.watts is not None else None),
        "training": training_facts(evaluation.trained_model),
        "alternatives": alternatives(),
    }


def training_facts(model: TrainedModel) -> dict[str, Any] | None:
    """What the training of a model took: seconds, device, and money where it is known; None when nothing is."""
    training = model.training_job
    work = training.work
    seconds = None
    if work.started_at is not None and work.finished_at is not None:
        seconds = (work.finished_at.astimezone(UTC) - work.started_at.astimezone(UTC)).total_seconds()
    hours = None if seconds is None or model.remote_name else seconds / 3600
    amount, currency = training.cost_amount, training.cost_currency
    rate = machine_rate()
    if amount is None and hours is not None and rate is not None:
        amount, currency = Decimal(str(hours)) * rate.hourly(), rate.currency
    facts = {
        "seconds": seconds,
        "device": work.device or work.host or None,
        "device_hours": hours,
        "amount": float(amount) if amount is not None else None,
        "currency": currency or None,
    }
    return facts if any(value is not None for value in facts.values()) else None


def write_spec(evaluation: Evaluation, workdir: Path) -> Path:
    """``spec.json`` in the work folder."""
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / "spec.json"
    path.write_text(json.dumps(engine_spec(evaluation), ensure_ascii=False, indent=1), encoding="utf-8")
    return path
