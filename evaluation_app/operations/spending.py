"""What an evaluation costs at other people's machines: estimated before it starts, and held against the project's budget."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from accounts_app.models import Project
from datasets_app.models import Snapshot
from evaluation_app.choices import Suite
from evaluation_app.models import Contender
from evaluation_app.queries.prices import price_at
from finetune_engine.catalogue.catalogue import Price
from finetune_engine.errors import UserError
from jobs_app.models import ProviderConnection
from jobs_app.queries.connections import budget_of, spending
from web_kit.wording import money_words, number_words


@dataclass(frozen=True)
class Asks:
    """About how many questions a suite asks a model behind an address: ``each`` for every case up to ``most``, and
    ``fixed`` ones. ``only_judged``: models that the verdict is neither about nor against are spared."""

    each: float = 0.0
    most: int = 1_000_000
    fixed: int = 0
    only_judged: bool = False


ASKS: dict[str, Asks] = {
    Suite.QUALITY: Asks(each=1),
    Suite.PERFORMANCE: Asks(fixed=20),
    Suite.ROBUSTNESS: Asks(each=20, most=200, fixed=150, only_judged=True),
    Suite.FAIRNESS: Asks(each=4, most=200, only_judged=True),
}
"""What was forgotten is read off likelihoods, which such models lack; costs are reckoned from the other answers."""

TOKENS_PER_WORD = 1.5
FRAME_TOKENS = 20
UNKNOWN_WORDS = 200.0  # of a row, where nobody counted
MILLION = Decimal(1_000_000)
CENT = Decimal("0.000001")
FIGURES_LENGTH = 32


@dataclass(frozen=True)
class Outlay:
    """What will be sent to and fetched from addresses, in tokens, and what that costs. ``amount`` None: unknown."""

    names: tuple[str, ...]
    questions: int
    tokens_in: int
    tokens_out: int
    amount: Decimal | None
    currency: str

    def as_dict(self) -> dict[str, Any]:
        """JSON values, amounts as text."""
        return {
            "questions": self.questions,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "amount": None if self.amount is None else str(self.amount),
            "currency": self.currency,
        }


class CostNotApproved(UserError):
    """A person has to say yes first. ``figures`` stands for exactly what was asked: send it back with the yes."""

    def __init__(self, found: Outlay) -> None:
        self.figures = figures_of(found)
        super().__init__(
            "cost_not_approved", outlay_words(found), field="cost_approved", reason="bad_config", status=402
        )


def figures_of(found: Outlay) -> str:
    """A short text that is another one as soon as anything is sent elsewhere or costs something else."""
    told = json.dumps([found.names, found.as_dict()], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:FIGURES_LENGTH]


def outlay(
    contenders: Sequence[Contender],
    addresses: Mapping[str, str],
    *,
    snapshot: Snapshot,
    cases: int,
    suites: Sequence[str],
    judge: Mapping[str, Any] | None,
    kept_cases: int = 0,
) -> Outlay | None:
    """An estimate from the lengths of the rows; None when nothing leaves this site's own machines. ``kept_cases`` are those
    that must never break: every model is asked them once, whatever the limit."""
    asked = [contender for contender in contenders if contender.key in addresses]
    if not asked and not judge:
        return None
    prompt, answer = _lengths(snapshot)
    parts = [
        _part(
            price_at(addresses[one.key], one.remote_name),
            _questions(one, cases, suites) + kept_cases,
            prompt * (1 + _shots(one)) + _instructions(one),
            answer,
        )
        for one in asked
    ]
    names = [contender.name for contender in asked]
    if judge:
        connection = ProviderConnection.objects.filter(pk=judge["connection"]).first()
        price = price_at(connection.base_url, judge["model"]) if connection is not None else None
        parts.append(_part(price, 2.0 * min(cases, judge["sample"]), prompt + 3 * answer, 60.0))
        names.append(str(judge["model"]))
    return _sum(names, parts)


def _questions(contender: Contender, cases: int, suites: Sequence[str]) -> float:
    is_judged = contender.is_subject or contender.is_reference
    told = [ASKS[suite] for suite in suites if suite in ASKS]
    return sum(asks.each * min(cases, asks.most) + asks.fixed for asks in told if is_judged or not asks.only_judged)


@dataclass(frozen=True)
class _Part:
    questions: float
    tokens_in: float
    tokens_out: float
    amount: Decimal | None
    currency: str


def _part(price: Price | None, questions: float, prompt: float, answer: float) -> _Part:
    taken, given = questions * prompt, questions * answer
    if price is None or price.input_per_million is None or price.output_per_million is None:
        return _Part(questions, taken, given, None, "")
    amount = Decimal(round(taken)) * price.input_per_million + Decimal(round(given)) * price.output_per_million
    return _Part(questions, taken, given, amount / MILLION, price.currency)


def _sum(names: list[str], parts: list[_Part]) -> Outlay:
    """Money in two currencies has no sum, and neither has what is partly unknown."""
    currencies = {part.currency for part in parts}
    amounts = [part.amount for part in parts]
    known = [amount for amount in amounts if amount is not None]
    whole = len(known) == len(amounts) and len(currencies) == 1
    return Outlay(
        names=tuple(names),
        questions=round(sum(part.questions for part in parts)),
        tokens_in=round(sum(part.tokens_in for part in parts)),
        tokens_out=round(sum(part.tokens_out for part in parts)),
        amount=sum(known, Decimal(0)).quantize(CENT) if whole else None,
        currency=currencies.pop() if whole else "",
    )


def _lengths(snapshot: Snapshot) -> tuple[float, float]:
    """Mean tokens of a question and of an answer."""
    figures = snapshot.statistics or {}
    asked = float(figures.get("avg_prompt_length") or UNKNOWN_WORDS)
    told = float(figures.get("avg_completion_length") or UNKNOWN_WORDS / 4)
    return asked * TOKENS_PER_WORD + FRAME_TOKENS, told * TOKENS_PER_WORD + 1


def _shots(contender: Contender) -> int:
    return int((contender.prompt or {}).get("shots") or 0)


def _instructions(contender: Contender) -> float:
    return len(str((contender.prompt or {}).get("system") or "").split()) * TOKENS_PER_WORD


def require_approval(*, project: Project, found: Outlay, approved: bool, figures: str = "") -> None:
    """Ask before money is spent. Call inside the transaction that starts the evaluation. ``figures``, where they are told,
    are those that the person said yes to: a yes to others is none.

    Raises UserError ``cost_not_approved`` (402) until a person says yes, unless the budget lets so cheap a thing start
    without a question; ``over_budget`` (402), yes or no, when this month's limit does not allow it.
    """
    budget = budget_of(project)
    if found.amount is not None and found.amount > 0:
        _check_limit(project, found)
    asks = found.amount is None or (
        found.amount > 0 and (found.currency != budget.currency or found.amount > budget.ask_above)
    )
    if asks and not (approved and figures in ("", figures_of(found))):
        raise CostNotApproved(found)


def outlay_words(found: Outlay) -> str:
    """The question that a person says yes to."""
    told = {
        "names": ", ".join(found.names),
        "questions": number_words(found.questions),
        "tokens_in": number_words(found.tokens_in),
        "tokens_out": number_words(found.tokens_out),
    }
    sentence = _(
        "The cases leave this site for %(names)s: about %(questions)s questions, %(tokens_in)s tokens sent and "
        "%(tokens_out)s received."
    )
    if found.amount is None:
        price = _("What that costs is not known here.")
    else:
        price = _("That costs about %(amount)s.") % {"amount": money_words(found.amount, found.currency)}
    return f"{sentence % told} {price} " + _("Confirm that it may start.")


def _check_limit(project: Project, found: Outlay) -> None:
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)  # two at once may not both take the last money
    budget, amount = budget_of(project), found.amount or Decimal(0)
    if budget.monthly_limit is None:
        return
    if found.currency != budget.currency:
        sentence = _("The monthly limit is in %(ours)s and this price in %(theirs)s, so the limit cannot be checked.")
        raise _over(sentence % {"ours": budget.currency, "theirs": found.currency})
    month = spending(project, budget)
    if month.spent + month.expected + amount > budget.monthly_limit:
        sentence = _(
            "This evaluation costs about %(cost)s, and %(left)s of this month's limit of %(limit)s are left. Ask fewer "
            "cases or models, or let an owner raise the limit."
        )
        told = {"cost": amount, "left": month.left or Decimal(0), "limit": budget.monthly_limit}
        raise _over(sentence % {name: money_words(value, budget.currency) for name, value in told.items()})


def _over(sentence: str) -> UserError:
    return UserError("over_budget", sentence, field="cost_approved", reason="bad_config", status=402)
