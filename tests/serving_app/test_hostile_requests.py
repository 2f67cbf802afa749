"""What nobody should send. Each gets the documented answer, and the next question of somebody else is answered as ever."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from tests.serving_app.stub_model import StubModel, announced_stub

pytestmark = pytest.mark.django_db(transaction=True)
CHAT = {"model": "production", "messages": [{"role": "user", "content": "Hello?"}]}


@pytest.fixture
def stub(deployed_base) -> Iterator[StubModel]:
    with announced_stub() as model:
        yield model


@pytest.fixture
def connect(stub, site) -> Iterator[Callable[[], socket.socket]]:
    """``connect()``: a bare connection to the site."""
    opened: list[socket.socket] = []
    where = urlsplit(site)

    def make(receive_bytes: int = 0) -> socket.socket:
        there = socket.socket()
        if receive_bytes:
            there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        there.settimeout(20)
        there.connect((where.hostname, where.port))
        opened.append(there)
        return there

    yield make
    for there in opened:
        there.close()


@pytest.fixture
def key(api_key) -> str:
    return api_key("predict")


@pytest.fixture(autouse=True)
def somebody_else(stub, ask) -> Iterator[None]:
    """Whatever the test did, a neighbour is answered afterwards, at once."""
    yield
    begun = time.monotonic()
    answer = ask("/v1/chat/completions", CHAT)
    assert (answer.status_code, time.monotonic() - begun < 60) == (200, True), answer.text


def _head(key: str, *lines: str, path: str = "/v1/chat/completions") -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def _answer(there: socket.socket) -> tuple[int, str]:
    """The status and everything until the server hangs up."""
    text = b""
    try:
        while part := there.recv(65536):
            text += part
    except ConnectionResetError:
        pass
    return int(text[9:12] or 0), text.decode()


def test_ten_megabytes_announced_are_413_and_not_read(connect, key, stub) -> None:
    there = connect()
    there.sendall(_head(key, "Content-Length: 10485760"))
    status, text = _answer(there)
    assert (status, '"code":"body_too_large"' in text, "connection: close" in text) == (413, True, True)
    assert stub.seen == []


def test_a_body_in_pieces_is_413_once_it_passes_the_limit(connect, key) -> None:
    there = connect()
    there.sendall(_head(key, "Transfer-Encoding: chunked"))
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    sent = 0
    try:
        for _ in range(4_000):  # far more than the buffers on the way hold
            there.sendall(piece)
            sent += 1
    except (ConnectionResetError, BrokenPipeError, TimeoutError):
        pass
    assert sent < 4_000, "the server stopped reading"
    assert _answer(there)[0] in (413, 0)


MEANINGLESS = [
    (b'{"temperature": NaN, "messages": []}', "invalid_json", None),
    (b'{"temperature": Infinity, "messages": []}', "invalid_json", None),
    (b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}', "invalid_json", None),
    (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "invalid_json", None),
    (b"[" * 100_000, "invalid_json", None),
    (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "invalid_json", None),
    (b"[]", "invalid_body", None),
    (b"", "invalid_json", None),
    (json.dumps(CHAT | {"n": 1000}).encode(), "invalid_value", "n"),
    (json.dumps(CHAT | {"max_tokens": -1}).encode(), "invalid_value", "max_tokens"),
    (json.dumps(CHAT | {"max_tokens": 10**40}).encode(), "invalid_value", "max_tokens"),
    (json.dumps(CHAT | {"max_tokens": 1.5}).encode(), "invalid_value", "max_tokens"),
    (json.dumps(CHAT | {"stop": ["x"] * 1000}).encode(), "invalid_value", "stop"),
    (json.dumps(CHAT | {"colour": "red"}).encode(), "unknown_parameter", "colour"),
]


def test_a_body_that_means_nothing_is_400_and_reaches_no_model(stub, site, key) -> None:
    import httpx

    wrong = []
    for raw, code, field in MEANINGLESS:
        answer = httpx.post(
            f"{site}/v1/chat/completions", content=raw, headers={"Authorization": f"Bearer {key}"}, timeout=60
        )
        error = answer.json()["error"]
        if (answer.status_code, error["code"], error["param"]) != (400, code, field):
            wrong.append((raw[:60], answer.status_code, error))
    assert wrong == []
    assert stub.seen == []


def test_of_a_name_that_comes_twice_the_last_counts(stub, site, key) -> None:
    import httpx

    raw = b'{"temperature": 9, "messages": [{"role": "user", "content": "Hello?"}], "temperature": 0.5}'
    answer = httpx.post(
        f"{site}/v1/chat/completions", content=raw, headers={"Authorization": f"Bearer {key}"}, timeout=60
    )
    assert answer.status_code == 200
    assert stub.seen[-1]["temperature"] == 0.5


def test_a_huge_header_is_431(connect, key) -> None:
    there = connect()
    there.sendall(_head(key, "Content-Length: 2", "X-Novel: " + "x" * 40_000) + b"{}")
    status, text = _answer(there)
    assert (status, '"code":"headers_too_large"' in text) == (431, True)


@pytest.mark.parametrize("what", ["drips", "never comes"])
def test_a_body_that_drips_or_never_comes_is_408_and_hung_up(connect, key, monkeypatch, what) -> None:
    from serving_app.gateway import wire

    monkeypatch.setattr(wire, "BODY_SECONDS", 2.0)
    there = connect()
    there.sendall(_head(key, "Transfer-Encoding: chunked"))
    begun = time.monotonic()
    if what == "drips":
        for _ in range(4):
            there.sendall(b"1\r\n{\r\n")
            time.sleep(0.1)
    status, text = _answer(there)
    assert (status, '"code":"body_too_slow"' in text) == (408, True)
    assert time.monotonic() - begun < 15, "twenty seconds are the default"


def test_a_caller_who_does_not_read_the_stream_is_dropped_and_costs_no_place(connect, key, stub, monkeypatch) -> None:
    from serving_app.gateway import wire
    from serving_app.gateway.admission import admission
    from serving_app.gateway.database import prediction_log
    from serving_app.models import Prediction

    monkeypatch.setattr(wire, "UNREAD_SECONDS", 0.5)
    stub.pieces = ["x" * 50_000] * 400
    there = connect(receive_bytes=4096)
    raw = json.dumps(CHAT | {"stream": True}).encode()
    there.sendall(_head(key, f"Content-Length: {len(raw)}") + raw)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.1)
        prediction_log.flush()
        if Prediction.objects.filter(question_text="Hello?").exists():
            break
    row = Prediction.objects.get()
    assert row.status == 499
    assert len(row.output) < 8_000_000, "what was not read was not fetched either"
    assert not admission._inside


def test_a_caller_who_hangs_up_before_the_body_is_there_leaves_nothing_behind(connect, key, stub) -> None:
    from serving_app.gateway.admission import admission

    there = connect()
    there.sendall(_head(key, "Content-Length: 500") + b'{"mess')
    there.close()
    time.sleep(0.2)
    assert stub.seen == []
    assert not admission._inside


def test_nonsense_instead_of_http_is_hung_up(connect) -> None:
    there = connect()
    there.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20)
    assert _answer(there)[0] in (400, 0)


def test_a_key_of_a_megabyte_or_of_strange_letters_is_refused(connect, stub) -> None:
    there = connect()
    there.sendall(_head("tsk_" + "\xe9" * 100, "Content-Length: 2", "Connection: close") + b"{}")
    assert _answer(there)[0] == 401
    there = connect()
    there.sendall(_head("tsk_" + "x" * 2**20, "Content-Length: 2") + b"{}")
    assert _answer(there)[0] in (401, 431)


def test_addresses_that_are_almost_right_lead_nowhere(connect, key) -> None:
    for path in ("/v1/chat/completions/", "//predict", "/predict/../predict", "/v1/chat/completions%00"):
        there = connect()
        there.sendall(_head(key, "Content-Length: 2", "Connection: close", path=path) + b"{}")
        assert 300 <= _answer(there)[0] < 500, path
