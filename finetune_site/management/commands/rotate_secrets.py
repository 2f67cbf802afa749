"""``manage.py rotate_secrets``: encrypts every stored secret under the newest SECRET_KEY."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from finetune_engine.errors import UserError
from jobs_app.operations import connections
from work_kit.notifications import operations as webhook_operations


class Command(BaseCommand):
    """After a change of SECRET_KEY, with the old one in SECRET_KEY_FALLBACKS."""

    help = (
        "Encrypt stored keys and webhook secrets anew under the current SECRET_KEY. Put the old key into "
        "SECRET_KEY_FALLBACKS first, and remove it from there afterwards."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """All or nothing."""
        try:
            with transaction.atomic():
                keys, webhooks = connections.reencrypt_secrets(), webhook_operations.reencrypt_secrets()
        except UserError as error:
            raise CommandError(error.sentence) from error
        self.stdout.write(
            f"{keys} keys at providers and {webhooks} webhook secrets are encrypted under the current SECRET_KEY."
        )
