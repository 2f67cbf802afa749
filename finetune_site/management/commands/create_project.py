"""``manage.py create_project NAME --owner EMAIL``: prints the project's slug."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts_app.models import User
from accounts_app.operations import create_project
from finetune_engine.errors import UserError


class Command(BaseCommand):
    """Makes a project, and its owner's account when there is none yet."""

    help = "Make a project. The owner's account is made when missing, without a password: they join by an invitation."

    def add_arguments(self, parser: CommandParser) -> None:
        """NAME and ``--owner``."""
        parser.add_argument("name")
        parser.add_argument("--owner", required=True, help="e-mail address")

    def handle(self, *args: Any, name: str, owner: str, **options: Any) -> None:
        """Print the slug."""
        email = owner.strip().lower()
        user = User.objects.filter(email=email).first() or User.objects.create_user(email=email)
        try:
            project = create_project(user=user, name=name)
        except UserError as error:
            raise CommandError(error.sentence) from error
        self.stdout.write(project.slug)
