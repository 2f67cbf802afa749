"""Writing the prediction log and the counts that outlive it, many questions at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import connection, models, transaction

from accounts_app.models import ApiKey, Project, User
from serving_app.gateway.entries import Entry, Refusal
from serving_app.histograms import CONFIDENCE_EDGES, LATENCY_EDGES, LENGTH_EDGES, added, counted
from serving_app.models import Deployment, Prediction, TrafficBucket
from serving_app.operations.limits import add_tokens

BUCKET_SECONDS = 300
CALLER_LEFT = 499
ROWS_TO_A_STATEMENT = 50
_FIELDS = (
    "request_id", "project_id", "deployment_id", "door", "task", "model_name", "model_digest", "input", "question_text",
    "output", "params", "latency_seconds", "first_token_seconds", "prompt_tokens", "completion_tokens", "confidence",
    "calibrated", "needs_human", "cached", "cache_kind", "shadow_of", "served_by", "is_masked", "status", "error", "at",
    "api_key_id", "user_id",
)  # fmt: skip
_EMPTY = {"verdict": "", "correction": ""}
BucketKey = tuple[str, datetime, str, str, str, bool]


def log_predictions(*, predictions: Sequence[Entry], refusals: Sequence[Refusal] = ()) -> None:
    """Append to the log, add to the counts of the running five minutes and to the keys' windows, in one transaction.
    A request that is there already is not written again. Raises IntegrityError when a project or key has vanished:
    ``without_vanished`` says what is left."""
    with transaction.atomic():
        if predictions:
            _insert(predictions)
        _add_to_buckets(predictions, refusals)
        add_tokens([(entry.api_key_id, entry.tokens, entry.at) for entry in predictions if entry.settles_tokens])


def without_vanished(predictions: Sequence[Entry]) -> list[Entry]:
    """The entries whose project is still there; what else they point to and is gone becomes None."""
    projects = _there(Project, {entry.project_id for entry in predictions})
    deployments = _there(Deployment, {entry.deployment_id for entry in predictions})
    keys = _there(ApiKey, {entry.api_key_id for entry in predictions})
    users = _there(User, {entry.user_id for entry in predictions})
    left = [entry for entry in predictions if entry.project_id in projects]
    for entry in left:
        entry.deployment_id = entry.deployment_id if entry.deployment_id in deployments else None
        entry.api_key_id = entry.api_key_id if entry.api_key_id in keys else None
        entry.user_id = entry.user_id if entry.user_id in users else None
    return left


def refusals_left(refusals: Sequence[Refusal]) -> list[Refusal]:
    """The refusals whose project is still there."""
    projects = _there(Project, {refusal.project_id for refusal in refusals})
    return [refusal for refusal in refusals if refusal.project_id in projects]


def _there(model: type[models.Model], ids: set[str] | set[str | None]) -> set[str]:
    wanted = [value for value in ids if value is not None]
    return set(model._default_manager.filter(pk__in=wanted).values_list("pk", flat=True))


def _insert(predictions: Sequence[Entry]) -> None:
    """Many rows to a statement: SQLite's driver hands the interpreter to another thread and back at every one."""
    quote = connection.ops.quote_name
    names = [*_FIELDS, *_EMPTY]
    target = f"{quote(Prediction._meta.db_table)} ({', '.join(map(quote, names))})"
    marks = f"({', '.join(['%s'] * len(names))})"
    with connection.cursor() as cursor:
        for start in range(0, len(predictions), ROWS_TO_A_STATEMENT):
            rows = [_row(entry) for entry in predictions[start : start + ROWS_TO_A_STATEMENT]]
            values = ", ".join([marks] * len(rows))
            cursor.execute(
                f"INSERT INTO {target} VALUES {values} ON CONFLICT (request_id) DO NOTHING",  # noqa: S608  names are ours
                [value for row in rows for value in row],
            )


def _row(entry: Entry) -> tuple[Any, ...]:
    at = connection.ops.adapt_datetimefield_value(entry.at)
    return (
        entry.request_id, entry.project_id, entry.deployment_id, entry.door, _text(entry.task), entry.model_name,
        entry.model_digest, _json(entry.input), _text(entry.question_text), _text(entry.output), _json(entry.params),
        entry.latency_seconds, entry.first_token_seconds, entry.prompt_tokens, entry.completion_tokens,
        entry.confidence, entry.calibrated, entry.needs_human, entry.cached, entry.cache_kind, entry.shadow_of,
        entry.served_by, entry.is_masked, entry.status, _text(entry.error), at, entry.api_key_id, entry.user_id,
        *_EMPTY.values(),
    )  # fmt: skip


