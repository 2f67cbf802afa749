"""Secrets at rest: keys that people entrust to the site are stored encrypted, under keys made from ``SECRET_KEY``.

Fernet (AES-128-CBC with HMAC-SHA256) as in the ``cryptography`` package. After a change of ``SECRET_KEY`` the old one goes
into ``SECRET_KEY_FALLBACKS`` until ``manage.py rotate_secrets`` has encrypted everything anew.
"""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.utils.translation import gettext as _

from finetune_engine.errors import UserError

_PURPOSE = b"tunesmith secrets at rest, 1"


def encrypt(secret: str) -> str:
    """The secret as text that only this site can read back."""
    return _box().encrypt(secret.encode()).decode("ascii")


def decrypt(stored: str) -> str:
    """The secret again. Raises UserError ``secret_unreadable`` when it was encrypted under a key that is gone."""
    try:
        return _box().decrypt(stored.encode("ascii")).decode()
    except InvalidToken as lost:
        raise UserError(
            "secret_unreadable",
            _("A stored key can no longer be read, because the site's SECRET_KEY has changed. Enter the key again."),
            reason="bad_config",
        ) from lost


def rotated(stored: str) -> str:
    """The same secret, encrypted under the newest key. Raises as ``decrypt``."""
    return encrypt(decrypt(stored))


def _box() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(_derived(str(key))) for key in keys])


def _derived(key: str) -> bytes:
    return base64.urlsafe_b64encode(HKDF(SHA256(), 32, salt=None, info=_PURPOSE).derive(key.encode()))
