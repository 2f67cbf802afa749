"""The vLLM backend against a program that speaks vLLM's HTTP at a real socket."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import httpx
import pytest

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve.backends import vllm_server
from finetune_engine.serve.backends.choosing import ChoosingBackend, VllmSettings
from finetune_engine.serve.backends.models import ModelFiles
from finetune_engine.serve.backends.openai_http import OpenAIHttpBackend
from finetune_engine.serve.backends.vllm import VllmBackend
from finetune_engine.serve.backends.vllm_server import VllmServer
from finetune_engine.serve.exchange import CompletionRequest, Message, Tool
from finetune_engine.serve.openai_format import gather
from finetune_engine.train.local.encode import encode_prompt
from finetune_engine.train.local.load import load_base
from tests.finetune_engine.serve.running import wait_for

PROGRAM = Path(__file__).with_name("vllm_program.py")


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """An executable file, as ``pip install vllm`` would leave one."""
    path = tmp_path_factory.mktemp("bin") / "vllm"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {PROGRAM} "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def files(tiny_model, tiny_adapter, tmp_path):
    """``base``, ``one``, ``two`` and ``three`` (adapters), and ``broken``, all of them for vLLM."""
    base = BaseModelRef(key="tiny", path=str(tiny_model))
    adapters = {name: copytree(tiny_adapter, tmp_path / name) for name in ("one", "two", "three")}
    known = {"base": None, **adapters, "broken": tmp_path}
    return {name: ModelFiles(name, base, folder, f"digest-{name}", "vllm") for name, folder in known.items()}


@pytest.fixture
def serving(program, files):
    backend = ChoosingBackend(files.__getitem__, vllm=VllmSettings(command=program, max_adapters=2, start_seconds=60))
    yield backend
    backend.close()


def ask(backend, model, text="rent", **parameters):
    request = CompletionRequest(model=model, messages=(Message("user", text),), **parameters)
    return gather(request, backend.complete(request))


def server_of(backend) -> VllmServer:
    return next(iter(backend._vllm._servers.values()))


def state(backend):
    return httpx.get(server_of(backend)._url("/state")).json()


def living(group):
    """Processes of a group; the dead that nobody has buried yet do not count."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, pgrp = path.read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state != "Z":
                found.append(path.parent.name)
    return found


def test_a_base_and_its_adapters_answer_whole_and_streamed(serving, tiny_model):
    loaded = load_base(BaseModelRef(key="tiny", path=str(tiny_model)))
    prompt = encode_prompt(loaded, [{"role": "user", "content": "rent"}])
    for stream in (False, True):
        base, one = ask(serving, "base", stream=stream), ask(serving, "one", stream=stream)
        # vLLM reads the very ids that training and evaluation read.
        assert base.choices[0].text == f"tiny {len(prompt)}"
        assert one.choices[0].text.startswith("a")
        assert [token.logprob for token in one.choices[0].tokens] == [-0.5, -0.5]
        assert one.choices[0].finish_reason == "stop"
        assert one.usage.prompt_tokens == len(prompt)
        assert one.served.model_digest == "digest-one"
        assert one.served.template_sha256 == loaded.template_sha256
    assert serving.loaded_models() == ["base", "one"]
    arguments = state(serving)["arguments"]
    assert arguments[:2] == ["serve", str(tiny_model)]
    assert {"--enable-lora", "--max-lora-rank", "--served-model-name"} <= set(arguments)


def test_the_least_recently_used_adapter_is_unloaded(serving):
    for name in ("one", "two", "one", "three"):
        ask(serving, name)
    assert serving.loaded_models() == ["one", "three"]
    assert len(state(serving)["adapters"]) == 2
    assert len(state(serving)["unloaded"]) == 1


def test_loading_tells_the_template_and_a_broken_adapter_is_ours_to_mend(serving):
    assert len(serving.load("one")) == 64
    with pytest.raises(EngineError) as caught:
        serving.load("broken")
    assert "No adapter found" in str(caught.value)
    assert ask(serving, "one").choices[0].text


def test_a_server_that_dies_is_started_again(serving, monkeypatch):
    ask(serving, "one")
    before = state(serving)["pid"]
    os.kill(before, signal.SIGKILL)

    def answers():
        with contextlib.suppress(EngineError):
            return bool(ask(serving, "one").choices[0].text)

    wait_for(answers, 120)
    assert state(serving)["pid"] != before
    assert len(state(serving)["adapters"]) == 1


