"""The parts of an evaluation's spec: small records, each of which reads itself from JSON and names the field at fault."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from finetune_engine.errors import Place, UserError

MOST_SHOTS = 32
JUDGED = 50
"""How many cases a judge sees when nobody says how many."""


@dataclass(frozen=True)
class PromptVariant:
    """How a base model is asked when prompting is tried instead of training: a ``system`` message in place of the
    case's own (None: as it is) and ``shots`` solved examples of the train split before the question."""

    system: str | None
    shots: int

    @classmethod
    def from_dict(cls, raw: Any, name: str = "models.prompt") -> PromptVariant:
        """Read ``{system, shots}``."""
        told = mapping(raw, name)
        shots = whole(told, "shots", name, least=0) or 0
        if shots > MOST_SHOTS:
            raise bad(f"{name}.shots", f"At most {MOST_SHOTS} examples can be shown before a question.")
        return cls(text(told, "system", name) or None, shots)


@dataclass(frozen=True)
class Endpoint:
    """A model behind an OpenAI-compatible address. ``key_variable`` names the environment variable that holds its key
    (None: it needs none); ``allowed_hosts`` are private hosts that the operator lets the engine reach."""

    base_url: str
    model: str
    key_variable: str | None
    allowed_hosts: tuple[str, ...]

    @classmethod
    def from_dict(cls, raw: Any, name: str = "models.endpoint") -> Endpoint:
        """Read ``{base_url, model, key_variable, allowed_hosts}``."""
        told = mapping(raw, name)
        base_url, model = text(told, "base_url", name), text(told, "model", name)
        if not model:
            raise bad(f"{name}.model", "An endpoint needs the name of the model that it serves.")
        try:
            address = urlsplit(base_url or "")
            is_usable = address.scheme in {"http", "https"} and address.hostname and not address.username
        except ValueError:
            is_usable = False
        if not base_url or not is_usable:
            raise bad(f"{name}.base_url", f"{base_url!r} is no address of an endpoint, such as https://host/v1.")
        return cls(base_url.rstrip("/"), model, text(told, "key_variable", name) or None, _hosts(told, name))

    @property
    def key(self) -> str | None:
        """The key in the environment; None when none is named or it is not set."""
        return os.environ.get(self.key_variable) or None if self.key_variable else None


@dataclass(frozen=True)
class RegressionCase:
    """A case that no later model may fail: ``messages`` end before the answer, ``expected`` is what must come."""

    id: str
    messages: tuple[Mapping[str, Any], ...]
    expected: str
    note: str

    @classmethod
    def from_dict(cls, raw: Any, name: str = "regressions") -> RegressionCase:
        """Read ``{id, messages, expected, note}``."""
        told = mapping(raw, name)
        messages, expected = told.get("messages"), told.get("expected")
        if not isinstance(messages, list) or not messages or not all(isinstance(turn, Mapping) for turn in messages):
            raise bad(f"{name}.messages", "A must-not-forget case needs the messages of its question.")
        if not isinstance(expected, str):
            raise bad(f"{name}.expected", "A must-not-forget case needs the answer that is expected.")
        return cls(str(told.get("id", "")), tuple(messages), expected, text(told, "note", name) or "")


@dataclass(frozen=True)
class SliceSettings:
    """The metadata columns by whose values the headline metric is told apart."""

    columns: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, raw: Any) -> SliceSettings:
        """Read ``{columns}``."""
        return cls(texts(mapping(raw, "slices"), "columns", "slices"))


@dataclass(frozen=True)
class FairnessSettings:
    """Metadata ``columns`` that hold groups of people, and ``lists`` of words to swap: two groups of words by name."""

    columns: tuple[str, ...] = ()
    lists: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, raw: Any) -> FairnessSettings:
        """Read ``{columns, lists: {name: [[..], [..]]}}``."""
        told = mapping(raw, "fairness")
        lists: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        for name, groups in mapping(told.get("lists"), "fairness.lists").items():
            is_pair = isinstance(groups, list) and len(groups) == 2 and all(isinstance(g, list) and g for g in groups)
            if not is_pair or not all(isinstance(word, str) and word.strip() for group in groups for word in group):
                raise bad("fairness.lists", f"The word list {name!r} needs two groups of words: [[..], [..]].")
            lists[str(name)] = (tuple(groups[0]), tuple(groups[1]))
        return cls(texts(told, "columns", "fairness"), lists)


@dataclass(frozen=True)
class Price:
    """What a million tokens cost. ``source`` and ``at`` say where the price was read, and when (ISO date)."""

    input_per_million: float
    output_per_million: float
    currency: str
    source: str
    at: str

    @classmethod
    def from_dict(cls, raw: Any, name: str) -> Price:
        """Read all five fields."""
        told = mapping(raw, name)
        amounts = [amount(told, part, name) for part in ("input_per_million", "output_per_million")]
        if None in amounts:
            raise bad(name, "A price needs input_per_million and output_per_million.")
        words = [text(told, part, name) or "" for part in ("currency", "source", "at")]
        return cls(float(amounts[0] or 0.0), float(amounts[1] or 0.0), words[0], words[1], words[2])


