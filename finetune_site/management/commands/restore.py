"""``manage.py restore DIR``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from finetune_engine.errors import UserError
from finetune_site import archive


class Command(BaseCommand):
    """Calls the operation and says what was done."""

    help = "Bring a backup back into an empty site."

    def add_arguments(self, parser: CommandParser) -> None:
        """DIR."""
        parser.add_argument("folder", metavar="DIR", type=Path)

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        """Say how many files were written."""
        try:
            manifest = archive.restore(folder.resolve())
        except UserError as error:
            raise CommandError(error.sentence) from error
        self.stdout.write(f"Restored: {len(manifest['files'])} files, {folder}")
