"""``manage.py add_base_model KEY LOCATION [--base-url URL]``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from finetune_engine.errors import UserError
from jobs_app.operations.base_models import add_base_model
from web_kit.wording import number_words

PRICES = ("training", "input", "output")


class Command(BaseCommand):
    """Make a base model choosable."""

    help = (
        "Make a base model choosable in every project: a folder on this machine (safetensors only; it is used where "
        "it lies), a name on the Hugging Face Hub at a pinned revision, downloaded by the worker that first needs it, or, "
        "with --base-url, a model at an OpenAI-compatible endpoint, for projects that have a key for it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """KEY, LOCATION and what is known of the model."""
        parser.add_argument("key", help="short name, for the API and in model names, such as legal-7b")
        parser.add_argument(
            "location", metavar="LOCATION", help="folder, owner/name[@revision], or the endpoint's name"
        )
        parser.add_argument("--name", default="", help="the name that people see")
        parser.add_argument("--base-url", default="", help="the endpoint's address, such as https://host.example/v1")
        parser.add_argument("--context-length", type=int, help="how many tokens it reads")
        parser.add_argument("--parameters", type=int, help="how many parameters it has")
        parser.add_argument("--licence", default="", help="the licence of its weights")
        for kind in PRICES:
            parser.add_argument(f"--{kind}-price", help=f"for a million {kind} tokens")
        parser.add_argument("--currency", default="USD", help="of the prices; three letters")
        parser.add_argument("--price-url", default="", help="the page that tells the prices")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check and store; a refusal says why and how to mend it."""
        facts = {name: options[name] for name in ("context_length", "parameters", "licence")}
        try:
            model = add_base_model(
                key=options["key"],
                path_or_hub=options["location"],
                name=options["name"],
                base_url=options["base_url"],
                facts=facts | {"price": _price(options)},
            )
        except UserError as error:
            raise CommandError(error.sentence) from error
        parameters = model.facts.get("parameters") or model.report.get("parameters")
        size = f", {number_words(parameters)} parameters" if parameters else ""
        where = f" at {model.base_url}" if model.base_url else ""
        self.stdout.write(f"{model.key}: {model.name} ({model.get_provider_display()}{where}{size}) can be chosen now.")


def _price(options: dict[str, Any]) -> dict[str, Any]:
    """The price as the catalogue writes it; empty when no amount was given."""
    amounts = {
        f"{kind}_per_million": options[f"{kind}_price"] for kind in PRICES if options[f"{kind}_price"] is not None
    }
    if not amounts:
        return {}
    today = timezone.localdate().isoformat()
    return {"currency": options["currency"].upper(), **amounts, "url": options["price_url"], "date": today}
