"""The provider on the line: the ``openai`` package behind our own guard of addresses, and its failures in our words."""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import httpx2
import openai

from finetune_engine.errors import EngineError, FailureReason, UserError
from finetune_engine.net import HostPrivate, HostUnknown, checked_address
from finetune_engine.ports import Run, Stopped
from finetune_engine.train.provider.settings import ProviderSettings

CONNECT_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 600.0
GLANCE_SECONDS = 0.2  # how often a waiting run looks for a stop request
NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
FILE_PARAMETERS = frozenset({"training_file", "validation_file"})
MODEL_CODES = frozenset({"model_not_found", "model_not_available", "invalid_model"})

T = TypeVar("T")


def connect(settings: ProviderSettings, key: str) -> openai.OpenAI:
    """A client that speaks to the settings' address and to no other. Raises UserError without a key.

    It never repeats a request by itself: ``Line`` does, so that a stop request is heard meanwhile.
    """
    if not key:
        raise UserError(
            "no_provider_key",
            "There is no key for this provider. An owner adds one on the page 'Providers and budget'.",
            reason="bad_config",
        )
    return guarded_client(settings, key, answer_seconds=settings.answer_seconds)


class Destination(Protocol):
    """Where requests may go: one address, and the private hosts that the operator allows."""

    @property
    def base_url(self) -> str:
        """The address, path included."""

    @property
    def allowed_hosts(self) -> Sequence[str]:
        """Hosts as ``host`` or ``host:port``."""


def guarded_client(destination: Destination, key: str, *, answer_seconds: float) -> openai.OpenAI:
    """A client for one address that repeats nothing by itself and follows no redirect."""
    # httpx2's times begin anew with every piece, so a large upload that moves on is not cut.
    timeout = httpx2.Timeout(answer_seconds, connect=min(CONNECT_SECONDS, answer_seconds))
    transport = GuardedTransport(destination)
    http = httpx2.Client(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False)
    return openai.OpenAI(
        api_key=key, base_url=destination.base_url, max_retries=0, timeout=timeout, http_client=http, organization=None
    )


class GuardedTransport(httpx2.HTTPTransport):
    """Lets requests to one origin through, to an address that was checked at this very moment.

    Redirects are off, so the key cannot follow one elsewhere.
    """

    def __init__(self, destination: Destination) -> None:
        super().__init__(trust_env=False)
        self._allowed = destination.allowed_hosts
        self._origin = _origin(destination.base_url)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it. Raises UserError when it would go anywhere else, or into a private network."""
        if _origin(str(request.url)) != self._origin:
            raise UserError("foreign_address", f"A request to {request.url.host} was held back.", reason="bad_config")
        _, host, port = self._origin
        try:
            address = checked_address(host, port, self._allowed)
        except HostUnknown as error:
            raise httpx2.ConnectError(f"there is no host {host}", request=request) from error
        except HostPrivate as error:
            raise UserError(
                "host_not_allowed",
                f"The provider's host {host} is on a private network, which this site may not reach. The operator can allow "
                "it with OUTBOUND_ALLOWED_HOSTS.",
                reason="bad_config",
            ) from error
        # The certificate must be that of the name, though the connection goes to the address.
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=str(address))
        return super().handle_request(request)


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


class Line:
    """Calls to the provider that are repeated while their trouble may pass, with growing pauses and its Retry-After."""

    def __init__(self, run: Run, settings: ProviderSettings) -> None:
        self.run = run
        self.settings = settings

    def call(self, ask: Callable[[], T], *, for_ever: bool = False) -> T:
        """What ``ask`` returns. Gives up after the settings' patience unless ``for_ever``.

        Raises UserError or EngineError in our words, and Stopped when the run is to end meanwhile.
        """
        began, failures = self.run.clock.monotonic(), 0
        while True:
            try:
                return ask()
            except openai.OpenAIError as error:
                if not may_pass(error):
                    raise explained(error) from error
                failures += 1
                if not for_ever and self.run.clock.monotonic() - began > self.settings.patience_seconds:
                    raise explained(error) from error
                self.pause_after(error, failures)

    def pause_after(self, error: openai.OpenAIError, failures: int) -> None:
        """Tell of the first failure in a row, then wait. Raises Stopped."""
        seconds = pause_seconds(error, failures, self.settings.first_pause_seconds)
        if failures == 1:
            message = f"{_sentence(error)} Trying again in {seconds:.0f} s."
            self.run.emit("warn", level="warn", code="provider_trouble", message=message)
        self.wait(seconds, until_asked=False)

    def wait(self, seconds: float, *, until_asked: bool = True) -> str:
        """Wait, or less when a person asks for something and ``until_asked``; returns what is asked (``go``: nothing).

        Raises Stopped for cancel and pause unless ``until_asked``, so that no failing call outlives such a wish.
        """
        end = self.run.clock.monotonic() + seconds
        while True:
            action = self.run.stop.action()
            if until_asked and action not in {"go", "hold"}:
                return action
            if action == "cancel" or action == "pause":
                raise Stopped(action)
            left = end - self.run.clock.monotonic()
            if left <= 0:
                return "go"
            self.run.sleep(min(GLANCE_SECONDS, left))


def may_pass(error: openai.OpenAIError) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, openai.RateLimitError):
        return error.code not in NO_MONEY
    if isinstance(error, openai.APIStatusError):
        return error.status_code >= 500 or error.status_code in {408, 409}
    return isinstance(error, openai.APIConnectionError)


def may_have_happened(error: openai.OpenAIError) -> bool:
    """Whether the request may have been carried out although its answer is lost."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code >= 500 or error.status_code == 408
    return isinstance(error, openai.APIConnectionError)


