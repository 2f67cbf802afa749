"""What Prometheus may know of the answering: counts and durations, never a text or a person.

With several web processes each writes its counts into files of one folder (``PROMETHEUS_MULTIPROC_DIR``, set before this module
is imported), and whoever is asked adds all of them up.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import REGISTRY, Collector

logger = getLogger(__name__)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
MOST_NAMES = 200
"""Models that get a label of their own in one process; further ones share ``OTHER``."""
OTHER = "other"
UNKNOWN = "unknown"
_DEAD = "0"  # no process has this number: the files of ended ones are gathered under it

REQUESTS = Counter("model_requests_total", "Requests by model and HTTP status.", ["model_name", "status"])
DURATION = Histogram(
    "model_request_duration_seconds", "From the request's arrival to the last byte.", ["model_name"], buckets=_SECONDS
)
ERRORS = Counter("model_errors_total", "Requests that the server could not answer.", ["model_name"])
TOKENS = Counter("model_tokens_total", "Tokens read (prompt) and written (completion).", ["kind"])
FIRST_TOKEN = Histogram(
    "model_time_to_first_token_seconds", "From the request's arrival to the first token.", buckets=_SECONDS
)
CACHE_HITS = Counter("model_cache_hits_total", "Answers that came from a cache.", ["kind"])
NEEDS_HUMAN = Counter("model_needs_human_total", "Answers that were put before a person.")
FEEDBACK = Counter("model_feedback_total", "Verdicts that people gave.", ["verdict"])
LOG_LOST = Counter("model_log_lost_total", "Predictions that could not be written to the log.")
IN_FLIGHT = Gauge("model_in_flight", "Questions under way.", multiprocess_mode="livesum")

_children: dict[tuple[Any, ...], Any] = {}
_names: set[str] = set()
_lock = threading.Lock()


def count_answer(
    model_name: str,
    status: int,
    seconds: float,
    *,
    prompt_tokens: int | None = None,
    completion_tokens: int | None = None,
    first_token_seconds: float | None = None,
    cache_kind: str = "",
    needs_human: bool = False,
) -> None:
    """Count one question that has ended. ``model_name`` is a model that exists, "" where it is not known yet; tokens count only
    where a model worked for them."""
    name = _label(model_name)
    _child(REQUESTS, name, str(status)).inc()
    _child(DURATION, name).observe(seconds)
    if status >= 500:
        _child(ERRORS, name).inc()
    if cache_kind:
        _child(CACHE_HITS, cache_kind).inc()
    else:
        _child(TOKENS, "prompt").inc(prompt_tokens or 0)
        _child(TOKENS, "completion").inc(completion_tokens or 0)
    if first_token_seconds is not None:
        FIRST_TOKEN.observe(first_token_seconds)
    if needs_human:
        NEEDS_HUMAN.inc()


def _label(model_name: str) -> str:
    if model_name in _names:
        return model_name
    if not model_name:
        return UNKNOWN
    with _lock:
        if len(_names) >= MOST_NAMES:
            return OTHER
        _names.add(model_name)
    return model_name


def _child(metric: Any, *labels: str) -> Any:
    """The metric's own look-up builds a tuple under a lock each time; a question takes several."""
    key = (id(metric), *labels)
    found = _children.get(key)
    if found is None:
        found = _children[key] = metric.labels(*labels)
    return found


class House(Collector):
    """What the database knows, counted when somebody asks: jobs, replicas and deployments by state, open alerts."""

    def collect(self) -> Iterator[Metric]:
        """Every state has its figure, also where nothing is in it. Nothing while the database is away: the counts of the answers
        are told all the same."""
        from django.db import DatabaseError

        from serving_app.queries import job_counts
        from serving_app.queries.watch import deployment_counts, open_alert_count, replica_counts

        try:
            counts = job_counts(), replica_counts(), deployment_counts(), open_alert_count()
        except DatabaseError:
            logger.exception("the database could not be asked for the figures of the house")
            return
        yield from self._gauges(*counts)

    def describe(self) -> Iterator[Metric]:
        """Known without asking the database, so that registering at start needs none."""
        yield from self._gauges({}, {}, {}, 0)

    def _gauges(
        self, jobs: dict[str, int], replicas: dict[str, int], deployments: dict[str, int], alerts: int
    ) -> Iterator[Metric]:
        for name, words, counts in (
            ("jobs", "Jobs by state.", jobs),
            ("replicas", "Model servers by state; lost ones have shown no sign of life.", replicas),
            ("deployments", "Deployments by state.", deployments),
        ):
            gauge = GaugeMetricFamily(name, words, labels=["state"])
            for state, count in counts.items():
                gauge.add_metric([state], count)
            yield gauge
        yield GaugeMetricFamily("alerts_open", "Alerts that are open.", value=alerts)


HOUSE = House()
REGISTRY.register(HOUSE)


def exposition() -> bytes:
    """All figures of the web processes of this machine, as Prometheus reads them."""
    folder = os.environ.get(FOLDER_VARIABLE, "")
    if not folder or values.ValueClass is values.MutexValue:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    registry.register(HOUSE)
    with _folder_lock(Path(folder)):
        _gather_dead(Path(folder))
        return generate_latest(registry)


def fresh_folder(folder: Path) -> None:
    """Make the folder of the counts, without those of an earlier start. Before the first web process starts."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.db"):
        path.unlink(missing_ok=True)


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    # Two scrapes at once must not both move the counts of an ended process.
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _gather_dead(folder: Path) -> None:
    """Counters of ended processes are added up in one file (they must not fall); their live gauges are dropped."""
    for path in folder.glob("*.db"):
        kind, _, pid = path.stem.rpartition("_")
        if pid == _DEAD or not pid.isdigit() or _lives(int(pid)):
            continue
        if kind in ("counter", "histogram"):
            _move(path, folder / f"{kind}_{_DEAD}.db")
        else:
            mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]


def _move(path: Path, into: Path) -> None:
    kept = MmapedDict(str(into))  # type: ignore[no-untyped-call]
    try:
        for key, value, _at, _position in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
            before, _at = kept.read_value(key)  # type: ignore[no-untyped-call]
            kept.write_value(key, before + value, 0.0)  # type: ignore[no-untyped-call]
    finally:
        kept.close()  # type: ignore[no-untyped-call]
    path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
