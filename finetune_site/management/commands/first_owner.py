"""``manage.py first_owner``: a new one-time link for the site's first account."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from finetune_engine.errors import UserError
from finetune_site.management.commands.start import first_owner_url


class Command(BaseCommand):
    """Prints the link."""

    help = "Make a one-time link for the site's first account (earlier links stop working)."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the link, or say why there is none."""
        address = settings.SITE_URL or f"http://localhost:{os.environ.get('PORT') or 8000}"
        try:
            self.stdout.write(first_owner_url(address))
        except UserError as error:
            raise CommandError(error.sentence) from error
