"""Writing the folder of an export: weights, tokenizer with the chat template, a script of ten lines, and a manual."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import UserError
from finetune_engine.export.spec import ExportSpec
from finetune_engine.train.local.device import choose_device
from finetune_engine.train.local.load import (
    ADAPTER_WEIGHTS,
    LoadedModel,
    attach_adapter,
    load_base,
    resolve_folder,
    saved_template,
)
from finetune_engine.train.local.template import on_one_day

MODEL = "model"
SCRIPT = "ask.py"

_ASK_MERGED = '''"""Ask the model in this folder: python ask.py "your text" (needs torch and transformers)."""
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("model")
model = AutoModelForCausalLM.from_pretrained("model")
question = [{"role": "user", "content": sys.argv[1]}]
prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**prompt, max_new_tokens=200, do_sample=False)
print(tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))
'''

_ASK_ADAPTER = '''"""Ask the model: python ask.py BASE "your text" (needs peft). BASE: folder or hub name of the base."""
import sys
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("model")
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(sys.argv[1]), "model")
question = [{"role": "user", "content": sys.argv[2]}]
prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**prompt, max_new_tokens=200, do_sample=False, eos_token_id=tokenizer.eos_token_id)
print(tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))
'''

_GGUF_USE = """llama-cli -m model.gguf -p "your text"     # llama.cpp
ollama create {name} -f Modelfile         # Ollama: a Modelfile with the one line FROM ./model.gguf
"""

_README = """# {name}

{what}

Base model: {base}

    {use}

`MODEL_CARD.md` says what the model is for and how good it is; `checks.json` how this folder was compared with the model
as it was served.
"""


def served_model(spec: ExportSpec) -> LoadedModel:
    """The model as the site serves it: the unquantised base, in its own precision, with its adapter unmerged on top. A model
    all of whose weights were trained is loaded without its base."""
    whole = whole_weights(spec)
    if whole is not None:
        return _in_own_precision(replace(spec.base, path=str(whole), hub=None, chat_template=saved_template(whole)))
    base = _in_own_precision(spec.base)
    return attach_adapter(base, spec.adapter) if spec.adapter is not None else base


def whole_weights(spec: ExportSpec) -> Path | None:
    """The folder of a model all of whose weights were trained; None for an adapter and for a bare base."""
    folder = spec.adapter
    if folder is None or (folder / "adapter_config.json").exists() or not (folder / "config.json").exists():
        return None
    return folder


def _in_own_precision(ref: BaseModelRef) -> LoadedModel:
    """Neither rounded nor blown up by what this machine likes best; only half precision that is useless on a processor is."""
    config = json.loads((resolve_folder(ref) / "config.json").read_text(encoding="utf-8"))
    named = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    precision = {"bfloat16": "bf16", "float16": "fp16"}.get(named, "fp32")
    if precision == "fp16" and choose_device().type == "cpu":
        precision = "fp32"
    return load_base(ref, precision=precision)


def write_merged(spec: ExportSpec, folder: Path) -> None:
    """Whole weights in ``folder``: the adapter added to the unquantised base, in the base's own precision."""
    loaded = served_model(spec)
    module: Any = loaded.activate()
    if loaded.adapter is not None:
        _untie(module.get_base_model())
        module = module.merge_and_unload(safe_merge=True)
    module.generation_config.eos_token_id = list(loaded.eos_token_ids)
    module.generation_config.pad_token_id = loaded.pad_token_id
    module.generation_config.do_sample = False
    for name in ("temperature", "top_p", "top_k"):  # a greedy configuration may name none of them
        setattr(module.generation_config, name, None)
    module.save_pretrained(str(folder), safe_serialization=True)
    write_tokenizer(loaded, folder)


def _untie(model: Any) -> None:
    """Give the output layer weights of its own where the adapter changes it otherwise than the input embeddings it is tied to:
    merged into one shared tensor, a change of either would change both."""
    read, said = model.get_input_embeddings(), model.get_output_embeddings()
    adapted = [layer for layer in (read, said) if isinstance(layer, BaseTunerLayer)]
    if not adapted or said is None or _own(read).weight is not _own(said).weight:
        return
    _own(said).weight = torch.nn.Parameter(_own(said).weight.detach().clone(), requires_grad=False)
    model.config.tie_word_embeddings = False


def _own(layer: Any) -> Any:
    """The layer of the base under an adapter."""
    return layer.get_base_layer() if isinstance(layer, BaseTunerLayer) else layer


def write_adapter(spec: ExportSpec, folder: Path) -> None:
    """The adapter alone, as peft loads it. Raises UserError ``no_adapter`` for a model that is none, ``broken_adapter``."""
    if spec.adapter is None or not (spec.adapter / "adapter_config.json").exists():
        sentence = "This model is no adapter: all its weights were trained. Export it as a merged model."
        raise UserError("no_adapter", sentence, "kind", reason="bad_config")
    loaded = served_model(spec)  # says in words what is wrong with an adapter
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(spec.adapter / ADAPTER_WEIGHTS, folder / ADAPTER_WEIGHTS)
    config = json.loads((spec.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = spec.base.hub or spec.base.key
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    write_tokenizer(loaded, folder)


def write_tokenizer(loaded: LoadedModel, folder: Path) -> None:
    """The tokenizer with the template that the model was trained with, so that others ask it as we do."""
    tokenizer = loaded.tokenizer
    tokenizer.chat_template = on_one_day(loaded.chat_template)  # others would tell it today's date
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(str(folder))


def write_manual(spec: ExportSpec, folder: Path) -> None:
    """``ask.py``, ``README.md`` and ``MODEL_CARD.md`` beside the weights."""
    base = spec.base.hub or spec.base.key
    if spec.kind == "gguf":
        what, use = "The whole model as one GGUF file.", _GGUF_USE.format(name="my-model")
    elif spec.kind == "adapter":
        what = "The adapter alone; it needs its base model."
        use = f'python {SCRIPT} {base} "your text"'
        (folder / SCRIPT).write_text(_ASK_ADAPTER, encoding="utf-8")
    else:
        merged = spec.adapter is not None and whole_weights(spec) is None
        what = "The whole model, the adapter merged into its base." if merged else "The whole model."
        use = f'python {SCRIPT} "your text"'
        (folder / SCRIPT).write_text(_ASK_MERGED, encoding="utf-8")
    name = " ".join(spec.name.split())
    text = _README.format(name=name, what=what, base=base, use=use.strip().replace("\n", "\n    "))
    (folder / "README.md").write_text(text, encoding="utf-8")
    card = spec.card or f"# {name}\n\nThis model was never judged.\n"
    (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8", errors="replace")


def base_folder(spec: ExportSpec) -> str:
    """Where the base model lies on this machine."""
    return str(resolve_folder(spec.base))
