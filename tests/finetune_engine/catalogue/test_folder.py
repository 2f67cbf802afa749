"""Looking into a model folder without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from finetune_engine.catalogue.folder import inspect_model_folder
from finetune_engine.errors import UserError


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_sound_folder_is_described(tiny_model: Path) -> None:
    report = inspect_model_folder(tiny_model)
    assert (report.model_type, report.context_length, report.vocabulary_size) == ("llama", 256, 258)
    assert report.parameters == sum([258 * 32 * 2, 32]) + 2 * (32 * 32 * 2 + 32 * 16 * 2 + 32 * 64 * 3 + 64)
    assert not report.has_chat_template
    assert report.sha256 is not None
    assert len(report.sha256) == 64


def test_the_digest_changes_with_one_byte_of_the_weights(folder: Path) -> None:
    before = inspect_model_folder(folder).sha256
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert inspect_model_folder(folder).sha256 != before


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "old.ckpt", "UPPER.BIN"])
def test_a_file_that_could_run_code_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\x80\x04")
    with pytest.raises(UserError, match="safetensors") as caught:
        inspect_model_folder(folder)
    assert (caught.value.code, caught.value.place.file) == ("not_safetensors", name)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_model_with_code_of_its_own_is_refused(folder: Path, name: str) -> None:
    edit(folder / name, auto_map={"AutoModelForCausalLM": "modeling.Mine"})
    with pytest.raises(UserError) as caught:
        inspect_model_folder(folder)
    assert caught.value.code == "unsafe_model"


def test_weights_cut_short_are_noticed(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(UserError) as caught:
        inspect_model_folder(folder)
    assert caught.value.code == "broken_model"


def test_a_header_that_claims_to_be_endless_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(UserError) as caught:
        inspect_model_folder(folder)
    assert caught.value.code == "broken_model"


def test_a_shard_outside_the_folder_is_not_read(folder: Path) -> None:
    index = {"weight_map": {"a": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError) as caught:
        inspect_model_folder(folder)
    assert caught.value.code == "broken_model"


@pytest.mark.parametrize(
    ("gone", "code"),
    [("config.json", "broken_model"), ("tokenizer.json", "no_tokenizer"), ("model.safetensors", "not_safetensors")],
)
def test_a_missing_part_is_named(folder: Path, gone: str, code: str) -> None:
    (folder / gone).unlink()
    with pytest.raises(UserError) as caught:
        inspect_model_folder(folder)
    assert caught.value.code == code


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        inspect_model_folder(tmp_path / "nowhere")


def test_looking_does_not_load_torch(tiny_model: Path) -> None:
    code = (
        "import sys; from finetune_engine.catalogue.folder import inspect_model_folder as look; "
        f"look({str(tiny_model)!r}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
