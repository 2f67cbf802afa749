"""``manage.py add_base_model KEY PATH_OR_HUB_NAME[@revision]``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from finetune_engine.errors import UserError
from jobs_app.operations import add_base_model
from web_kit.wording import number_words


class Command(BaseCommand):
    """Make a base model choosable."""

    help = (
        "Make a base model choosable in every project: a folder on this machine (safetensors only; it is used where "
        "it lies) or a name on the Hugging Face Hub, downloaded by the worker that first needs it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """KEY, PATH_OR_HUB_NAME, --name."""
        parser.add_argument("key", help="short name, for the API and in model names, such as legal-7b")
        parser.add_argument("path_or_hub", metavar="PATH_OR_HUB_NAME[@revision]")
        parser.add_argument("--name", default="", help="the name that people see")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check and store; a refusal says why and how to mend it."""
        try:
            model = add_base_model(key=options["key"], path_or_hub=options["path_or_hub"], name=options["name"])
        except UserError as error:
            raise CommandError(error.sentence) from error
        parameters = model.report.get("parameters")
        size = f", {number_words(parameters)} parameters" if parameters else ""
        self.stdout.write(f"{model.key}: {model.name} ({model.get_provider_display()}{size}) can be chosen now.")
