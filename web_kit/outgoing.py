"""The one way out: requests to addresses that people typed into the site.

A name is looked up once, every address it stands for is checked, and the connection goes to a checked address, so that
no later answer of the name service can lead it elsewhere. Loopback, private, link-local and reserved addresses are
refused unless the operator allows the host (``OUTBOUND_ALLOWED_HOSTS``: ``host`` or ``host:port``). Redirects are checked
the same way. Size and time have an end. Proxies of the environment are not used: they would connect without our check.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote

import httpx
from django.conf import settings
from django.utils.translation import gettext as _

from finetune_engine.errors import UserError
from finetune_engine.net import HostPrivate, HostUnknown, checked_address

MOST_REDIRECTS = 5
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 20.0
_REDIRECTS = {301, 302, 303, 307, 308}
_FILENAME = re.compile(r"""filename="?([^";]+)"?""", re.IGNORECASE)


@dataclass(frozen=True)
class Fetched:
    """What came back. ``name`` is what the file seems to be called; ``size`` is in bytes."""

    status: int
    name: str
    size: int
    content_type: str
    url: str


@dataclass(frozen=True)
class _Target:
    """Where one request goes: the address as typed, and the checked address it connects to."""

    url: httpx.URL
    address: str

    @property
    def connect_url(self) -> httpx.URL:
        return self.url.copy_with(host=self.address)

    @property
    def host_header(self) -> str:
        return self.url.netloc.decode("ascii")


def download(url: str, file: BinaryIO, *, most_bytes: int, seconds: float) -> Fetched:
    """Write what ``url`` answers to ``file``, following up to five redirects.

    Raises UserError (field ``url``): ``bad_url``, ``host_not_allowed``, ``host_not_found``, ``not_reached``, ``bad_answer`` (a
    status other than 200), ``too_large`` (413) above ``most_bytes``, ``too_slow`` after ``seconds`` in all.
    """
    deadline = time.monotonic() + seconds
    target = _checked(url)
    with _client() as client:
        for _hop in range(MOST_REDIRECTS + 1):
            with _sent(client, target, deadline) as response:
                if response.status_code in _REDIRECTS:
                    target = _redirected(target, response)
                    continue
                if response.status_code != 200:
                    raise _refused(
                        "bad_answer",
                        _("The address answered with the status %(status)s, not with a file.")
                        % {"status": response.status_code},
                    )
                size = _copied(response, file, most_bytes, deadline)
                return Fetched(
                    status=200,
                    name=_name_of(response, target.url),
                    size=size,
                    content_type=response.headers.get("Content-Type", ""),
                    url=str(target.url),
                )
    raise _refused("too_many_redirects", _("The address leads from one to the next without an end."))


def send(
    method: str,
    url: str,
    *,
    content: bytes = b"",
    headers: Mapping[str, str] | None = None,
    seconds: float = 10.0,
    most_bytes: int = 1 << 20,
) -> tuple[int, bytes]:
    """One small request without redirects (a webhook, a provider's answer): its status and body, cut at ``most_bytes``.

    Raises UserError as ``download`` does, but for no status.
    """
    deadline = time.monotonic() + seconds
    target = _checked(url)
    kept: list[bytes] = []
    with _client() as client, _sent(client, target, deadline, method, content, headers or {}) as response:
        size = 0
        for block in _blocks(response, deadline):
            kept.append(block[: most_bytes - size])
            size += len(block)
            if size >= most_bytes:
                break
        return response.status_code, b"".join(kept)


def check(url: str) -> None:
    """Raises UserError when a request to ``url`` would be refused now, as ``download`` does before it connects."""
    _checked(url)


def _client() -> httpx.Client:
    timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
    return httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False)


