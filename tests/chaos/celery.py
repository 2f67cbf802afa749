"""The site's Celery application with the toy kind of job: ``celery -A tests.chaos.celery worker``."""

import django

from finetune_site.celery import app

django.setup()

from tests.chaos.kind import install  # noqa: E402

install()

__all__ = ["app"]
