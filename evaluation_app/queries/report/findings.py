"""The plain sentences that a suite has found."""

from __future__ import annotations

from evaluation_app.queries.report.blocks import (
    Note,
    Notes,
    Tone,
)
from evaluation_app.queries.report.reading import Reading


def findings_of(at: Reading, suite: str) -> Notes | None:
    """The sentences that a suite has found, the gravest first; None without any."""
    tones: dict[str, Tone] = {"ok": "ok", "warn": "warn", "bad": "bad"}
    found = [
        Note(tones.get(str(finding.get("tone")), ""), str(finding.get("text") or ""))
        for finding in at.part("findings") or ()
        if finding.get("suite") == suite
    ]
    return Notes(found) if found else None
