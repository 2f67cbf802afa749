"""What answers took: a provider's price by tokens for deployments that ask one, the machine's hours for all others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from evaluation_app.queries.prices import price_at
from finetune_engine.catalogue.catalogue import Price
from jobs_app.queries.connections import remote_model
from jobs_app.queries.estimates import machine_rate
from jobs_app.queries.providers import OPENAI_URL
from serving_app.models import Deployment


@dataclass(frozen=True)
class Cost:
    """An amount of money; None where its price is not known. ``is_remote``: a provider took it."""

    amount: Decimal | None
    currency: str
    is_remote: bool


class Prices:
    """The prices of some deployments, by their ids as text. What belongs to none of them ran on this machine."""

    def __init__(self, references: Iterable[str]) -> None:
        self._rate = machine_rate()
        rows = Deployment.objects.filter(pk__in={reference for reference in references if reference})
        self._base: dict[str, tuple[bool, Price | None]] = {}
        self._known = {row.pk: self._price(row) for row in rows.select_related("trained_model__connection")}

    def cost(self, reference: str, *, prompt_tokens: int, completion_tokens: int, seconds: float) -> Cost:
        """Of what one deployment read, wrote and took."""
        is_remote, price = self._known.get(reference, (False, None))
        if not is_remote:
            if self._rate is None:
                return Cost(None, "", False)
            return Cost(Decimal(str(seconds)) / 3600 * self._rate.hourly(), self._rate.currency, False)
        if price is None or price.input_per_million is None or price.output_per_million is None:
            return Cost(None, "", True)
        amount = prompt_tokens * price.input_per_million + completion_tokens * price.output_per_million
        return Cost(amount / 1_000_000, price.currency, True)

    def _price(self, row: Deployment) -> tuple[bool, Price | None]:
        trained = row.trained_model
        if trained is not None:
            where = trained.connection.base_url if trained.connection is not None else OPENAI_URL
            return bool(trained.remote_name), price_at(where, trained.remote_name) if trained.remote_name else None
        if row.base_model_key not in self._base:
            model = remote_model(row.base_model_key)
            self._base[row.base_model_key] = (model is not None, model.price if model is not None else None)
        return self._base[row.base_model_key]
