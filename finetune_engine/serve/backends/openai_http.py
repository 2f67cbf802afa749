"""Answers from an OpenAI-compatible server at a checked address: a provider, vLLM, or another of these sites.

One event loop in one thread carries all of them. A caller who leaves closes the connection; nothing is asked twice once a
byte of the answer has come.
"""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import json
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from finetune_engine.errors import EngineError, UserError
from finetune_engine.net import HostPrivate, HostUnknown, checked_address
from finetune_engine.serve.backends.models import RemoteModel
from finetune_engine.serve.backends.openai_wire import deltas_of, request_body, usage_of
from finetune_engine.serve.exchange import CompletionRequest, Delta, Served, Tell, Usage

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
READ_SECONDS = 300.0
GLANCE_SECONDS = 0.1
"""How often it is looked whether the caller has gone."""
MAX_ANSWER_BYTES = 32 * 2**20
MAX_EVENT_BYTES = 8 * 2**20
MAX_STREAM_BYTES = 256 * 2**20
"""Of a stream, in which each token may bring twenty rivals along."""
LONGEST_PAUSE_SECONDS = 3600.0
CALLERS_FAULT = frozenset({400, 413, 422})
NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError)


class RemoteBusy(UserError):
    """The server behind has no room; ``retry_after_seconds`` is what it said, or None."""

    def __init__(self, sentence: str, retry_after_seconds: float | None) -> None:
        super().__init__("rate_limit_exceeded", sentence, reason="provider_error", status=429)
        self.retry_after_seconds = retry_after_seconds if retry_after_seconds is not None else 5.0


@dataclass
class _Manner:
    """What a server turned out to accept; learnt from its refusals, so that each is met once."""

    limit_name: str = "max_tokens"
    logprobs: bool = True

    def learn(self, words: str, sent: dict[str, Any], request: CompletionRequest) -> bool:
        """Whether the refusal was about something that can be said otherwise or left out."""
        if "max_tokens" in sent and "max_completion_tokens" in words:
            self.limit_name = "max_completion_tokens"
            return True
        if "logprobs" in sent and "logprob" in words and request.top_logprobs is None:
            self.logprobs = False
            return True
        return False


