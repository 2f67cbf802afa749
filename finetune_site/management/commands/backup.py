"""``manage.py backup DIR``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from finetune_engine.errors import UserError
from finetune_site import archive


class Command(BaseCommand):
    """Calls the operation and says what was done."""

    help = "Write database, files and keys into an empty folder. The folder holds secrets: keep it safe."

    def add_arguments(self, parser: CommandParser) -> None:
        """DIR."""
        parser.add_argument("folder", metavar="DIR", type=Path)

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        """Say how many files were written."""
        try:
            manifest = archive.back_up(folder.resolve())
        except UserError as error:
            raise CommandError(error.sentence) from error
        self.stdout.write(f"Backed up: {len(manifest['files'])} files, {folder}")
