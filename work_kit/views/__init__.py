"""Live streams and pages about jobs in general."""

from work_kit.views.stream import job_events

__all__ = ["job_events"]
