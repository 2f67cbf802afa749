"""Pages about evaluations."""

from evaluation_app.views.detail import detail, events, stop
from evaluation_app.views.listing import listing
from evaluation_app.views.new import foresee, new, repeat
from evaluation_app.views.report import assumptions, report
from evaluation_app.views.samples import samples, samples_csv
from evaluation_app.views.sign_off import sign_off, withdraw

__all__ = [
    "assumptions",
    "detail",
    "events",
    "foresee",
    "listing",
    "new",
    "repeat",
    "report",
    "samples",
    "samples_csv",
    "sign_off",
    "stop",
    "withdraw",
]
