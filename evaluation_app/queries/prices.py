"""What the catalogue knows of prices: of models behind addresses, and of others that the same traffic could go to."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from finetune_engine.catalogue.catalogue import REMOTE, CatalogueEntry, Price
from jobs_app.choices import Provider
from jobs_app.models import BaseModel
from jobs_app.queries import catalogue
from jobs_app.queries.catalogue import provider_address, row_entry
from jobs_app.queries.providers import is_openai_address

MOST_ALTERNATIVES = 12


def price_at(base_url: str, model: str) -> Price | None:
    """The price of ``model`` at this address; None when nobody here knows it."""
    for entry in _remote_entries():
        same_place = is_openai_address(base_url) if entry.provider == "openai" else provider_address(entry) == base_url
        if entry.hub == model and same_place:
            return entry.price
    return None


def alternatives() -> list[dict[str, Any]]:
    """Models at providers that can still be asked and whose price is known, as an evaluation's spec has them."""
    today = timezone.localdate()
    entries = [e for e in _remote_entries() if e.shuts_down_on is None or today < e.shuts_down_on]
    priced = [{"name": entry.name} | told for entry in entries if (told := price_for_spec(entry.price)) is not None]
    return priced[:MOST_ALTERNATIVES]


def price_for_spec(price: Price | None) -> dict[str, Any] | None:
    """A price as the engine reads it; None without one for asking and one for answering."""
    if price is None or price.input_per_million is None or price.output_per_million is None:
        return None
    return {
        "input_per_million": float(price.input_per_million),
        "output_per_million": float(price.output_per_million),
        "currency": price.currency,
        "source": price.url,
        "at": price.date,
    }


def _remote_entries() -> list[CatalogueEntry]:
    """The operator's own first: they replace the catalogue's with the same key."""
    rows = BaseModel.objects.filter(is_enabled=True, provider__in=[Provider.ENDPOINT, Provider.OPENAI]).order_by("name")
    own = [row_entry(row) for row in rows]
    keys = {entry.key for entry in own}
    return own + [entry for entry in catalogue().values() if entry.provider in REMOTE and entry.key not in keys]