def test_a_server_that_hangs_is_started_again(program, files, monkeypatch):
    monkeypatch.setattr(vllm_server, "HEALTH_SECONDS", 0.05)
    settings = VllmSettings(command=program, hung_seconds=0.5)
    backend = ChoosingBackend(files.__getitem__, vllm=settings)
    try:
        ask(backend, "base")
        before = server_of(backend)._process.pid
        httpx.post(server_of(backend)._url("/hang"))
        wait_for(lambda: (process := server_of(backend)._process) is not None and process.pid != before, 120)
        wait_for(lambda: backend.loaded_models() == ["base"], 120)
        assert ask(backend, "base").choices[0].text
    finally:
        backend.close()


def test_an_adapter_handed_to_a_server_that_ends_meanwhile_is_handed_over_again(files, monkeypatch):
    server = VllmServer(files["one"].base, VllmSettings())
    monkeypatch.setattr(server, "_post", lambda *_: server._put_away())
    with pytest.raises(EngineError, match="ended while"):
        server._feed(files["one"])
    handed = []
    monkeypatch.setattr(server, "_post", lambda path, *_: handed.append(path))
    server._feed(files["one"])
    assert handed == ["/v1/load_lora_adapter"]


def test_nothing_of_it_is_left_when_we_end(serving):
    ask(serving, "base")
    group = server_of(serving)._process.pid
    assert len(living(group)) >= 3
    serving.close()
    wait_for(lambda: not living(group), 60)


def test_nothing_of_it_is_left_when_we_are_killed(program, tiny_model):
    script = (
        "import sys, time\n"
        "from finetune_engine.catalogue.reference import BaseModelRef\n"
        "from finetune_engine.serve.backends.vllm_server import VllmServer, VllmSettings\n"
        f"server = VllmServer(BaseModelRef(key='t', path={str(tiny_model)!r}), VllmSettings(command={program!r}))\n"
        "server.start(); server._wait_ready(); print(server._process.pid, flush=True); time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    group = int(parent.stdout.readline())
    assert len(living(group)) >= 3
    parent.kill()
    parent.wait()
    wait_for(lambda: not living(group), 60)


def test_a_missing_program_is_told(files):
    for command, words in (("", "not set up"), ("/nowhere/vllm", "/nowhere/vllm")):
        backend = ChoosingBackend(files.__getitem__, vllm=VllmSettings(command=command))
        with pytest.raises(EngineError, match=words) as caught:
            ask(backend, "base")
        assert caught.value.reason == "model_unavailable"
        assert "vllm" not in backend.facts()["backends"]
        backend.close()


def test_a_server_that_cannot_start_is_told_instead_of_waited_for(files, tmp_path):
    bad = tmp_path / "vllm"
    bad.write_text("#!/bin/sh\nexit 2\n")
    bad.chmod(0o755)
    backend = ChoosingBackend(files.__getitem__, vllm=VllmSettings(command=str(bad)))
    with pytest.raises(EngineError, match="code 2"):  # not: "vLLM is not ready", which comes after a quarter of an hour
        ask(backend, "base")
    backend.close()


def test_what_vllm_cannot_be_made_to_do_is_refused(serving):
    tool = Tool("look_up", "", {"type": "object"})
    with pytest.raises(UserError) as caught:
        ask(serving, "base", tools=(tool,), must_call=True)
    assert (caught.value.field, caught.value.status) == ("tool_choice", 400)
    with pytest.raises(UserError) as caught:
        ask(serving, "base", tools=(replace(tool, strict=True),))
    assert (caught.value.field, caught.value.status) == ("tools", 400)
    with pytest.raises(UserError) as caught:
        ask(serving, "base", "rent " * 500)
    assert caught.value.code == "context_length_exceeded"


def test_a_caller_who_leaves_while_it_starts_is_not_waited_for(serving):
    cancelled = threading.Event()
    request = CompletionRequest(model="one", messages=(Message("user", "rent"),))
    cancelled.set()
    assert list(serving.complete(request, cancelled)) == []


def test_nobody_who_asks_what_is_loaded_waits_while_one_server_ends_for_another(monkeypatch, files, tiny_model):
    ending, go = threading.Event(), threading.Event()
    monkeypatch.setattr(VllmServer, "start", lambda server: None)
    monkeypatch.setattr(VllmServer, "end", lambda server: (ending.set(), go.wait(30)))
    backend = VllmBackend(VllmSettings(command=sys.executable), OpenAIHttpBackend())
    backend._server(files["base"])
    other = replace(files["base"], base=BaseModelRef(key="other", path=str(tiny_model)))
    changing = threading.Thread(target=backend._server, args=(other,))
    changing.start()
    assert ending.wait(10)
    asking = threading.Thread(target=backend.loaded_models)
    asking.start()
    asking.join(5)
    assert not asking.is_alive()
    go.set()
    changing.join(10)
    backend.close()


def test_once_closed_it_starts_no_server_for_a_late_caller(serving):
    serving.close()
    with pytest.raises(EngineError, match="about to end"):
        serving.load("base")
    assert not serving._vllm._servers
