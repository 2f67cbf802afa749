"""``manage.py create_api_key --project SLUG --scopes read,train``: prints only the key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts_app.models import Project
from accounts_app.operations import create_api_key
from finetune_engine.errors import UserError


class Command(BaseCommand):
    """Makes a key."""

    help = "Make an API key and print it. It cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        """``--project``, ``--scopes``, ``--name``, ``--days``."""
        parser.add_argument("--project", required=True, help="the project's slug")
        parser.add_argument("--scopes", default="read,predict", help="of read, train, predict, admin")
        parser.add_argument("--name", default="command line")
        parser.add_argument("--days", type=int, default=None, help="days until it ends (default: it does not)")

    def handle(self, *args: Any, project: str, scopes: str, name: str, days: int | None, **options: Any) -> None:
        """Print the key."""
        found = Project.objects.filter(slug=project).first()
        if found is None:
            slugs = ", ".join(Project.objects.values_list("slug", flat=True)[:20]) or "none yet"
            raise CommandError(f"There is no project {project!r}. There are: {slugs}.")
        try:
            text = create_api_key(
                project=found, name=name, scopes=[word.strip() for word in scopes.split(",")], expires_in_days=days
            )[1]
        except UserError as error:
            raise CommandError(error.sentence) from error
        self.stdout.write(text)
