"""The one way out: what it fetches, and what it refuses to touch."""

from __future__ import annotations

import io
import ipaddress
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from finetune_engine import net
from finetune_engine.errors import UserError
from web_kit import outgoing


class Answers(BaseHTTPRequestHandler):
    """A server on this machine, such as an attacker would like to reach."""

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["Host"]))
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path.partition("?")[2])
            self.end_headers()
            return
        if self.path == "/slow-headers":
            for _ in range(100):
                self.wfile.write(b"H")
                time.sleep(0.1)
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path == "/named":
            self.send_header("Content-Disposition", 'attachment; filename="clauses.csv"')
        if self.path == "/slow":
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b"x")
                time.sleep(0.1)
            return
        if self.path == "/endless":
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                return
        self.end_headers()
        self.wfile.write(b"text,label\na,b\n")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server():
    running = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    running.seen = []
    threading.Thread(target=running.serve_forever, args=[0.02], daemon=True).start()
    yield running
    running.shutdown()


@pytest.fixture
def address(server, settings) -> str:
    settings.OUTBOUND_ALLOWED_HOSTS = [f"127.0.0.1:{server.server_port}"]
    return f"http://127.0.0.1:{server.server_port}"


def fetch(url: str, most_bytes: int = 1 << 20, seconds: float = 5.0) -> tuple[outgoing.Fetched, bytes]:
    file = io.BytesIO()
    return outgoing.download(url, file, most_bytes=most_bytes, seconds=seconds), file.getvalue()


def refused(url: str, **options: float) -> str:
    with pytest.raises(UserError) as caught:
        fetch(url, **options)
    assert caught.value.field == "url"
    assert len(caught.value.sentence) > 20
    return caught.value.code


def test_an_allowed_host_is_fetched_and_the_file_has_its_name(address):
    fetched, content = fetch(f"{address}/data/clauses%20a.csv?x=1")
    assert content == b"text,label\na,b\n"
    assert (fetched.name, fetched.size) == ("clauses a.csv", len(content))
    assert fetch(f"{address}/named")[0].name == "clauses.csv"


def test_the_host_that_was_typed_is_the_host_that_is_asked_for(server, settings):
    settings.OUTBOUND_ALLOWED_HOSTS = ["localhost"]
    fetch(f"http://localhost:{server.server_port}/a.csv")
    assert server.seen == [("/a.csv", f"localhost:{server.server_port}")]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "0.0.0.0", "10.1.2.3", "192.168.1.1", "172.16.0.9", "169.254.169.254", "100.64.0.1",
     "[::1]", "[fec0::1]", "[fe80::1]", "[fd00::1]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[64:ff9b::7f00:1]", "2130706433",
     "0x7f.1", "127.1", "224.0.0.1", "255.255.255.255"],
)  # fmt: skip
def test_private_addresses_are_refused_however_they_are_written(host, server, settings):
    settings.OUTBOUND_ALLOWED_HOSTS = []
    assert refused(f"http://{host}:{server.server_port}/") in {"host_not_allowed", "host_not_found"}
    assert server.seen == []


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://example.org/a", "gopher://x", "//example.org/a", "example.org", "", "http://",
     "http://user:secret@example.org/", "http://[::1", "javascript:alert(1)", "http://exa mple.org/"],
)  # fmt: skip
def test_only_plain_web_addresses_are_taken(url):
    assert refused(url) in {"bad_url", "host_not_found"}


def test_a_name_that_does_not_exist_is_said_so():
    assert refused("http://nowhere.invalid/a.csv") == "host_not_found"


def test_a_redirect_to_a_private_address_is_refused(address, settings):
    assert refused(f"{address}/to?http://127.0.0.1:1/secret") == "host_not_allowed"
    assert refused(f"{address}/to?http://169.254.169.254/latest/meta-data") == "host_not_allowed"
    assert refused(f"{address}/to?file:///etc/passwd") == "bad_url"


def test_a_redirect_to_an_allowed_address_is_followed_but_not_for_ever(address):
    assert fetch(f"{address}/to?/a.csv")[1].startswith(b"text")
    assert refused(f"{address}/to?{'/to?' * 9}/a.csv") == "too_many_redirects"


def test_the_address_that_was_checked_is_the_one_that_is_connected(server, settings, monkeypatch):
    """A name that answers differently the second time gains nothing."""
    asked = []

    def changing(host, port, **kwargs):
        asked.append(host)
        answer = "93.184.215.14" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, port))]

    connected = []

    def connect(pair, *args, **kwargs):
        connected.append(pair[0])
        raise OSError("no route in a test")

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    monkeypatch.setattr(socket, "create_connection", connect)
    assert refused(f"http://rebinding.example:{server.server_port}/") == "not_reached"
    assert connected == ["93.184.215.14"]
    assert server.seen == []


def test_one_private_address_among_public_ones_is_enough_to_refuse(settings, monkeypatch):
    def both(host, port, **kwargs):
        return [(socket.AF_INET, 1, 6, "", (a, port)) for a in ("93.184.215.14", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    assert refused("http://two-faced.example/") == "host_not_allowed"


def test_what_never_ends_is_cut_by_size(address):
    assert refused(f"{address}/endless", most_bytes=100_000) == "too_large"


@pytest.mark.parametrize("path", ["slow", "slow-headers"])
def test_what_drips_is_cut_by_time(address, path):
    began = time.monotonic()
    assert refused(f"{address}/{path}", seconds=0.6) == "too_slow"
    assert time.monotonic() - began < 3


def test_an_answer_that_is_no_file_is_said_so(address):
    assert refused(f"{address}/missing") == "bad_answer"


def test_a_port_where_nobody_listens_is_said_so(settings):
    settings.OUTBOUND_ALLOWED_HOSTS = ["127.0.0.1"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert refused(f"http://127.0.0.1:{port}/") == "not_reached"


def test_a_small_request_gives_status_and_body_whatever_they_are(address):
    status, body = outgoing.send("GET", f"{address}/a.csv", most_bytes=4)
    assert (status, body) == (200, b"text")
    assert outgoing.send("GET", f"{address}/missing")[0] == 404


@pytest.mark.parametrize(("text", "public"), [("8.8.8.8", True), ("2606:4700::1111", True), ("2002:7f00:1::", False)])
def test_addresses_that_carry_others_inside_are_judged_by_both(text, public):
    assert net.is_public(ipaddress.ip_address(text)) is public
