"""What a training costs: a provider's bill, or the hours of one's own machine. Money is Decimal, with its currency."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Protocol

from finetune_engine.catalogue.ranges import Range

MILLION = Decimal(1_000_000)
SMALLEST = Decimal("0.000001")  # the last digit kept; pages round to cents


class Priced(Protocol):
    """What has a training price: ``currency`` and ``training_per_million`` tokens (None: unknown)."""

    @property
    def currency(self) -> str:
        """Three letters, such as USD."""

    @property
    def training_per_million(self) -> Decimal | None:
        """For a million trained tokens."""


class HasPrice(Protocol):
    """A base model that may have a price (``CatalogueEntry`` has one)."""

    @property
    def price(self) -> Priced | None:
        """None for a model that nobody sells, and for one whose price is unknown."""


@dataclass(frozen=True)
class Cost:
    """Money from ``low`` to ``high`` in one ``currency``."""

    currency: str
    low: Decimal
    expected: Decimal
    high: Decimal

    def as_dict(self) -> dict[str, Any]:
        """With amounts as text, which keeps every digit."""
        return {
            "currency": self.currency,
            "low": str(self.low),
            "expected": str(self.expected),
            "high": str(self.high),
        }


def provider_cost(entry: HasPrice, training_tokens: int | Range[int], passes: float) -> Cost | None:
    """What a provider asks for a training: its price for a million tokens x tokens in the file x passes.

    ``training_tokens`` are those of all training examples, read once. None when the model has no known training price.
    Formula: the maker bills "tokens in the training file x number of epochs" (OpenAI's fine-tuning guide, as the
    catalogue's price names it).
    """
    if entry.price is None or entry.price.training_per_million is None:
        return None
    counted = (
        Range(training_tokens, training_tokens, training_tokens)
        if isinstance(training_tokens, int)
        else training_tokens
    )
    rate = entry.price.training_per_million * Decimal(str(passes)) / MILLION
    return _cost(entry.price.currency, counted.map(lambda tokens: Decimal(tokens) * rate))


@dataclass(frozen=True)
class MachineRate:
    """What an hour of one's own machine costs, as the operator says; nothing is assumed.

    ``per_hour`` is the rent or the share of the purchase. ``watts`` and ``per_kilowatt_hour`` add electricity; both or
    neither.
    """

    currency: str
    per_hour: Decimal
    watts: Decimal | None = None
    per_kilowatt_hour: Decimal | None = None

    def hourly(self) -> Decimal:
        """Rent and electricity together."""
        if self.watts is None or self.per_kilowatt_hour is None:
            return self.per_hour
        return self.per_hour + self.watts / 1000 * self.per_kilowatt_hour


def machine_cost(rate: MachineRate | None, seconds: Range[float] | None, devices: int = 1) -> Cost | None:
    """Device hours x the hourly rate. None when the rate or the time is unknown."""
    if rate is None or seconds is None:
        return None
    hourly = rate.hourly() * devices
    return _cost(rate.currency, seconds.map(lambda value: Decimal(str(value)) / 3600 * hourly))


def _cost(currency: str, amounts: Range[Decimal]) -> Cost:
    exact = amounts.map(lambda amount: amount.quantize(SMALLEST, rounding=ROUND_HALF_UP))
    return Cost(currency, exact.low, exact.expected, exact.high)
