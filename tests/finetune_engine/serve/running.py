"""The application at a real socket, and a backend that says just what a test lets it say."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager

import openai
import uvicorn

from finetune_engine.serve.app import build_app
from finetune_engine.serve.draining import DrainingServer
from finetune_engine.serve.exchange import Backend, Delta, Served, Token, Usage

HELLO = [{"role": "user", "content": "hello"}]


class Speaker(Backend):
    """Says ``words`` words, w0 w1 ..., and then the usage; ``is_held``: each only when ``let_say`` allows it.

    ``error`` takes the place of the word number ``error_after``. ``left`` is set when a caller's leaving was heard.
    """

    def __init__(self, words=3, *, is_held=False, error=None, error_after=0):
        self.words, self.error, self.error_after = words, error, error_after
        self.left = threading.Event()
        self.said = 0
        self._allowed = threading.Semaphore(0)
        self._is_held = is_held

    def let_say(self, words):
        """That many words more, of all answers together."""
        for _ in range(words):
            self._allowed.release()

    def submit(self, request, cancelled, tell):
        threading.Thread(target=self._speak, args=(cancelled, tell), daemon=True).start()

    def loaded_models(self):
        return ["speaker"]

    def _speak(self, cancelled, tell):
        for number in range(self.words):
            while self._is_held and not self._allowed.acquire(timeout=0.01):
                if cancelled.is_set():
                    self.left.set()
                    tell(None)
                    return
            if self.error and number >= self.error_after:
                tell(self.error)
                return
            self.said += 1
            is_last = number == self.words - 1
            tell([Delta(0, f"w{number} ", (Token(f"w{number} ", -0.1),), "stop" if is_last else None)])
        tell([Delta(usage=Usage(2, self.words), served=Served("d", "t"))])
        tell(None)


def wait_for(condition, seconds=30):
    """Until it is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


@contextmanager
def served(backend, uds=None, **options):
    """The server of the command line in a thread; gives the base URL. The server is ``served.server``."""
    app = build_app(backend, **options)
    listener = socket.socket(socket.AF_UNIX if uds else socket.AF_INET)
    listener.bind(str(uds) if uds else ("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    server = served.server = DrainingServer(config, app.state.inference)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield "http://site" if uds else f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def client_of(url, **options):
    """The official SDK, which tries nothing twice."""
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", **({"max_retries": 0} | options))
