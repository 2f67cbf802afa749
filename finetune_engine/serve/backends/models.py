"""What a serving id stands for: files on this machine, or a model behind somebody's address. Light to import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from finetune_engine.catalogue.reference import BaseModelRef

LocalBackend = Literal["in_process", "vllm"]
LOCAL_BACKENDS: tuple[LocalBackend, ...] = ("in_process", "vllm")


@dataclass(frozen=True)
class ModelFiles:
    """Where a model lies. ``adapter`` None is the base itself; ``digest`` changes whenever the files do.

    ``backend`` says who reads the files: this process, or the vLLM that it starts.
    """

    model_id: str
    base: BaseModelRef
    adapter: Path | None
    digest: str
    backend: LocalBackend = "in_process"


@dataclass(frozen=True)
class RemoteModel:
    """A model at an OpenAI-compatible address.

    ``base_url`` is the address with its path (``https://host/v1``), ``key`` is sent as the bearer token ("" sends none),
    ``model`` is the name it has there. ``allowed_hosts`` are private hosts, ``host`` or ``host:port``, that the operator lets
    it be on. ``digest`` changes whenever the address or the name does.
    """

    model_id: str
    base_url: str
    key: str
    model: str
    digest: str
    allowed_hosts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Without the key, which must not reach a log."""
        return f"RemoteModel(model_id={self.model_id!r}, base_url={self.base_url!r}, model={self.model!r})"


Served = ModelFiles | RemoteModel
Resolve = Callable[[str], Served]
"""From a serving id to what it stands for. Raises UserError with status 404 for one it does not know."""
