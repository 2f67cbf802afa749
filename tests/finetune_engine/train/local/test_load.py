"""Loading base models and adapters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import UserError
from finetune_engine.train.local.load import LoadedModel, attach_adapter, detach_adapter, load_base


@pytest.fixture
def loaded(tiny_model: Path) -> LoadedModel:
    return load_base(BaseModelRef(key="tiny", path=str(tiny_model)))


def make_adapter(model: Path, folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    peft = get_peft_model(
        AutoModelForCausalLM.from_pretrained(model),
        LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False),
    )
    peft.save_pretrained(folder)
    return folder


def logits(loaded: LoadedModel) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = loaded.activate()(torch.tensor([[5, 6, 7]])).logits
    return out


def test_a_model_without_template_gets_one_that_ends_with_its_end_token(loaded: LoadedModel) -> None:
    text = loaded.tokenizer.apply_chat_template(
        [{"role": "assistant", "content": "yes"}], chat_template=loaded.chat_template, tokenize=False
    )
    assert "yes</s>" in text


def test_a_template_given_by_the_operator_wins(tiny_model: Path) -> None:
    ref = BaseModelRef(key="tiny", path=str(tiny_model), chat_template="{{ messages[0].content }}")
    assert load_base(ref).chat_template == "{{ messages[0].content }}"


def test_of_several_end_tokens_the_one_that_ends_a_turn_comes_first(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    config = folder / "generation_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"eos_token_id": [0, 1]}))
    model = load_base(BaseModelRef(key="tiny", path=str(folder)))
    assert model.eos_token_ids == (1, 0)


def test_a_processor_computes_in_fp32(loaded: LoadedModel) -> None:
    assert loaded.dtype == torch.float32
    assert next(loaded.model.parameters()).dtype == torch.float32


def test_fp16_on_a_processor_is_refused(tiny_model: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match="fp16"):
        load_base(BaseModelRef(key="tiny", path=str(tiny_model)), precision="fp16")


def test_an_unsafe_folder_is_never_loaded(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(UserError) as caught:
        load_base(BaseModelRef(key="tiny", path=str(folder)))
    assert caught.value.code == "not_safetensors"


def test_base_and_two_adapters_share_the_weights_and_do_not_mix(
    loaded: LoadedModel, tiny_model: Path, tmp_path: Path
) -> None:
    before = logits(loaded)
    one = attach_adapter(loaded, make_adapter(tiny_model, tmp_path / "one", 1), name="one")
    two = attach_adapter(loaded, make_adapter(tiny_model, tmp_path / "two", 2), name="two")
    first, second = logits(one), logits(two)
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, before)
    assert torch.equal(logits(one), first)
    assert torch.equal(logits(loaded), before)
    assert one.shared is two.shared is loaded.shared


def test_a_detached_adapter_leaves_base_and_neighbour_as_they_were(
    loaded: LoadedModel, tiny_model: Path, tmp_path: Path
) -> None:
    before = logits(loaded)
    one = attach_adapter(loaded, make_adapter(tiny_model, tmp_path / "one", 1), name="one")
    two = attach_adapter(loaded, make_adapter(tiny_model, tmp_path / "two", 2), name="two")
    kept = logits(two)
    detach_adapter(one)
    assert torch.equal(logits(two), kept)
    assert torch.equal(logits(loaded), before)


def test_an_adapter_brings_the_template_it_was_trained_with(
    loaded: LoadedModel, tiny_model: Path, tmp_path: Path
) -> None:
    folder = make_adapter(tiny_model, tmp_path / "one", 1)
    (folder / "chat_template.jinja").write_text("{{ messages[-1].content }}")
    tuned = attach_adapter(loaded, folder)
    assert tuned.chat_template == "{{ messages[-1].content }}"
    assert tuned.template_sha256 != loaded.template_sha256


def test_an_adapter_of_pickled_weights_is_refused(loaded: LoadedModel, tiny_model: Path, tmp_path: Path) -> None:
    folder = make_adapter(tiny_model, tmp_path / "one", 1)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(UserError) as caught:
        attach_adapter(loaded, folder)
    assert caught.value.code == "broken_adapter"


def test_an_adapter_that_wants_foreign_code_is_refused(loaded: LoadedModel, tiny_model: Path, tmp_path: Path) -> None:
    folder = make_adapter(tiny_model, tmp_path / "one", 1)
    config = folder / "adapter_config.json"
    foreign = {"auto_mapping": {"base_model_class": "Evil", "parent_library": "evil_package.models"}}
    config.write_text(json.dumps(json.loads(config.read_text()) | foreign))
    with pytest.raises(UserError) as caught:
        attach_adapter(loaded, folder)
    assert caught.value.code == "unsafe_model"
