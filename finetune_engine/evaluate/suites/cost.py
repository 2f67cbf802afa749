"""Cost: tokens and money of an answer by model, what the training took, what the same traffic costs elsewhere.

A price counts only with its source and its date; without them the money is None with a reason, never a guess. A model on
one's own machine costs the machine's time, where its hourly rate and the seconds of an answer are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from finetune_engine.evaluate.asking.asker import Answer, Asker
from finetune_engine.evaluate.settings import CostSettings, Price
from finetune_engine.evaluate.spec import ModelSpec
from finetune_engine.evaluate.suites.suite import Bench, SuiteResult

PER_MILLION = 1_000_000
SECONDS_PER_HOUR = 3_600
WORTH_SAYING = 1.1
"""A model that costs this many times what it is compared with is warned about."""


@dataclass(frozen=True)
class Tokens:
    """Mean tokens of one answer; None where the model does not count them. ``n`` answers were counted."""

    prompt: float | None
    completion: float | None
    n: int

    @property
    def total(self) -> float | None:
        """Both together."""
        return None if self.prompt is None or self.completion is None else self.prompt + self.completion


@dataclass(frozen=True)
class Money:
    """What one answer costs. ``amount`` None has a ``reason``; ``basis`` says how it was reckoned."""

    amount: float | None
    currency: str | None
    basis: str | None
    reason: str | None
    source: str | None = None
    at: str | None = None


class Cost:
    """The suite. It asks nothing of its own: it counts the tokens of the answers that are there."""

    name = "cost"

    def questions(self, bench: Bench) -> int:
        """None: the answers are there already."""
        return 0

    def observe(self, bench: Bench, asker: Asker) -> Tokens:
        """The mean tokens of one model's answers to the cases."""
        return mean_tokens(bench.answers.get(asker.spec.key, ()))

    def conclude(self, bench: Bench, observed: Mapping[str, Any]) -> SuiteResult:
        """Prices put to the tokens, and the subject's cost beside that of the model it is compared with."""
        spec, settings = bench.spec, bench.spec.cost
        money = {
            model.key: money_of(model, observed[model.key], settings, bench.seconds_per_answer.get(model.key))
            for model in spec.models
            if model.key in observed
        }
        by_model = {
            model.key: _line(model, observed[model.key], money[model.key])
            for model in spec.models
            if model.key in money
        }
        subject = observed.get(spec.subject)
        section = {
            "by_model": by_model,
            "training": training_of(settings),
            "alternatives": [_alternative(one.name, one.price, subject) for one in settings.alternatives],
        }
        score, reason = score_of(spec.subject, spec.against, money, observed)
        return SuiteResult(section, score, reason, _findings(bench, section, money))


def mean_tokens(answers: Sequence[Answer]) -> Tokens:
    """Means over the answers whose tokens are counted; None where none is."""
    prompts = [answer.prompt_tokens for answer in answers if answer.prompt_tokens is not None]
    completions = [answer.completion_tokens for answer in answers if answer.completion_tokens is not None]
    return Tokens(_mean(prompts), _mean(completions), min(len(prompts), len(completions)))


def priced(tokens: Tokens | None, price: Price) -> float | None:
    """``(prompt tokens x input price + completion tokens x output price) / 1,000,000``; None without tokens."""
    if tokens is None or tokens.prompt is None or tokens.completion is None:
        return None
    amount = tokens.prompt * price.input_per_million + tokens.completion * price.output_per_million
    return amount / PER_MILLION


def money_of(model: ModelSpec, tokens: Tokens, settings: CostSettings, seconds: float | None) -> Money:
    """What one answer of ``model`` costs: by its price, or by the machine's time (``seconds`` an answer)."""
    price = settings.prices.get(model.key)
    if price is not None:
        return _by_price(tokens, price)
    if model.kind == "endpoint":
        return Money(None, None, None, "No price with source and date is recorded for this model.")
    hour = settings.device_hour
    if hour is None:
        return Money(None, None, None, "It runs on your own machine, and no price of a machine hour was given.")
    if seconds is None:
        reason = "The seconds of an answer are not known: run the suite Speed as well."
        return Money(None, hour.currency or None, None, reason)
    amount = seconds * hour.amount / SECONDS_PER_HOUR
    basis = f"{seconds:.3g} s of the machine at {hour.amount:g} {hour.currency} an hour, one answer at a time"
    return Money(amount, hour.currency or None, basis, None)


