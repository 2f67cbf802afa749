"""The site: settings, addresses and the pages that look into every app."""

from finetune_site.celery import app as celery_app

__all__ = ["celery_app"]