class _sent:
    """``with _sent(...) as response``: one request to a checked address; network failures are UserErrors."""

    def __init__(
        self,
        client: httpx.Client,
        target: _Target,
        deadline: float,
        method: str = "GET",
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        given = {
            "Accept-Encoding": "identity",
            "User-Agent": "Tunesmith",
            **(headers or {}),
            "Host": target.host_header,
        }
        self.client, self.deadline = client, deadline
        self.request = client.build_request(
            method,
            target.connect_url,
            content=content or None,
            headers=given,
            # The certificate must be that of the name, though the connection goes to the address.
            extensions={"sni_hostname": target.url.host, "trace": self._trace, **_timeouts(deadline)},
        )
        self.response: httpx.Response | None = None
        self._streams: list[Any] = []
        # A timeout of httpx begins anew with every byte; this ends a host that drips its headers, too.
        self._watch = threading.Timer(max(0.0, deadline - time.monotonic()), self._cut)
        self._watch.daemon = True

    def __enter__(self) -> httpx.Response:
        if time.monotonic() >= self.deadline:
            raise _too_slow()
        self._watch.start()
        try:
            self.response = self.client.send(self.request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            self._watch.cancel()
            raise self._failure(error) from error
        return self.response

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._watch.cancel()
        if self.response is not None:
            self.response.close()
        if isinstance(error, httpx.HTTPError):
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> UserError:
        return _too_slow() if time.monotonic() >= self.deadline else _not_reached(error)

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._streams.append(info["return_value"])

    def _cut(self) -> None:
        for stream in self._streams:
            try:
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed already


def _timeouts(deadline: float) -> dict[str, Any]:
    left = max(0.1, deadline - time.monotonic())
    return {
        "timeout": {
            "connect": min(CONNECT_SECONDS, left),
            "read": min(SILENCE_SECONDS, left),
            "write": min(SILENCE_SECONDS, left),
            "pool": CONNECT_SECONDS,
        }
    }


def _checked(text: str) -> _Target:
    """The address, looked up and checked."""
    try:
        url = httpx.URL(text.strip())
        host = url.host
    except (httpx.InvalidURL, ValueError) as error:
        raise _refused(
            "bad_url", _("This is not a web address. It should look like https://example.org/data.csv.")
        ) from error
    if url.scheme not in {"http", "https"} or not host:
        raise _refused("bad_url", _("Only addresses that begin with http:// or https:// can be fetched."))
    if url.userinfo:
        raise _refused("bad_url", _("Leave the name and password out of the address."))
    port = url.port or (443 if url.scheme == "https" else 80)
    ascii_host = url.raw_host.decode("ascii")
    try:
        address = checked_address(ascii_host, port, settings.OUTBOUND_ALLOWED_HOSTS)
    except HostUnknown as error:
        raise _refused("host_not_found", _("There is no host %(host)s. Check the address.") % {"host": host}) from error
    except HostPrivate as error:
        raise _refused(
            "host_not_allowed",
            _(
                "The host %(host)s is on a private network, which this site may not reach. The operator can allow it with "
                "OUTBOUND_ALLOWED_HOSTS."
            )
            % {"host": host},
        ) from error
    return _Target(url=url.copy_with(fragment=None), address=str(address))


def _redirected(target: _Target, response: httpx.Response) -> _Target:
    try:
        following = target.url.join(response.headers.get("Location", ""))
    except (httpx.InvalidURL, ValueError) as error:
        raise _refused("bad_answer", _("The address leads to something that is no address.")) from error
    if target.url.scheme == "https" and following.scheme == "http":
        raise _refused("bad_answer", _("The address leads from https to http, where others could read along."))
    return _checked(str(following))


def _copied(response: httpx.Response, file: BinaryIO, most_bytes: int, deadline: float) -> int:
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > most_bytes:
        raise _too_large(most_bytes)
    size = 0
    for block in _blocks(response, deadline):
        size += len(block)
        if size > most_bytes:
            raise _too_large(most_bytes)
        file.write(block)
    return size


def _blocks(response: httpx.Response, deadline: float) -> Any:
    for block in response.iter_raw():
        if time.monotonic() > deadline:
            raise _too_slow()
        yield block
    if time.monotonic() > deadline:  # the watch ended it, which may look like the end of the file
        raise _too_slow()


def _name_of(response: httpx.Response, url: httpx.URL) -> str:
    given = _FILENAME.search(response.headers.get("Content-Disposition", ""))
    name = given.group(1) if given else unquote(PurePosixPath(url.path).name)
    if response.headers.get("Content-Encoding", "").strip().lower() == "gzip" and not name.endswith(".gz"):
        name += ".gz"
    return name or url.host


def _refused(code: str, sentence: str, status: int = 422) -> UserError:
    return UserError(code, sentence, field="url", status=status)


def _too_large(most_bytes: int) -> UserError:
    from django.template.defaultfilters import filesizeformat

    size = filesizeformat(most_bytes).replace("\xa0", " ")
    return _refused("too_large", _("The file at this address is larger than %(size)s.") % {"size": size}, 413)


def _too_slow() -> UserError:
    return _refused("too_slow", _("The address answers too slowly. Download the file yourself and upload it here."))


def _not_reached(error: Exception) -> UserError:
    if isinstance(error, httpx.TimeoutException):
        return _too_slow()
    if "CERTIFICATE" in str(error).upper():
        return _refused("not_reached", _("The certificate of this address is not valid, so nothing was fetched."))
    return _refused("not_reached", _("This address cannot be reached. Check it, or try again later."))
