"""The tiny random model behind the serving backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import UserError
from finetune_engine.serve.backends.in_process import InProcessBackend, ModelFiles
from tests.finetune_engine.tiny_chat_model import tiny_adapter, tiny_model  # noqa: F401  fixtures


@pytest.fixture
def backend(tiny_model: Path, tiny_adapter: Path) -> Iterator[InProcessBackend]:  # noqa: F811  pytest hands them over
    """Serves ``base`` and ``tuned`` from the tiny model; knows no other name."""
    base = BaseModelRef(key="tiny", path=str(tiny_model))
    known = {
        "base": ModelFiles("base", base, None, "digest-base"),
        "tuned": ModelFiles("tuned", base, tiny_adapter, "digest-tuned"),
    }

    def resolve(model_id: str) -> ModelFiles:
        if model_id not in known:
            raise UserError("model_not_found", f"There is no model {model_id}.", "model", status=404)
        return known[model_id]

    serving = InProcessBackend(resolve)
    yield serving
    serving.close()
