"""The socket's side: reads a request, lets go wrong what shall, answers."""

from __future__ import annotations

import email.parser
import email.policy
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tests.protocol_server.calls import ROUTES
from tests.protocol_server.trouble import Refusal

if TYPE_CHECKING:
    from tests.protocol_server.server import ProtocolServer


class Http(ThreadingHTTPServer):
    daemon_threads = True
    house: ProtocolServer


class Handler(BaseHTTPRequestHandler):
    """One request: trouble first, then the key, then the call."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one packet: two would wait 40 ms for each other
    server: Http

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        house = self.server.house
        parts = urlsplit(self.path)
        path = parts.path.removeprefix("/v1")
        with house.lock:
            house.requests.append((self.command, path))
            house.authorizations.append(self.headers.get("Authorization", ""))
            trouble = next((one for one in house.troubles if one.fits(self.command, path)), None)
            if trouble is not None:
                trouble.times -= 1
        if trouble is not None and trouble.how == "cut":
            self.rfile.read(min(512, int(self.headers.get("Content-Length") or 0)))
            return self._hang_up()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if trouble is not None and trouble.how == "silence":
            house.stay_silent()
            return self._hang_up()
        if trouble is not None and trouble.how == "status":
            return self._send(
                trouble.status, Refusal(trouble.status, trouble.message, code=trouble.code).body(), trouble.headers
            )
        try:
            with house.lock:
                status, answer = 200, self._called(house, path, dict(parse_qsl(parts.query)), body)
        except Refusal as refusal:
            status, answer = refusal.status, refusal.body()
        if trouble is not None and trouble.how == "lost_answer":
            return self._hang_up()
        return self._send(status, answer, {})

    def _called(self, house: ProtocolServer, path: str, query: dict[str, str], body: bytes) -> Any:
        if self.headers.get("Authorization") != f"Bearer {house.key}":
            raise Refusal(401, "Incorrect API key provided. You can find your API key at the provider's site.",
                          code="invalid_api_key")  # fmt: skip
        for method, pattern, call in ROUTES:
            found = re.fullmatch(pattern, path)
            if method == self.command and found is not None:
                return call(house, found.groups(), query, self._read(body))
        raise Refusal(404, f"Invalid URL ({self.command} /v1{path})")

    def _read(self, body: bytes) -> dict[str, Any]:
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/form-data"):
            return dict(json.loads(body)) if body else {}
        head = f"Content-Type: {kind}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        fields: dict[str, Any] = {}
        for part in message.iter_parts():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            fields[str(name)] = (part.get_filename(), content) if part.get_filename() else bytes(content).decode()
        return fields

    def _send(self, status: int, answer: Any, headers: dict[str, str]) -> None:
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header(
            "Content-Type", "application/octet-stream" if isinstance(answer, bytes) else "application/json"
        )
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(content)
            self.wfile.flush()
        except OSError:
            self.close_connection = True

    def _hang_up(self) -> None:
        self.close_connection = True
        try:
            self.connection.shutdown(2)
        except OSError:
            pass