def pause_seconds(error: openai.OpenAIError, failures: int, first: float) -> float:
    """The provider's Retry-After, else ``first`` doubled with each failure and shaken by a quarter; 10 minutes at most."""
    asked = (
        _retry_after(error.response.headers.get("retry-after")) if isinstance(error, openai.APIStatusError) else None
    )
    if asked is not None:
        return min(asked, LONGEST_PAUSE_SECONDS)
    return min(LONGEST_PAUSE_SECONDS, first * 2.0 ** min(failures - 1, 20)) * random.uniform(0.75, 1.0)


def _retry_after(text: str | None) -> float | None:
    """Seconds, given as a number or as a date (RFC 9110, 10.2.3); None when there is none to be read."""
    if not text:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def explained(error: openai.OpenAIError) -> UserError | EngineError:
    """The failure as a job records it: a reason of the closed list, and the provider's own sentence."""
    if not isinstance(error, openai.APIStatusError):
        return EngineError("provider_error", _sentence(error), {"code": "provider_unreachable"})
    sentence, status = _sentence(error), error.status_code
    if status in {401, 403}:
        return UserError("provider_refused_key", sentence, reason="provider_error")
    if error.code in NO_MONEY:
        return UserError("provider_out_of_credit", sentence, reason="provider_error")
    if status in {400, 404, 413, 422}:
        return UserError(error.code or "provider_refused", sentence, error.param, reason=_reason(error))
    return EngineError("provider_error", sentence, {"code": error.code or f"status_{status}"})


def _reason(error: openai.APIStatusError) -> FailureReason:
    if error.param == "model" or error.code in MODEL_CODES:
        return "model_unavailable"
    return "bad_data" if error.param in FILE_PARAMETERS or error.status_code == 413 else "bad_config"


def _sentence(error: openai.OpenAIError) -> str:
    """What happened, with the provider's own words where it said any."""
    if isinstance(error, openai.APITimeoutError):
        return "The provider did not answer in time."
    if isinstance(error, openai.APIConnectionError):
        return "The provider cannot be reached, or it broke the connection."
    if not isinstance(error, openai.APIStatusError):
        return f"The provider's answer could not be used: {error}."
    said = error.body.get("message") if isinstance(error.body, dict) else None
    words = str(said).strip() if said else "no reason given"
    key = error.request.headers.get("authorization", "").removeprefix("Bearer ")
    words = words.replace(key, "...")[:500] if key else words[:500]  # some quote the key that they refuse
    return f"The provider answered with the status {error.status_code}: {words}"
