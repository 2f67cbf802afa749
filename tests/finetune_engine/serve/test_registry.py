import json
import os
from pathlib import Path

import pytest

from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve.registry import ModelRegistry

ENTRY = {"model_id": "m", "base_model": {"key": "b", "path": "/models/b"}, "adapter": "/trained/1", "digest": "d1"}


def write(path, entries):
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({"models": entries}))
    os.replace(draft, path)


def test_a_model_is_found_and_a_replaced_file_is_read_again(tmp_path):
    path = tmp_path / "models.json"
    registry = ModelRegistry(path)
    with pytest.raises(UserError) as caught:
        registry.resolve("m")
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
    write(path, [ENTRY])
    files = registry.resolve("m")
    assert (files.adapter, files.digest, files.base.path) == (Path("/trained/1"), "d1", "/models/b")
    write(path, [ENTRY | {"digest": "d2", "adapter": None}])
    assert registry.resolve("m").digest == "d2"
    assert registry.resolve("m").adapter is None


def test_a_model_says_who_reads_its_files(tmp_path):
    path = tmp_path / "models.json"
    write(path, [ENTRY, ENTRY | {"model_id": "fast", "backend": "vllm"}])
    registry = ModelRegistry(path)
    assert (registry.resolve("m").backend, registry.resolve("fast").backend) == ("in_process", "vllm")


@pytest.mark.parametrize("entry", [{}, "m", [], ENTRY | {"backend": "magic"}])
def test_a_broken_file_is_ours_to_mend(tmp_path, entry):
    path = tmp_path / "models.json"
    write(path, [entry])
    with pytest.raises(EngineError):
        ModelRegistry(path).resolve("m")
