"""What a model is worth: the figures that a manager asks for, each with its low and its high end.

Each formula names every input once, so that its ends are exact and not merely safe (see ``assumptions.Spread``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

from finetune_engine.evaluate.worth.assumptions import ONE, ZERO, Assumptions, Spread
from finetune_engine.evaluate.worth.reading import (
    against_key,
    is_higher_better,
    mean_seconds,
    model_of,
    paired_interval,
    score_of,
    subject_key,
    value_of,
)

MINUTES = Spread.of(60)
MONEY_PLACES = Decimal("0.01")
_F1_BASIS = {
    "macro_f1": "plain mean over the classes, unreadable answers a class of their own",
    "f1": "words in common",
}
_RIGHT_OR_WRONG = ("accuracy", "quasi_exact_match", "exact_match")


@dataclass(frozen=True)
class Figure:
    """One figure of the report. None with a ``reason`` where it cannot be said. ``unit`` is ``share``, ``money`` or
    ``months``; ``low <= expected <= high`` as numbers. ``basis`` says where its inputs come from."""

    low: float | None
    expected: float | None
    high: float | None
    unit: str
    higher_is_better: bool
    reason: str | None = None
    basis: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Kpis:
    """The figures of the report. ``domain_performance`` has ``precision``, ``recall`` and ``f1``."""

    accuracy_improvement: Figure
    speed_improvement: Figure
    cost_reduction: Figure
    domain_performance: dict[str, Figure]
    training_cost: Figure
    one_off_cost: Figure
    share_unchanged: Figure
    cost_per_answer: Figure
    monthly_savings: Figure
    payback_months: Figure
    net_over_horizon: Figure
    return_on_investment: Figure
    currency: str
    horizon_months: int

    def as_dict(self) -> dict[str, Any]:
        """JSON values, nested as the fields are."""
        return asdict(self)


def kpis(report: Mapping[str, Any], assumptions: Assumptions, human: Mapping[str, Any] | None = None) -> Kpis:
    """All figures of ``report`` (see evaluate/report.py) under ``assumptions``.

    ``human`` is what reviewers found; its ``unchanged {value, ci_low, ci_high, n}`` is the share of answers that they
    would use as they are (None or no such key: nobody looked).
    """
    sides = _Sides.of(report, assumptions)
    share, share_basis = _share_unchanged(sides, assumptions, human)
    running, running_basis = _running_cost(sides, assumptions)
    before, _before_basis = _baseline_cost(sides, assumptions)
    training, training_basis = _training_cost(report, assumptions)
    one_off = None if training is None else training + assumptions.data_preparation_cost
    share_before, why_before = _share_before(sides, assumptions)
    savings, why_not = monthly_savings(assumptions, share, running, before, share_before)
    if share_before is None:
        why_not = why_before
    no_training = "What the training cost is not known: type it among the assumptions."
    basis = f"{share_basis}; {running_basis}{why_before}"
    return Kpis(
        accuracy_improvement=accuracy_improvement(report, sides.baseline_key),
        speed_improvement=speed_improvement(sides.subject_speed, sides.baseline_speed),
        cost_reduction=cost_reduction(assumptions, share, running, before),
        domain_performance=domain_performance(report, sides.subject_key),
        training_cost=_money(training, False, no_training, training_basis),
        one_off_cost=_money(one_off, False, no_training, f"{training_basis}; the cost of preparing the data"),
        share_unchanged=_figure(share, "share", True, share_basis if share is None else "", share_basis),
        cost_per_answer=_figure(running, "money", False, running_basis if running is None else "", running_basis),
        monthly_savings=_money(savings, True, why_not, basis),
        payback_months=payback_months(one_off, savings, _why_unknown(savings, no_training)),
        net_over_horizon=_net(one_off, savings, assumptions.horizon_months, _why_unknown(savings, no_training)),
        return_on_investment=_return(one_off, savings, assumptions.horizon_months, _why_unknown(savings, no_training)),
        currency=assumptions.currency,
        horizon_months=assumptions.horizon_months,
    )


def accuracy_improvement(report: Mapping[str, Any], baseline_key: str | None) -> Figure:
    """``(subject - baseline) / baseline`` of the headline metric, on the same cases.

    The ends are those of the paired interval of the difference, over the baseline's value as it was measured; without
    a paired comparison with that baseline there are no ends. None with a reason where the baseline's value is 0.
    """
    headline = str(report.get("headline") or "")
    subject = value_of(report, subject_key(report), headline)
    baseline = value_of(report, baseline_key, headline)
    if subject is None or baseline is None:
        return _none("share", True, "There is no baseline with this figure to compare with.")
    if baseline == 0:
        return _none("share", True, "The baseline scores 0, and nothing can be said in relation to 0.")
    if not is_higher_better(report, headline):
        return _none("share", True, f"{headline} is better when lower; choose a headline that is better when higher.")
    gain = (subject - baseline) / baseline
    paired = paired_interval(report, headline, baseline_key)
    low, high = (None, None) if paired is None else (paired[0] / baseline, paired[1] / baseline)
    return Figure(low, gain, high, "share", True, basis=f"{headline}, paired on the same cases")


def speed_improvement(subject: float | None, baseline: float | None) -> Figure:
    """``1 - t_subject / t_baseline`` of the mean seconds of an answer: the share of the waiting that falls away.

    Negative when the subject is slower. It has no ends: seconds of another day and machine may differ by any amount. None
    with a reason where either was not timed or the baseline took 0 seconds.
    """
    if subject is None or baseline is None:
        return _none("share", True, "The speed of both was not measured: run the suite Speed on both models.")
    if baseline == 0:
        return _none("share", True, "The baseline took no time at all, and nothing can be said in relation to 0.")
    gain = 1 - subject / baseline
    return Figure(None, gain, None, "share", True, basis="mean seconds of one answer, one caller at a time")


def domain_performance(report: Mapping[str, Any], key: str | None) -> dict[str, Figure]:
    """Precision, recall and F1 of the model on the expert's own task.

    Classification: plain means over the classes (macro), F1 with its interval as scored. Elsewhere F1 is the overlap
    of words, and precision and recall apart are not measured.
    """
    model = model_of(report, key)
    classes = list(model.get("per_class") or ())
    metric = "macro_f1" if classes else "f1"
    score = score_of(report, key, metric)
    f1 = _none("share", True, "It was not measured.")
    if score is not None and score.get("value") is not None:
        f1 = Figure(
            score.get("ci_low"),
            score["value"],
            score.get("ci_high"),
            "share",
            True,
            basis=_F1_BASIS.get(metric, metric),
        )
    if not classes:
        apart = _none("share", True, "Only where cases have labels; elsewhere F1 alone is measured.")
        return {"precision": apart, "recall": apart, "f1": f1}
    means = {name: sum(float(row[name]) for row in classes) / len(classes) for name in ("precision", "recall")}
    basis = f"plain mean over {len(classes)} classes"
    return {name: Figure(None, mean, None, "share", True, basis=basis) for name, mean in means.items()} | {"f1": f1}


def monthly_savings(
    given: Assumptions,
    share: Spread | None,
    running: Spread | None,
    before: Spread | None,
    share_before: Spread | None,
) -> tuple[Spread | None, str]:
    """``V x (r/60 x m x (u - u0) + b - c) - F`` a month, or None with the reason.

    V cases a month, r money per hour, m minutes saved per case used unchanged, u the share used unchanged, u0 that of
    the model in use today (0 where people do it alone), b and c money per answer today and with this model, F what the
    model costs each month whatever the volume.
    """
    volume, rate, saved = given.monthly_volume, given.hourly_rate, given.minutes_saved
    relief = before if given.today == "model" else ZERO
    names = {
        "the cases per month": volume,
        "the hourly rate": rate,
        "the minutes saved per case": saved,
        "the share of answers used unchanged": share,
        "the running cost per answer": running,
        "what an answer costs today": relief,
        "the share of today's answers used unchanged": share_before,
    }
    if volume is None or rate is None or saved is None or share is None or running is None or relief is None:
        missing = ", ".join(name for name, value in names.items() if value is None)
        return None, f"Not known: {missing}. Type it among the assumptions."
    if share_before is None:
        return None, "Not known: the share of today's answers used unchanged."
    per_case = rate * saved * (share - share_before) / MINUTES + relief - running
    return volume * per_case - given.running_cost_per_month, ""


def cost_reduction(given: Assumptions, share: Spread | None, running: Spread | None, before: Spread | None) -> Figure:
    """The share of today's cost of a case that falls away; None with a reason where today's cost is 0 or not known.

    People alone: ``(m x u - 60 c / r) / t``, which is ``1 - (c + r/60 x (t - m x u)) / (r/60 x t)``. Another model:
    ``1 - c / b`` (letters as in ``monthly_savings``; t minutes that a case takes a person today).
    """
    if running is None:
        return _none("share", True, "What an answer of this model costs is not known: type it among the assumptions.")
    if given.today == "model":
        if before is None:
            return _none("share", True, "What an answer costs today is not known: type it among the assumptions.")
        if before.low <= 0:
            return _none("share", True, "An answer costs nothing today, and nothing can be said in relation to 0.")
        return _figure(ONE - running / before, "share", True, "", "money per answer")
    rate, today, saved = given.hourly_rate, given.minutes_today, given.minutes_saved
    if rate is None or today is None or saved is None or share is None:
        return _none("share", True, "The hourly rate, the minutes of a case and the minutes saved are needed.")
    if rate.low <= 0 or today.low <= 0:
        return _none("share", True, "A case costs nothing today, and nothing can be said in relation to 0.")
    fell = (saved * share - running * MINUTES / rate) / today
    return _figure(fell, "share", True, "", "money per case, people's time included")


def payback_months(one_off: Spread | None, savings: Spread | None, why_not: str) -> Figure:
    """``one-off cost / monthly savings``: after how many months the model has paid for itself.

    An end where nothing is saved is None: there it never pays back. All None with a reason where the expected saving
    is not above 0.
    """
    if one_off is None or savings is None:
        return _none("months", False, why_not)
    if savings.expected <= 0:
        return _none("months", False, "Nothing is saved, so it never pays back under these assumptions.")
    expected = float(one_off.expected / savings.expected)
    low = float(one_off.low / savings.high)
    if savings.low <= 0:
        reason = "In the cautious case nothing is saved, and it never pays back."
        return Figure(low, expected, None, "months", False, reason, "one-off cost / monthly savings")
    high = float(one_off.high / savings.low)
    return Figure(low, expected, high, "months", False, basis="one-off cost / monthly savings")


@dataclass(frozen=True)
class _Sides:
    """What the report says of the subject and of the baseline."""

    report: Mapping[str, Any]
    subject_key: str | None
    baseline_key: str | None
    subject_speed: float | None
    baseline_speed: float | None

    @classmethod
    def of(cls, report: Mapping[str, Any], given: Assumptions) -> _Sides:
        subject = subject_key(report)
        baseline = given.baseline or against_key(report)
        return cls(report, subject, baseline, mean_seconds(report, subject), mean_seconds(report, baseline))


def _share_unchanged(sides: _Sides, given: Assumptions, human: Mapping[str, Any] | None) -> tuple[Spread | None, str]:
    if given.share_unchanged is not None:
        return given.share_unchanged, "share used unchanged: typed"
    if given.share_source == "typed":
        return None, "The share of answers used unchanged is to be typed, and nobody has typed it."
    if given.share_source == "human":
        found = (human or {}).get("unchanged") or {}
        if found.get("value") is None:
            return None, "No reviewer has judged whether answers can be used as they are."
        return _with_ends(found), f"share used unchanged: {found.get('n')} answers judged by people"
    return _right_share(sides.report, sides.subject_key)


def _share_before(sides: _Sides, given: Assumptions) -> tuple[Spread | None, str]:
    """The share of answers used unchanged today and where it comes from, or None with the reason: 0 where people do it alone.
    A model in use whose answers nobody measured is not taken for one that is always wrong."""
    if given.today == "manual":
        return ZERO, ""
    found, basis = _right_share(sides.report, sides.baseline_key)
    if found is None:
        return None, "How often the answers of today's model can be used is not in this report."
    return found, f"; today's {basis}"


def _right_share(report: Mapping[str, Any], key: str | None) -> tuple[Spread | None, str]:
    for metric in _RIGHT_OR_WRONG:
        score = score_of(report, key, metric)
        if score is not None and score.get("value") is not None:
            return _with_ends(score), f"share used unchanged: {metric} over {score.get('n')} cases"
    return None, "The report has no share of right answers; type the share used unchanged."


def _with_ends(score: Mapping[str, Any]) -> Spread:
    value = Decimal(str(score["value"]))
    low, high = score.get("ci_low"), score.get("ci_high")
    ends = (value if low is None else Decimal(str(low)), value if high is None else Decimal(str(high)))
    return Spread(min(ends[0], value), value, max(ends[1], value))


def _running_cost(sides: _Sides, given: Assumptions) -> tuple[Spread | None, str]:
    if given.running_cost_per_answer is not None:
        return given.running_cost_per_answer, "running cost: typed"
    return _price(sides.report, sides.subject_key, given.currency)


def _baseline_cost(sides: _Sides, given: Assumptions) -> tuple[Spread | None, str]:
    if given.baseline_cost_per_answer is not None:
        return given.baseline_cost_per_answer, "today's cost: typed"
    return _price(sides.report, sides.baseline_key, given.currency)


def _price(report: Mapping[str, Any], key: str | None, currency: str) -> tuple[Spread | None, str]:
    found = ((report.get("cost") or {}).get("by_model") or {}).get(key) or {}
    amount = found.get("money_per_answer")
    if amount is None:
        return None, f"Running cost not known: {found.get('reason') or 'no price is recorded'}"
    if found.get("currency") not in (None, currency):
        return None, f"The report's price is in {found['currency']}, the assumptions are in {currency}."
    return Spread.of(amount), "running cost: measured tokens at the recorded price"


def _training_cost(report: Mapping[str, Any], given: Assumptions) -> tuple[Spread | None, str]:
    if given.training_cost is not None:
        return given.training_cost, "training: typed"
    found = (report.get("cost") or {}).get("training") or {}
    if found.get("amount") is None or found.get("currency") not in (None, given.currency):
        return None, "training: not known"
    return Spread.of(found["amount"]), "training: device hours at the recorded rate"


def _why_unknown(savings: Spread | None, no_training: str) -> str:
    return "What is saved each month is not known." if savings is None else no_training


def _net(one_off: Spread | None, savings: Spread | None, months: int, why_not: str) -> Figure:
    """``months x monthly savings - one-off cost``."""
    net = None if one_off is None or savings is None else savings * Spread.of(months) - one_off
    return _money(net, True, why_not, f"{months} months of savings less the one-off cost")


def _return(one_off: Spread | None, savings: Spread | None, months: int, why_not: str) -> Figure:
    """``months x monthly savings / one-off cost - 1``; None with a reason where nothing was spent."""
    if one_off is None or savings is None:
        return _none("share", True, why_not)
    if one_off.low <= 0:
        return _none("share", True, "Nothing was spent at the outset, and nothing can be said in relation to 0.")
    return _figure(savings * Spread.of(months) / one_off - ONE, "share", True, "", f"over {months} months")


def _money(spread: Spread | None, higher_is_better: bool, reason: str, basis: str) -> Figure:
    if spread is not None:
        spread = Spread(*(end.quantize(MONEY_PLACES) for end in (spread.low, spread.expected, spread.high)))
    return _figure(spread, "money", higher_is_better, reason, basis)


def _figure(spread: Spread | None, unit: str, higher_is_better: bool, reason: str, basis: str) -> Figure:
    if spread is None:
        return _none(unit, higher_is_better, reason)
    ends = (float(spread.low), float(spread.expected), float(spread.high))
    return Figure(*ends, unit, higher_is_better, basis=basis)


def _none(unit: str, higher_is_better: bool, reason: str) -> Figure:
    return replace(Figure(None, None, None, unit, higher_is_better), reason=reason)
