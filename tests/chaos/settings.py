"""The product's settings for a world that lives for a minute: its tables are made without replaying their history."""

from finetune_site.settings import *  # noqa: F403
from finetune_site.settings import INSTALLED_APPS

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


class _NoHistory(dict):
    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> None:
        return None


MIGRATION_MODULES = _NoHistory()
INSTALLED_APPS = [*INSTALLED_APPS]