def _json(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return orjson.dumps(_without_nul(value)).decode() if "\\u0000" in text else text


def _text(text: str) -> str:
    return text.replace("\x00", "\ufffd") if "\x00" in text else text


def _without_nul(value: Any) -> Any:
    """PostgreSQL keeps no NUL in a text, and one hostile question must not cost the whole batch."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {_text(str(name)): _without_nul(inner) for name, inner in value.items()}
    return [_without_nul(inner) for inner in value] if isinstance(value, list) else value


def bucket_start(at: datetime) -> datetime:
    """The beginning of the five minutes in which this moment lies."""
    return at - timedelta(seconds=at.timestamp() % BUCKET_SECONDS)


def _add_to_buckets(predictions: Iterable[Entry], refusals: Iterable[Refusal]) -> None:
    entries: defaultdict[BucketKey, list[Entry]] = defaultdict(list)
    turned_away: defaultdict[BucketKey, int] = defaultdict(int)
    for entry in predictions:
        keys = (entry.deployment_id or "", entry.api_key_id or "", entry.model_name, bool(entry.shadow_of))
        entries[(entry.project_id, bucket_start(entry.at), *keys)].append(entry)
    for refusal in refusals:
        key = (refusal.project_id, bucket_start(refusal.at), "", refusal.api_key_id, refusal.model_name, False)
        turned_away[key] += 1
    for key in sorted(entries.keys() | turned_away.keys()):  # one order for all processes: no two wait for each other
        _add_to_bucket(key, entries.get(key, []), turned_away.get(key, 0))


def _add_to_bucket(key: BucketKey, entries: Sequence[Entry], turned_away: int) -> None:
    project_id, start_at, deployment_ref, key_ref, model_name, is_shadow = key
    bucket, _ = TrafficBucket.objects.select_for_update().get_or_create(
        project_id=project_id,
        start_at=start_at,
        deployment_ref=deployment_ref,
        key_ref=key_ref,
        model_name=model_name,
        is_shadow=is_shadow,
    )
    good = [entry for entry in entries if entry.status == 200]
    worked = [entry for entry in entries if not entry.cached]
    bucket.requests += len(entries) + turned_away
    bucket.refused += turned_away + sum(400 <= entry.status < 500 and entry.status != CALLER_LEFT for entry in entries)
    bucket.failed += sum(entry.status >= 500 for entry in entries)
    bucket.left += sum(entry.status == CALLER_LEFT for entry in entries)
    bucket.exact_hits += sum(entry.cache_kind == "exact" for entry in entries)
    bucket.semantic_hits += sum(entry.cache_kind == "semantic" for entry in entries)
    bucket.needs_human += sum(entry.needs_human for entry in entries)
    bucket.prompt_tokens += sum(entry.prompt_tokens or 0 for entry in worked)
    bucket.completion_tokens += sum(entry.completion_tokens or 0 for entry in worked)
    bucket.latency_sum += sum(entry.latency_seconds for entry in good)
    _add_to_histograms(bucket, good)
    bucket.save()


def _add_to_histograms(bucket: TrafficBucket, good: Sequence[Entry]) -> None:
    firsts = [entry.first_token_seconds for entry in good if entry.first_token_seconds is not None]
    sure = [value for value in map(_best_confidence, good) if value is not None]
    bucket.latency = added(bucket.latency, counted([entry.latency_seconds for entry in good], LATENCY_EDGES))
    bucket.first_token = added(bucket.first_token, counted(firsts, LATENCY_EDGES))
    bucket.confidence = added(bucket.confidence, counted(sure, CONFIDENCE_EDGES))
    bucket.confidence_sum += sum(sure)
    lengths = [entry.question_length for entry in good]
    bucket.question_length = added(bucket.question_length, counted(lengths, LENGTH_EDGES))


def _best_confidence(entry: Entry) -> float | None:
    return entry.confidence if entry.calibrated is None else entry.calibrated
