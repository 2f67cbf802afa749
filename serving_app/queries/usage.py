"""What was asked, by key, by model or by day, read from the five-minute counts; and what it cost where that is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from django.db.models import Sum

from accounts_app.models import ApiKey, Project
from finetune_engine.errors import UserError
from serving_app.models import TrafficBucket
from serving_app.queries.costs import Cost, Prices

BY = ("key", "model", "day")
_SUMS = (
    "requests", "refused", "failed", "left", "exact_hits", "semantic_hits", "prompt_tokens", "completion_tokens", "latency_sum"
)  # fmt: skip


@dataclass
class Usage:
    """Counts of one key, model or day. ``errors`` are those that the server could not answer, ``refused`` the caller's own;
    tokens are those that a model worked for. ``cost`` holds amounts by currency, and ``is_priced`` is False where the price of
    some of it is unknown."""

    group: str
    name: str
    requests: int = 0
    refused: int = 0
    errors: int = 0
    left: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: dict[str, Decimal] = field(default_factory=dict)
    is_priced: bool = True

    @property
    def tokens(self) -> int:
        """Read and written."""
        return self.prompt_tokens + self.completion_tokens


def usage_of(project: Project, since: datetime, until: datetime, by: str) -> list[Usage]:
    """The usage between two moments (to the five minutes), the largest group first, days in order. Raises UserError for an
    unknown ``by``."""
    if by not in BY:
        raise UserError("invalid_value", f"'by' is one of {', '.join(BY)}.", field="by")
    column = {"key": "key_ref", "model": "model_name", "day": "start_at"}[by]
    rows = TrafficBucket.objects.filter(project=project, start_at__gte=since, start_at__lt=until, is_shadow=False)
    counts = list(rows.values(column, "deployment_ref").annotate(**{name: Sum(name) for name in _SUMS}).order_by())
    prices = Prices(row["deployment_ref"] for row in counts)
    groups: dict[str, Usage] = {}
    for row in counts:
        group = row[column].astimezone(UTC).date().isoformat() if by == "day" else row[column]
        usage = groups.setdefault(group, Usage(group, group))
        _take(usage, row)
        tokens = {name: row[name] for name in ("prompt_tokens", "completion_tokens")}
        _charge(usage, prices.cost(row["deployment_ref"], **tokens, seconds=row["latency_sum"]))
    if by == "key":
        _name_keys(groups.values())
    in_order = sorted(groups.values(), key=lambda usage: usage.group)
    return in_order if by == "day" else sorted(in_order, key=lambda usage: -usage.requests)


def usage_by_key(project: Project, since: datetime, until: datetime) -> dict[str, Usage]:
    """The same by key id; what people asked in the playground stands under the empty id."""
    found: defaultdict[str, Usage] = defaultdict(lambda: Usage("", ""))
    found.update({usage.group: usage for usage in usage_of(project, since, until, "key")})
    return found


def _take(usage: Usage, row: dict[str, int]) -> None:
    usage.requests += row["requests"]
    usage.refused += row["refused"]
    usage.errors += row["failed"]
    usage.left += row["left"]
    usage.cached += row["exact_hits"] + row["semantic_hits"]
    usage.prompt_tokens += row["prompt_tokens"]
    usage.completion_tokens += row["completion_tokens"]


def _charge(usage: Usage, cost: Cost) -> None:
    if cost.amount is None:
        usage.is_priced = False
    else:
        usage.cost[cost.currency] = usage.cost.get(cost.currency, Decimal(0)) + cost.amount


def _name_keys(usages: Iterable[Usage]) -> None:
    wanted = list(usages)
    names = dict(ApiKey.objects.filter(pk__in=[usage.group for usage in wanted]).values_list("pk", "name"))
    for usage in wanted:
        usage.name = names.get(usage.group, "") or usage.group
