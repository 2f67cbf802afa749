"""``manage.py doctor``: what is installed, which devices there are, which services answer, in plain words."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from finetune_site.diagnosis import diagnose


class Command(BaseCommand):
    """Prints one line per finding; exits 1 when something needed does not work."""

    help = "Say in plain words what works on this machine and what does not."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the findings."""
        findings = diagnose()
        marks = {"ok": "  ok   ", "note": " note  ", "bad": "  BAD  "}
        for finding in findings:
            self.stdout.write(f"{marks[finding.state]} {finding.subject}: {finding.sentence}")
        if any(finding.state == "bad" for finding in findings):
            sys.exit(1)
