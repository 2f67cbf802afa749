"""Answers from vLLM processes that this process starts, one for each base model, with its adapters fed at run time.

vLLM gets token ids, not messages: prompts are written here, by the same template and tokenizer as in training, evaluation and
in-process serving, so that all of them ask the model the same.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import torch

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve.answer_reader import reader_of, shown_tokens
from finetune_engine.serve.backends.models import ModelFiles
from finetune_engine.serve.backends.openai_http import OpenAIHttpBackend
from finetune_engine.serve.backends.openai_wire import request_body
from finetune_engine.serve.backends.tickets import explained, prompts_of
from finetune_engine.serve.backends.vllm_server import VllmServer, VllmSettings, not_found
from finetune_engine.serve.exchange import CompletionRequest, Delta, Tell, Told
from finetune_engine.train.local.load import (
    LoadedModel,
    SharedModule,
    _context_length,
    _eos_ids,
    _own_template,
    resolve_folder,
    saved_template,
)
from finetune_engine.train.local.template import DEFAULT_TEMPLATE, sha256_of

logger = logging.getLogger(__name__)

MAX_SERVERS = 1
AT_ONCE = 64


class VllmBackend:
    """Safe to call from many threads."""

    def __init__(self, settings: VllmSettings, http: OpenAIHttpBackend, *, max_servers: int = MAX_SERVERS) -> None:
        self._settings, self._http, self._max_servers = settings, http, max_servers
        self._servers: OrderedDict[BaseModelRef, VllmServer] = OrderedDict()
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        """Held while one server ends for another, which may take long; ``_lock`` never is."""
        self._is_closed = False
        # A request waits in a thread only while its model starts; the answer comes without one.
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="vllm")

    @property
    def is_available(self) -> bool:
        """Whether the program is there."""
        return self._settings.program is not None

    def submit(self, files: ModelFiles, request: CompletionRequest, cancelled: threading.Event, tell: Tell) -> None:
        """Ask; ``tell`` hears of everything, from another thread."""
        self._threads.submit(self._ask, standing_alone(files), request, cancelled, tell)

    def load(self, files: ModelFiles) -> str:
        """Start its server and feed the adapter; the SHA-256 of its template. Blocks. Raises EngineError."""
        files = standing_alone(files)
        with self._server(files).using(files):
            pass
        return words_of(files).template_sha256

    def loaded_models(self) -> list[str]:
        """Ids of the models that would answer without loading anything."""
        with self._lock:
            servers = list(self._servers.values())
        return sorted({model_id for server in servers for model_id in server.model_ids})

    def close(self) -> None:
        """End all servers, and start none any more."""
        with self._changing:
            self._is_closed = True
            with self._lock:
                servers = list(self._servers.values())
                self._servers.clear()
            for server in servers:
                server.end()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, files: ModelFiles, request: CompletionRequest, cancelled: threading.Event, tell: Tell) -> None:
        """In a thread of ours."""
        held = ExitStack()
        try:
            words = words_of(files)
            prompts = prompts_of(request, words)
            body = completion_body(request, words, prompts)
            reader = reader_of(request, words, prompts[0])
            remote = held.enter_context(self._server(files).using(files))

            def hear(told: Told) -> None:
                if told is None or isinstance(told, Exception):
                    held.close()
                    tell(told)
                else:
                    tell([_named(reader.read(delta), words.template_sha256) for delta in told])

            if cancelled.is_set():
                hear(None)
            else:
                self._http.submit(remote, request, cancelled, hear, body=body | {"model": remote.model})
        except Exception as problem:  # the front door of the thread: every error goes to the caller
            held.close()
            tell(problem if isinstance(problem, UserError) else explained(problem))

    def _server(self, files: ModelFiles) -> VllmServer:
        """The server of a base, started if need be; the least recently used one makes room for it."""
        if not self.is_available:
            raise EngineError("model_unavailable", not_found(self._settings))
        with self._changing:
            if self._is_closed:  # a late one would keep the process that is to end waiting for its start
                raise EngineError("model_unavailable", "this model server is about to end")
            leaving: list[VllmServer] = []
            with self._lock:
                server = self._servers.get(files.base)
                while server is None and len(self._servers) >= self._max_servers:
                    leaving.append(self._servers.popitem(last=False)[1])
            for one in leaving:  # the GPU has room for the new one only when the old one is gone
                one.end()
            with self._lock:
                if server is None:
                    server = self._servers[files.base] = VllmServer(files.base, self._settings)
                    server.start()
                self._servers.move_to_end(files.base)
            return server


def completion_body(request: CompletionRequest, words: LoadedModel, prompts: Sequence[Sequence[int]]) -> dict[str, Any]:
    """vLLM's plain completion of token ids. Raises UserError for what it cannot be made to do."""
    if request.must_call:
        raise UserError(
            "unsupported_parameter",
            "'tool_choice' cannot be required or name a function here: this model's server does not force calls. Use auto.",
            "tool_choice",
            reason="bad_config",
            status=400,
        )
    if any(tool.strict for tool in request.tools):
        raise UserError(
            "unsupported_parameter",
            "'strict' cannot be true here: this model's server does not hold calls to their schema. Leave it out.",
            "tools",
            reason="bad_config",
            status=400,
        )
    limit = min(request.limit_within(words.context_length, len(prompt)) for prompt in prompts)
    plain = replace(request, messages=None, prompt="", more_prompts=(), tools=(), max_tokens=limit)
    body = request_body(plain, "")
    body["prompt"] = [list(prompt) for prompt in prompts]
    body["stop_token_ids"] = list(words.eos_token_ids)
    body["add_special_tokens"] = False
    if shown_tokens(request, words):
        body["skip_special_tokens"] = False
    if request.answer_schema is not None:
        schema = {"name": request.answer_schema.name or "answer", "schema": dict(request.answer_schema.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def standing_alone(files: ModelFiles) -> ModelFiles:
    """Whole weights from full fine-tuning are a base of their own, not an adapter."""
    folder = files.adapter
    if folder is None or (folder / "adapter_config.json").exists() or not (folder / "config.json").exists():
        return files
    own = replace(files.base, path=str(folder), hub=None, revision=None, chat_template=saved_template(folder))
    return replace(files, base=own, adapter=None)


def words_of(files: ModelFiles) -> LoadedModel:
    """A model's tokenizer, template and end tokens without its weights. Raises as ``load_base`` does."""
    words = _base_words(files.base)
    template = saved_template(files.adapter) if files.adapter is not None else None
    return replace(words, chat_template=template, template_sha256=sha256_of(template)) if template else words


@lru_cache(maxsize=8)
def _base_words(ref: BaseModelRef) -> LoadedModel:
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    folder = resolve_folder(ref)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as problem:
        raise EngineError("model_unavailable", f"the model in {folder.name} cannot be read: {problem}") from problem
    try:
        generation = GenerationConfig.from_pretrained(folder, local_files_only=True)
    except OSError:  # many models have none
        generation = GenerationConfig.from_model_config(config)
    frame = SimpleNamespace(config=config, generation_config=generation)
    eos_ids = _eos_ids(frame, tokenizer, folder)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(eos_ids[0])
    template = ref.chat_template or _own_template(tokenizer) or DEFAULT_TEMPLATE
    return LoadedModel(
        shared=SharedModule(frame),
        tokenizer=tokenizer,
        chat_template=template,
        template_sha256=sha256_of(template),
        eos_token_id=eos_ids[0],
        eos_token_ids=eos_ids,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else eos_ids[0],
        dtype=torch.float32,
        device=torch.device("cpu"),
        context_length=_context_length(config),
        ref=ref,
        folder=folder,
    )


def _named(delta: Delta, template_sha256: str) -> Delta:
    if delta.served is None:
        return delta
    return replace(delta, served=replace(delta.served, template_sha256=template_sha256))
