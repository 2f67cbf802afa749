"""The report as one page that needs nothing else: to print, to send, to keep."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from django.conf import settings
from django.template.loader import render_to_string

from evaluation_app.queries.report.whole import WholeReport

STYLES = ("css/tokens.css", "css/app.css", "css/parts.css", "css/report.css")


def report_html(whole: WholeReport) -> str:
    """A whole document with its own styles, without any script or address to load from."""
    return render_to_string("evaluation_app/report_file.html", {"whole": whole, "styles": _styles()})


@cache
def _styles() -> str:
    folder = Path(settings.BASE_DIR) / "static"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in STYLES)
