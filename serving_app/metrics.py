"""What Prometheus may know of the answering: counts and durations, never a text or a person."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

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
FEEDBACK = Counter("model_feedback_total", "Verdicts that people gave.", ["verdict"])


class JobStates(Collector):
    """``jobs{state}``, counted in the database when somebody asks."""

    def collect(self) -> Iterator[Metric]:
        """One gauge per state, also for states without a job."""
        from serving_app.queries import job_counts

        gauge = GaugeMetricFamily("jobs", "Jobs by state.", labels=["state"])
        for state, count in job_counts().items():
            gauge.add_metric([state], count)
        yield gauge

    def describe(self) -> Iterator[Metric]:
        """Known without asking the database, so that registering at start needs none."""
        yield GaugeMetricFamily("jobs", "Jobs by state.", labels=["state"])


REGISTRY.register(JobStates())