class OpenAIHttpBackend:
    """Speaks to the servers of RemoteModels. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._sessions: dict[tuple[str, tuple[str, ...]], aiohttp.ClientSession] = {}
        self._manners: dict[str, _Manner] = {}

    def submit(
        self,
        remote: RemoteModel,
        request: CompletionRequest,
        cancelled: threading.Event,
        tell: Tell,
        *,
        body: dict[str, Any] | None = None,
    ) -> None:
        """Ask; ``tell`` hears of everything, from another thread. ``body`` is sent as a plain completion, in place of what
        would be made of the request. Raises EngineError once closed."""
        with self._lock:
            if self._is_closed:
                raise _ending()
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._run, args=(self._loop,), name="openai-http", daemon=True)
                self._thread.start()
            asyncio.run_coroutine_threadsafe(self._answer(remote, request, cancelled, tell, body), self._loop)

    def close(self) -> None:
        """Close all connections. Whoever still waits for an answer is told so."""
        with self._lock:
            self._is_closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """The thread: until ``close``, and what is to be put away then."""
        try:
            loop.run_forever()
            # Whoever asked a moment ago begins first: what is cancelled before its first step can tell nobody.
            loop.run_until_complete(asyncio.sleep(0))
            asking = asyncio.all_tasks(loop)
            for task in asking:
                task.cancel()
            if asking:
                loop.run_until_complete(asyncio.wait(asking))
            for session in self._sessions.values():
                loop.run_until_complete(session.close())
        finally:
            loop.close()

    async def _answer(
        self,
        remote: RemoteModel,
        request: CompletionRequest,
        cancelled: threading.Event,
        tell: Tell,
        given: dict[str, Any] | None,
    ) -> None:
        asking = asyncio.ensure_future(self._ask(remote, request, tell, given))
        try:
            while not asking.done():
                await asyncio.wait({asking}, timeout=GLANCE_SECONDS)
                if cancelled.is_set():
                    asking.cancel()
        except asyncio.CancelledError:  # we are being closed
            tell(_ending())
            raise
        if asking.cancelled():
            tell(None)
            return
        problem = asking.exception()
        if problem is None:
            tell(None)
        else:
            tell(explained(problem, remote))

    async def _ask(
        self, remote: RemoteModel, request: CompletionRequest, tell: Tell, given: dict[str, Any] | None
    ) -> None:
        manner = self._manners.setdefault(remote.digest, _Manner())
        path = "chat/completions" if request.is_chat and given is None else "completions"
        while True:
            body = given or request_body(request, remote.model, logprobs=manner.logprobs, limit_name=manner.limit_name)
            async with await self._post(remote, path, body) as response:
                if response.status != 200:
                    problem, words = await _refusal(response, remote)
                    if given is None and response.status in CALLERS_FAULT and manner.learn(words, body, request):
                        continue
                    raise problem
                await _read_answer(response, request, remote, tell)
                return

    async def _post(self, remote: RemoteModel, path: str, body: dict[str, Any]) -> aiohttp.ClientResponse:
        """Send it, a second time where the first never reached anybody."""
        await check(remote)
        session = self._session(remote)
        headers = {"Authorization": f"Bearer {remote.key}"} if remote.key else {}
        url = f"{remote.base_url.rstrip('/')}/{path}"
        try:
            return await session.post(url, json=body, headers=headers, allow_redirects=False)
        except NEVER_SENT:
            return await session.post(url, json=body, headers=headers, allow_redirects=False)

    def _session(self, remote: RemoteModel) -> aiohttp.ClientSession:
        """Connections to one origin under one permission. Cookies, proxies and redirects are off."""
        parts = urlsplit(remote.base_url)
        key = (f"{parts.scheme}://{parts.netloc}", remote.allowed_hosts)
        if key not in self._sessions:
            connector = aiohttp.TCPConnector(
                resolver=CheckedResolver(remote.allowed_hosts), limit=0, ttl_dns_cache=0, use_dns_cache=False
            )
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
            self._sessions[key] = aiohttp.ClientSession(
                connector=connector, timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._sessions[key]


class CheckedResolver(AbstractResolver):
    """Gives the one address that was checked, so that the connection cannot go anywhere else."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._allowed = allowed

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        """Raises HostUnknown and HostPrivate."""
        loop = asyncio.get_running_loop()
        address = await loop.run_in_executor(None, checked_address, host, port, self._allowed)
        kind = socket.AF_INET if address.version == 4 else socket.AF_INET6
        return [
            ResolveResult(
                hostname=host, host=str(address), port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    async def close(self) -> None:
        """Nothing is held."""


async def check(remote: RemoteModel) -> None:
    """Refuse an address that may not be spoken to; a host given as a number never meets the resolver."""
    parts = urlsplit(remote.base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EngineError("model_unavailable", f"{remote.base_url} is not an http address")
    try:
        ipaddress.ip_address(parts.hostname)
    except ValueError:
        return
    checked_address(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80), remote.allowed_hosts)


async def _read_answer(
    response: aiohttp.ClientResponse, request: CompletionRequest, remote: RemoteModel, tell: Tell
) -> None:
    usage: Usage | None = None
    answered: set[int] = set()

    def pass_on(body: dict[str, Any]) -> None:
        deltas = list(deltas_of(body, request))
        answered.update(delta.index for delta in deltas)
        if deltas:
            tell(deltas)

    if request.stream:
        async for chunk in _events(response):
            if isinstance(chunk.get("error"), dict):
                message = _without_key(str(chunk["error"].get("message") or "no reason given"), remote)[:500]
                raise EngineError("provider_error", f"the answer broke off: {message}")
            usage = usage_of(chunk) or usage
            pass_on(chunk)
    else:
        answer = json.loads(await _limited(response))
        usage = usage_of(answer)
        pass_on(answer)
    if len(answered) < request.choice_count:  # some servers know no 'n', others send an error with the status 200
        raise EngineError("provider_error", f"it gave {len(answered)} of {request.choice_count} answers")
    tell([Delta(usage=usage or Usage(0, 0), served=Served(remote.digest))])


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """The JSON bodies of server-sent events, until ``[DONE]``. Raises EngineError when the stream breaks off before it."""
    held, received = b"", 0
    async for piece in response.content.iter_any():
        received += len(piece)
        if received > MAX_STREAM_BYTES:
            raise EngineError("provider_error", "the stream is too large")
        held += piece
        if len(held) > MAX_EVENT_BYTES:
            raise EngineError("provider_error", "an event of the stream is too large")
        *lines, held = held.split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            yield json.loads(data)
    raise EngineError("provider_error", "the stream broke off")


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise EngineError("provider_error", "the answer is too large")
    return bytes(body)


async def _refusal(response: aiohttp.ClientResponse, remote: RemoteModel) -> tuple[Exception, str]:
    """What a status other than 200 means to the caller, and the server's words."""
    words, code, param = "", "", None
    try:
        error = json.loads((await _limited(response))[:100_000])
        error = error.get("error", error)
        if isinstance(error, str):
            error = {"message": error}
        words, code, param = str(error.get("message") or ""), str(error.get("code") or ""), error.get("param")
    except (ValueError, AttributeError):
        pass
    words = _without_key(words, remote).strip()[:500] or "no reason given"
    status = response.status
    if status == 429:
        seconds = retry_after(response.headers.get("Retry-After"))
        return RemoteBusy("The server behind this model is busy. Try again later.", seconds), words
    if status in CALLERS_FAULT:
        field = param if isinstance(param, str) else None
        code = code if code and not code.isdecimal() else "invalid_value"
        return UserError(code, words, field, reason="bad_config", status=status), words
    reason = f"{urlsplit(remote.base_url).netloc} answered with the status {status}: {words}"
    return EngineError("model_unavailable" if status == 404 else "provider_error", reason), words


def _ending() -> EngineError:
    return EngineError("model_unavailable", "this model server is about to end")


def _without_key(words: str, remote: RemoteModel) -> str:
    """Some servers quote the key that they refuse."""
    return words.replace(remote.key, "...") if remote.key else words


def retry_after(text: str | None) -> float | None:
    """Seconds, an hour at most, given as a number or as a date (RFC 9110, 10.2.3); None when there is none to be read."""
    if not text:
        return None
    if text.strip().isdecimal():
        return min(LONGEST_PAUSE_SECONDS, float(text))
    try:
        seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return None
    return min(LONGEST_PAUSE_SECONDS, max(0.0, seconds))


def explained(problem: BaseException, remote: RemoteModel) -> Exception:
    """Any trouble in our words."""
    where = urlsplit(remote.base_url).netloc
    causes: list[BaseException] = [problem, *(one for one in (problem.__cause__, problem.__context__) if one)]
    for cause in causes:
        if isinstance(cause, UserError | EngineError):
            return cause
        if isinstance(cause, HostPrivate):
            return EngineError(
                "model_unavailable", f"{where} is on a private network that the operator has not allowed"
            )
        if isinstance(cause, HostUnknown):
            return EngineError("model_unavailable", f"there is no host {where}")
    if isinstance(problem, TimeoutError | aiohttp.ServerTimeoutError):
        return EngineError("provider_error", f"{where} did not answer in time")
    if isinstance(problem, aiohttp.ClientError | OSError):
        return EngineError("provider_error", f"{where} cannot be reached, or broke the connection: {problem}")
    if isinstance(problem, ValueError | KeyError | TypeError | AttributeError | RecursionError):
        return EngineError("provider_error", f"{where} gave an answer that cannot be read: {problem}")
    logger.error("asking %s failed", where, exc_info=problem)
    return EngineError("internal", str(problem))