@dataclass(frozen=True)
class Alternative:
    """Another model that the same traffic could go to, with its price."""

    name: str
    price: Price

    @classmethod
    def from_dict(cls, raw: Any) -> Alternative:
        """Read ``{name, ...price}``."""
        name = text(mapping(raw, "cost.alternatives"), "name", "cost.alternatives")
        if not name:
            raise bad("cost.alternatives.name", "An alternative needs a name.")
        return cls(name, Price.from_dict(raw, "cost.alternatives"))


@dataclass(frozen=True)
class DeviceHour:
    """What an hour of the machine costs."""

    amount: float
    currency: str

    @classmethod
    def from_dict(cls, raw: Any) -> DeviceHour:
        """Read ``{amount, currency}``."""
        told = mapping(raw, "cost.device_hour")
        return cls(amount(told, "amount", "cost.device_hour") or 0.0, text(told, "currency", "cost.device_hour") or "")


@dataclass(frozen=True)
class TrainingCost:
    """What the training of the subject took; each part None where nobody knows it."""

    seconds: float | None
    device: str | None
    device_hours: float | None
    amount: float | None
    currency: str | None

    @classmethod
    def from_dict(cls, raw: Any) -> TrainingCost:
        """Read the five fields, each of which may be absent."""
        told, name = mapping(raw, "cost.training"), "cost.training"
        return cls(
            amount(told, "seconds", name),
            text(told, "device", name),
            amount(told, "device_hours", name),
            amount(told, "amount", name),
            text(told, "currency", name),
        )


@dataclass(frozen=True)
class CostSettings:
    """Prices by model key, the machine's hourly rate and its power draw in watts, and what else could be used."""

    prices: Mapping[str, Price] = field(default_factory=dict)
    device_hour: DeviceHour | None = None
    watts: float | None = None
    training: TrainingCost | None = None
    alternatives: tuple[Alternative, ...] = ()

    @classmethod
    def from_dict(cls, raw: Any) -> CostSettings:
        """Read the ``cost`` part; all of it may be absent."""
        told = mapping(raw, "cost")
        prices = mapping(told.get("prices"), "cost.prices")
        hour, training = told.get("device_hour"), told.get("training")
        return cls(
            prices={str(key): Price.from_dict(price, f"cost.prices.{key}") for key, price in prices.items()},
            device_hour=None if hour is None else DeviceHour.from_dict(hour),
            watts=amount(told, "watts", "cost"),
            training=None if training is None else TrainingCost.from_dict(training),
            alternatives=tuple(Alternative.from_dict(one) for one in items(told, "alternatives", "cost")),
        )


@dataclass(frozen=True)
class JudgeSettings:
    """A model that judges the answers of two others: where it is, what it looks for, and how many cases it sees."""

    endpoint: Endpoint
    rubric: str
    sample: int

    @classmethod
    def from_dict(cls, raw: Any) -> JudgeSettings:
        """Read ``{base_url, model, key_variable, allowed_hosts, rubric, sample}``."""
        told = mapping(raw, "judge")
        sample = whole(told, "sample", "judge") or JUDGED
        return cls(Endpoint.from_dict(told, "judge"), text(told, "rubric", "judge") or "", sample)


def bad(name: str, sentence: str, expected: str | None = None) -> UserError:
    """The mistake in the field ``name``."""
    return UserError("bad_spec", sentence, name, place=Place(expected=expected), reason="bad_config")


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """A JSON object; None counts as an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise bad(name, f"{name} must be a JSON object.")
    return value


def items(raw: Mapping[str, Any], part: str, name: str) -> list[Any]:
    """The list under ``part``; None counts as an empty one."""
    value = raw.get(part)
    if value is None:
        return []
    if not isinstance(value, list):
        raise bad(_path(name, part), f"{_path(name, part)} must be a list.")
    return value


def texts(raw: Mapping[str, Any], part: str, name: str) -> tuple[str, ...]:
    """The list of texts under ``part``."""
    found = items(raw, part, name)
    if not all(isinstance(item, str) and item for item in found):
        raise bad(_path(name, part), f"{_path(name, part)} must be a list of texts.")
    return tuple(dict.fromkeys(found))


def text(raw: Mapping[str, Any], part: str, name: str) -> str | None:
    """The text under ``part``, or None."""
    value = raw.get(part)
    if value is not None and not isinstance(value, str):
        raise bad(_path(name, part), f"{_path(name, part)} must be text.")
    return value


def amount(raw: Mapping[str, Any], part: str, name: str) -> float | None:
    """The number of at least 0 under ``part``, or None."""
    value = raw.get(part)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise bad(_path(name, part), f"{_path(name, part)} must be a number of at least 0.")
    return float(value)


def whole(raw: Mapping[str, Any], part: str, name: str, least: int = 1) -> int | None:
    """The whole number of at least ``least`` under ``part``, or None."""
    value = raw.get(part)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise bad(_path(name, part), f"{_path(name, part)} must be a whole number of at least {least}.")
    return value


def _hosts(raw: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return texts(raw, "allowed_hosts", name)


def _path(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part