def training_of(settings: CostSettings) -> dict[str, Any] | None:
    """What the training took: ``amount = device hours x rate`` where it was not given, ``energy_kwh = watts x device
    hours / 1000``. None when nothing is known of it."""
    told = settings.training
    if told is None:
        return None
    hours = told.device_hours
    if hours is None and told.seconds is not None:
        hours = told.seconds / SECONDS_PER_HOUR
    amount, currency, basis = told.amount, told.currency, "as recorded"
    if amount is None and hours is not None and settings.device_hour is not None:
        amount, currency = hours * settings.device_hour.amount, settings.device_hour.currency
        basis = f"{hours:.3g} device hours at {settings.device_hour.amount:g} {currency}"
    return {
        **asdict(told),
        "device_hours": hours,
        "amount": amount,
        "currency": currency or None,
        "energy_kwh": None if hours is None or settings.watts is None else settings.watts * hours / 1_000,
        "basis": basis if amount is not None else None,
        "reason": None if amount is not None else "No price of a device hour was given.",
    }


def score_of(
    subject: str, against: str | None, money: Mapping[str, Money], tokens: Mapping[str, Tokens]
) -> tuple[float | None, str | None]:
    """``min(1, cost of the other / cost of the subject)``: 1 when the subject costs no more, 0.5 when twice as much.

    In money where both are known in one currency, otherwise in tokens. None with a reason when neither is.
    """
    if against is None or subject not in money or against not in money:
        return None, "There is no other model to compare the cost with."
    mine, other = money[subject], money[against]
    pair = (mine.amount, other.amount) if mine.currency == other.currency else (None, None)
    if None in pair:
        pair = (tokens[subject].total, tokens[against].total)
    own, theirs = pair
    if own is None or theirs is None:
        return None, "Neither the price nor the tokens of both models are known."
    return (1.0 if own <= theirs else theirs / own), None


def _by_price(tokens: Tokens, price: Price) -> Money:
    if not price.source or not price.at:
        return Money(None, price.currency or None, None, "The price has no source or no date, so it is not used.")
    amount = priced(tokens, price)
    if amount is None:
        return Money(None, price.currency, None, "The model does not say how many tokens it used.")
    basis = f"{price.input_per_million:g} in and {price.output_per_million:g} out {price.currency} per million tokens"
    return Money(amount, price.currency, basis, None, price.source, price.at)


def _line(model: ModelSpec, tokens: Tokens, money: Money) -> dict[str, Any]:
    return {
        "name": model.name,
        "kind": model.kind,
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "n": tokens.n,
        "money_per_answer": money.amount,
        "currency": money.currency,
        "basis": money.basis,
        "reason": money.reason,
        "source": money.source,
        "at": money.at,
    }


def _alternative(name: str, price: Price, tokens: Tokens | None) -> dict[str, Any]:
    money = Money(None, None, None, "The subject's tokens are not known.")
    if tokens is not None:
        money = _by_price(tokens, price)
    return {
        "name": name,
        "money_per_answer": money.amount,
        "currency": price.currency,
        "basis": money.basis,
        "reason": money.reason,
        "source": price.source,
        "at": price.at,
    }


def _findings(bench: Bench, section: Mapping[str, Any], money: Mapping[str, Money]) -> list[dict[str, str]]:
    spec = bench.spec
    mine = money.get(spec.subject)
    if mine is None:
        return []
    name = spec.model(spec.subject).name
    if mine.amount is None:
        return [{"tone": "warn", "text": f"What an answer of {name} costs is not known. {mine.reason}"}]
    found = [
        {"tone": "ok", "text": f"An answer of {name} costs {_amount(mine.amount)} {mine.currency or ''}".rstrip() + "."}
    ]
    other = money.get(spec.against or "")
    if other is not None and other.amount is not None and other.currency == mine.currency:
        found = _compared(found, name, mine.amount, spec.model(spec.against or "").name, other.amount)
    cheapest = _cheapest(section["alternatives"], mine.currency)
    if cheapest is not None:
        other_cost = f"{_amount(cheapest['money_per_answer'])} {cheapest['currency']}"
        found.append({"tone": "ok", "text": f"The same answer from {cheapest['name']} would cost {other_cost}."})
    return found


def _compared(
    found: list[dict[str, str]], name: str, mine: float, other_name: str, other: float
) -> list[dict[str, str]]:
    if other > 0 and mine / other >= WORTH_SAYING:
        text = f"An answer of {name} costs {mine / other:.1f} times that of {other_name}."
        return [{"tone": "warn", "text": text}, *found]
    return found


def _cheapest(alternatives: Sequence[Mapping[str, Any]], currency: str | None) -> Mapping[str, Any] | None:
    known = [one for one in alternatives if one["money_per_answer"] is not None and one["currency"] == currency]
    return min(known, key=lambda one: float(one["money_per_answer"]), default=None)


def _amount(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def _mean(values: Sequence[int]) -> float | None:
    return sum(values) / len(values) if values else None
