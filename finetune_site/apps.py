from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "finetune_site"
    label = "site"
    verbose_name = "Site"

    def ready(self) -> None:
        """Refuse unsafe production settings at start."""
        from finetune_site import checks  # noqa: F401  registers the system checks
