"""How much a key may ask, and how much it has asked in the running window."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import ApiKey, User


class KeyLimit(models.Model):
    """The limits of one key. NULL means the house's default (``settings``), 0 means none at all may be asked."""

    api_key = models.OneToOneField(ApiKey, primary_key=True, on_delete=models.CASCADE, related_name="limit")
    requests_per_minute = models.PositiveIntegerField(null=True)
    tokens_per_minute = models.PositiveIntegerField(null=True)
    tokens_per_month = models.PositiveBigIntegerField(null=True)
    updated_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    updated_at = models.DateTimeField(default=timezone.now)


class RateWindow(models.Model):
    """What all web processes together have taken of a limit in one window. They take a few at a time and spend them
    at home, so that a question needs no write; see ``serving_app.gateway.limits``."""

    id = models.BigAutoField(primary_key=True)
    scope = models.CharField(max_length=80)  # <key id>:<limit>
    start_at = models.DateTimeField()
    taken = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["scope", "start_at"], name="one_row_per_window")]
        indexes: ClassVar = [models.Index(fields=["start_at"], name="rate_window_start")]
