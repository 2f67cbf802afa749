"""The app that carries the pieces every page is built from."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class WebKitConfig(AppConfig):
    """Holds template tags, form rendering, errors, server-sent events and pagination; it stores nothing."""

    name = "web_kit"
    label = "web_kit"
    verbose_name = _("Page parts")
