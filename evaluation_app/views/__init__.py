"""Pages about evaluations."""

from evaluation_app.views.detail import detail, events, report, samples, stop
from evaluation_app.views.listing import listing, new

__all__ = ["detail", "events", "listing", "new", "report", "samples", "stop"]
