"""Operations on the base models that the operator adds to the catalogue's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction

from accounts_app.operations import record
from finetune_engine.catalogue.folder import inspect_model_folder
from finetune_engine.errors import UserError
from jobs_app.choices import Provider
from jobs_app.models import BaseModel

KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def add_base_model(
    *, key: str, path_or_hub: str, name: str = "", base_url: str = "", facts: Mapping[str, Any] | None = None
) -> BaseModel:
    """Make a local folder, a hub model (``owner/name[@revision]``) or, with ``base_url``, a model at an
    OpenAI-compatible endpoint choosable in every project.

    A folder is checked now (safetensors and a tokenizer, no code) and used where it is; a hub model is downloaded by
    the worker that first needs it; an endpoint is asked by projects that have a key for it. ``facts`` are what the
    operator knows, in the catalogue's words (context_length, parameters, licence, price). The same key again replaces the
    entry. Raises UserError.
    """
    if not KEY.fullmatch(key):
        raise UserError(
            "bad_key",
            f"{key!r} cannot be a key: use up to 80 small letters, digits, dots, dashes and underscores.",
            field="key",
        )
    if base_url:
        values = _endpoint_model(path_or_hub, base_url)
    else:
        values = _local_model(path_or_hub) if _is_path(path_or_hub) else _hub_model(path_or_hub)
    values |= {"facts": checked_facts(facts or {}), "is_enabled": True}
    with transaction.atomic():
        model, _ = BaseModel.objects.update_or_create(
            key=key, defaults={"base_url": "", **values, "name": name.strip()[:120] or values["name"]}
        )
        record(actor=None, project=None, act="base_model.add", subject=f"base model {key}")
    return model


def _endpoint_model(model: str, base_url: str) -> dict[str, Any]:
    """A model by its name at an endpoint. Whether the address may be reached is asked each time it is used."""
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise UserError(
            "bad_base_url",
            f"{base_url!r} is no address of an endpoint. Give one such as https://models.example.org/v1.",
            field="base_url",
        )
    return {
        "name": model.rsplit("/", 1)[-1],
        "provider": Provider.ENDPOINT,
        "location": model,
        "revision": "",
        "base_url": base_url.rstrip("/"),
        "report": {},
    }


def checked_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What an operator says of a model, without what was left out. Raises UserError for a number below 1 or a price that
    is none."""
    kept = {name: value for name, value in facts.items() if value not in (None, "", {})}
    for name in ("context_length", "parameters"):
        if name in kept and (not isinstance(kept[name], int) or kept[name] < 1):
            raise UserError("bad_fact", f"{name} must be a whole number from 1.", field=name)
    if price := kept.get("price"):
        kept["price"] = {name: _checked_price(name, value) for name, value in price.items()}
    return kept


def _checked_price(name: str, value: Any) -> str:
    if not name.endswith("_per_million"):
        return str(value)
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise UserError("bad_fact", f"{name} must be a number from 0.", field=name)
    return str(amount)


def _is_path(text: str) -> bool:
    return Path(text).is_dir() or text.startswith(("/", ".", "~"))


def _local_model(text: str) -> dict[str, Any]:
    folder = Path(text).expanduser().resolve()
    report = inspect_model_folder(folder)
    facts = {key: value for key, value in vars(report).items() if key not in {"path", "files"}}
    return {"name": folder.name, "provider": Provider.LOCAL, "location": str(folder), "revision": "", "report": facts}


def _hub_model(text: str) -> dict[str, Any]:
    name, _, revision = text.partition("@")
    if not HUB_NAME.fullmatch(name):
        raise UserError(
            "model_missing",
            f"{text!r} is neither a folder on this machine nor a hub name. Give the path of a model folder, or a "
            "name like owner/model or owner/model@revision.",
            field="base_model",
        )
    return {
        "name": name.rsplit("/", 1)[1],
        "provider": Provider.HUB,
        "location": name,
        "revision": revision,
        "report": {},
    }
