"""What the figures of a report rest on: uncertain inputs that people can edit, and how to reckon with them.

Everything uncertain is a ``Spread`` of low, expected and high. Sums and products of spreads are taken by interval
arithmetic (Moore 1966): the ends of a result are the least and the greatest that any ends of its inputs give.
Money is Decimal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import Any, Literal

from finetune_engine.errors import UserError

Today = Literal["manual", "model"]
ShareSource = Literal["typed", "accuracy", "human"]


@dataclass(frozen=True)
class Spread:
    """A figure that is not known exactly, ``low <= expected <= high``. Raises ValueError when they are not in order."""

    low: Decimal
    expected: Decimal
    high: Decimal

    def __post_init__(self) -> None:
        if not (self.low.is_finite() and self.high.is_finite() and self.low <= self.expected <= self.high):
            raise ValueError(f"{self.low}, {self.expected}, {self.high} are not in order")

    @classmethod
    def of(cls, low: Any, expected: Any = None, high: Any = None) -> Spread:
        """From numbers or texts; one figure alone is known exactly."""
        ends = [low, low if expected is None else expected, low if high is None else high]
        return cls(*(Decimal(str(end)) for end in ends))

    def __add__(self, other: Spread) -> Spread:
        return Spread(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def __neg__(self) -> Spread:
        return Spread(-self.high, -self.expected, -self.low)

    def __sub__(self, other: Spread) -> Spread:
        return self + -other

    def __mul__(self, other: Spread) -> Spread:
        ends = [mine * yours for mine, yours in product((self.low, self.high), (other.low, other.high))]
        return Spread(min(ends), self.expected * other.expected, max(ends))

    def __truediv__(self, other: Spread) -> Spread:
        """Raises ZeroDivisionError when ``other`` may be 0."""
        if other.low <= 0 <= other.high:
            raise ZeroDivisionError("the divisor may be zero")
        ends = [mine / yours for mine, yours in product((self.low, self.high), (other.low, other.high))]
        return Spread(min(ends), self.expected / other.expected, max(ends))


LARGEST = 10**15
"""The largest figure that is taken: beyond all money there is, and within what is reckoned to the cent."""
ZERO, ONE = Spread.of(0), Spread.of(1)


@dataclass(frozen=True)
class Assumptions:
    """What the figures rest on, every one of them editable. Money is in ``currency``.

    ``today`` says what does the work now: people alone (``manual``) or another model (``model``, then ``baseline`` is
    its key in the report). ``baseline`` None is the model that the evaluation compares with. ``share_unchanged`` is
    the share of answers that people use as they are; None takes it from the report (``share_source``: the share of right
    answers, or what reviewers left as it was). A cost of None is taken from the report, and is not known if that has none.
    """

    today: Today = "manual"
    baseline: str | None = None
    currency: str = "EUR"
    monthly_volume: Spread | None = None  # cases a month
    hourly_rate: Spread | None = None  # of the person who does the work
    minutes_today: Spread | None = None  # a case takes a person without any model
    minutes_saved: Spread | None = None  # per case whose answer is used unchanged
    share_source: ShareSource = "accuracy"
    share_unchanged: Spread | None = None  # 0..1
    running_cost_per_answer: Spread | None = None
    running_cost_per_month: Spread = ZERO  # a machine, a licence: whatever does not depend on the volume
    baseline_cost_per_answer: Spread | None = None
    training_cost: Spread | None = None
    data_preparation_cost: Spread = ZERO
    horizon_months: int = 12

    def as_dict(self) -> dict[str, Any]:
        """JSON values; Decimals as text, so that no cent is lost."""
        return {
            name: {end: str(amount) for end, amount in asdict(value).items()} if isinstance(value, Spread) else value
            for name, value in ((field.name, getattr(self, field.name)) for field in fields(self))
        }


def assumptions_of(raw: Mapping[str, Any]) -> Assumptions:
    """Assumptions from what ``as_dict`` gave; a spread may also be one number. Fields that are not there keep their
    default. Raises UserError ``bad_assumption`` naming the field."""
    known = {field.name for field in fields(Assumptions)}
    values: dict[str, Any] = {}
    for name, value in raw.items():
        if name not in known:
            raise UserError("bad_assumption", f"There is no assumption named {name!r}.", name)
        values[name] = _spread_of(name, value) if name in SPREADS and value is not None else value
    values = {name: value for name, value in values.items() if value is not None or name in _MAY_BE_NONE}
    _check(values)
    return Assumptions(**values)


SPREADS = frozenset(
    {
        "monthly_volume",
        "hourly_rate",
        "minutes_today",
        "minutes_saved",
        "share_unchanged",
        "running_cost_per_answer",
        "running_cost_per_month",
        "baseline_cost_per_answer",
        "training_cost",
        "data_preparation_cost",
    }
)
_MAY_BE_NONE = SPREADS - {"running_cost_per_month", "data_preparation_cost"} | {"baseline"}


def _spread_of(name: str, value: Any) -> Spread:
    ends = value if isinstance(value, Mapping) else {"expected": value}
    middle = ends.get("expected")
    low, high = (middle if ends.get(end) is None else ends[end] for end in ("low", "high"))
    try:
        spread = Spread.of(low, middle, high)
    except (InvalidOperation, ValueError) as problem:
        sentence = f"{name} needs numbers with low <= expected <= high."
        raise UserError("bad_assumption", sentence, name) from problem
    if spread.high > LARGEST:
        raise UserError("bad_assumption", f"{name} is too large: at most {LARGEST:,}.", name)
    if spread.low < 0 or (name == "share_unchanged" and spread.high > 1):
        raise UserError("bad_assumption", f"{name} is out of range: it cannot be below 0 or a share above 1.", name)
    return spread


def _check(values: Mapping[str, Any]) -> None:
    today, saved = values.get("minutes_today"), values.get("minutes_saved")
    if today is not None and saved is not None and saved.expected > today.expected:
        sentence = "minutes_saved cannot be more than minutes_today: a case cannot save more time than it takes."
        raise UserError("bad_assumption", sentence, "minutes_saved")
    if values.get("today", "manual") not in ("manual", "model"):
        raise UserError("bad_assumption", "today is manual or model.", "today")
    if values.get("share_source", "accuracy") not in ("typed", "accuracy", "human"):
        raise UserError("bad_assumption", "share_source is typed, accuracy or human.", "share_source")
    currency = values.get("currency", "EUR")
    if not (isinstance(currency, str) and len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise UserError("bad_assumption", "currency is a code of three capital letters, such as EUR.", "currency")
    horizon = values.get("horizon_months", 12)
    if isinstance(horizon, bool) or not isinstance(horizon, int) or not 1 <= horizon <= 120:
        raise UserError("bad_assumption", "horizon_months is a whole number from 1 to 120.", "horizon_months")
