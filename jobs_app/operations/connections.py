"""Operations on a project's keys at providers: add, change, check, delete."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.operations import record
from accounts_app.permissions import Actor
from finetune_engine.errors import UserError
from finetune_engine.net import HostPrivate, HostUnknown, checked_address, is_allowed
from jobs_app.models import ProviderConnection
from jobs_app.queries.providers import is_openai_address
from jobs_app.uses import refuse_if_key_is_used
from web_kit import outgoing, secrets

SHORTEST_KEY, LONGEST_KEY = 8, 500
CHECK_SECONDS = 15.0


def add_connection(*, actor: Actor, name: str, base_url: str, key: str) -> ProviderConnection:
    """Keep a key for an address. Raises UserError for an address that may not be reached, an unfit key, or an address that
    has a key already."""
    address, key = checked_base_url(base_url), checked_key(key)
    try:
        with transaction.atomic():
            connection = ProviderConnection.objects.create(
                project=actor.project,
                name=_name(name, address),
                base_url=address,
                secret=secrets.encrypt(key),
                last_four=key[-4:],
                created_by=actor.user,
            )
            record(actor=actor, project=actor.project, act="connection.add", subject=_subject(connection))
    except IntegrityError as taken:
        raise _taken(address) from taken
    return connection


def change_connection(
    *, actor: Actor, connection: ProviderConnection, name: str, base_url: str, key: str = ""
) -> ProviderConnection:
    """Another name, address or key; an empty ``key`` keeps the stored one. Raises as ``add_connection``, and ``key_required``
    when the address changes without a key: a stored key is never sent to an address that it was not entered for."""
    address = checked_base_url(base_url)
    if address != connection.base_url and not key:
        raise UserError(
            "key_required", _("The address has changed: enter the key for the new address, too."), field="key"
        )
    if address != connection.base_url:
        refuse_if_key_is_used(connection)
    changed = [part for part, is_new in (("address", address != connection.base_url), ("key", bool(key))) if is_new]
    connection.name, connection.base_url = _name(name, address), address
    if key:
        key = checked_key(key)
        connection.secret, connection.last_four = secrets.encrypt(key), key[-4:]
    if changed:
        connection.checked_at, connection.problem = None, ""
    try:
        with transaction.atomic():
            connection.save()
            subject = _subject(connection)
            record(
                actor=actor, project=actor.project, act="connection.change", subject=subject, data={"changed": changed}
            )
    except IntegrityError as taken:
        raise _taken(address) from taken
    return connection


def check_connection(*, actor: Actor, connection: ProviderConnection) -> ProviderConnection:
    """Ask the provider for its list of models with the stored key, and note what came of it."""
    connection.problem = _problem_of(connection)[:300]
    connection.checked_at = timezone.now()
    with transaction.atomic():
        connection.save(update_fields=["problem", "checked_at"])
        data = {"ok": not connection.problem}
        record(actor=actor, project=actor.project, act="connection.check", subject=_subject(connection), data=data)
    return connection


def delete_connection(*, actor: Actor, connection: ProviderConnection) -> None:
    """Forget the key. Raises UserError (409) while a training, or something above it, needs it."""
    refuse_if_key_is_used(connection)
    with transaction.atomic():
        record(actor=actor, project=actor.project, act="connection.delete", subject=_subject(connection))
        connection.delete()


def reencrypt_secrets() -> int:
    """Encrypt every stored key under the newest SECRET_KEY; returns how many. Raises UserError at one that is unreadable."""
    with transaction.atomic():
        rows = list(ProviderConnection.objects.select_for_update())
        for row in rows:
            ProviderConnection.objects.filter(pk=row.pk).update(secret=secrets.rotated(row.secret))
    return len(rows)


def checked_base_url(text: str) -> str:
    """The address without a slash at its end. Raises UserError: http(s) only, no name or password in it, no private host
    unless the operator allows it, and https unless the host is such a one, because a key travels there."""
    address = text.strip().rstrip("/")
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts, host, port = urlsplit(""), "", 0
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment or len(address) > 300:
        raise _bad_address(_("This is no address of a provider. It should look like https://api.openai.com/v1."))
    if parts.username or parts.password:
        raise _bad_address(_("Leave the name and password out of the address."))
    allowed = is_allowed(host, port, settings.OUTBOUND_ALLOWED_HOSTS)
    if parts.scheme == "http" and not allowed:
        raise _bad_address(_("Use https: over http others could read the key."))
    try:
        checked_address(host, port, settings.OUTBOUND_ALLOWED_HOSTS)
    except HostUnknown:
        pass  # the name service may be away; the check says so later
    except HostPrivate as private:
        sentence = _(
            "The host %(host)s is on a private network, which this site may not reach. The operator can allow it with "
            "OUTBOUND_ALLOWED_HOSTS."
        )
        raise UserError("host_not_allowed", sentence % {"host": host}, field="base_url") from private
    return address


def checked_key(text: str) -> str:
    """The key without blanks around it. Raises UserError for what cannot be one."""
    key = text.strip()
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(
            "bad_key", _("This cannot be a key: copy it whole, without blanks, from the provider's page."), field="key"
        )
    return key


def key_of(connection: ProviderConnection) -> str:
    """The key in clear, for one request. Raises UserError when the site's SECRET_KEY has changed since."""
    return secrets.decrypt(connection.secret)


def _problem_of(connection: ProviderConnection) -> str:
    try:
        headers = {"Authorization": f"Bearer {key_of(connection)}", "Accept": "application/json"}
        status, body = outgoing.send(
            "GET", f"{connection.base_url}/models", headers=headers, seconds=CHECK_SECONDS, most_bytes=4 << 20
        )
    except UserError as error:
        return error.sentence
    if status == 200:
        return "" if _lists_models(body) else _("The address answers, but not as a provider of models does.")
    if status in {401, 403}:
        return _("The provider refused the key (status %(status)s).") % {"status": status}
    if status == 429:
        return _("The provider is busy or the account has no credit (status 429). Check again later.")
    return _("The provider answered with the status %(status)s.") % {"status": status}


def _lists_models(body: bytes) -> bool:
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and isinstance(answer.get("data"), list)


def _name(name: str, address: str) -> str:
    return name.strip()[:120] or ("OpenAI" if is_openai_address(address) else urlsplit(address).hostname or "")


def _subject(connection: ProviderConnection) -> str:
    return f"connection {connection.pk} to {connection.base_url}"


def _bad_address(sentence: str) -> UserError:
    return UserError("bad_base_url", sentence, field="base_url")


def _taken(address: str) -> UserError:
    sentence = _("This project has a key for %(address)s already. Change that one.") % {"address": address}
    return UserError("address_taken", sentence, field="base_url", status=409)
