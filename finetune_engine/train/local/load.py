"""Load a base model, and adapters on top of it. Training, evaluation and serving all come through here."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from finetune_engine.catalogue.folder import CONTEXT_FIELDS, inspect_model_folder
from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import EngineError, UserError
from finetune_engine.train.local.device import choose_device, choose_dtype
from finetune_engine.train.local.four_bit import four_bit_settings, keep_one_packing
from finetune_engine.train.local.template import DEFAULT_TEMPLATE, sha256_of

__all__ = [
    "BaseModelRef",
    "LoadedModel",
    "SharedModule",
    "attach_adapter",
    "detach_adapter",
    "load_base",
    "resolve_folder",
]

HUB_PATTERNS = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass
class SharedModule:
    """The torch module that a base model and its adapters share, and which adapter is switched on.

    ``adapter`` None means that all are off and the bare base model answers.
    """

    module: Any
    adapter: str | None = None
    is_peft: bool = False

    def switch_to(self, adapter: str | None) -> None:
        """Switch one adapter on, or all off. Costs nothing when it is so already."""
        if not self.is_peft or adapter == self.adapter:
            return
        if adapter is None:
            self.module.base_model.disable_adapter_layers()
        else:
            self.module.base_model.enable_adapter_layers()
            self.module.set_adapter(adapter, inference_mode=True)
        self.adapter = adapter


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory with all that is needed to speak to it.

    Several LoadedModels may share one torch module: the base (``adapter`` None) and one for each adapter.
    Calls on a shared module must not overlap; ``activate`` switches the right adapter on before each.
    """

    shared: SharedModule
    tokenizer: Any
    chat_template: str
    template_sha256: str
    eos_token_id: int
    eos_token_ids: tuple[int, ...]
    pad_token_id: int
    dtype: torch.dtype
    device: torch.device
    context_length: int
    ref: BaseModelRef
    folder: Path
    adapter: str | None = None

    @property
    def model(self) -> Any:
        """The torch module, as it stands now (see ``activate``)."""
        return self.shared.module

    def activate(self) -> Any:
        """The torch module with this model's adapter on, or with all adapters off for the base model."""
        self.shared.switch_to(self.adapter)
        return self.shared.module


def resolve_folder(ref: BaseModelRef) -> Path:
    """The local folder of a base model; a hub model is downloaded first (safetensors and text files only).

    Raises EngineError ``model_unavailable`` when the hub cannot give it, UserError when the folder is unusable.
    """
    if ref.folder is not None:
        inspect_model_folder(ref.folder, digest=False)
        return ref.folder
    from huggingface_hub import snapshot_download

    name, revision = ref.hub_name
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=HUB_PATTERNS))
    except Exception as problem:  # network, permission, unknown name: the hub client raises many kinds
        raise EngineError(
            "model_unavailable",
            f"The model {name} could not be fetched from the hub: {problem}",
            {"model": name, "revision": revision},
        ) from problem
    inspect_model_folder(folder, digest=False)
    return folder


def load_base(
    ref: BaseModelRef,
    *,
    precision: str = "auto",
    device: torch.device | None = None,
    on_gpu: bool = True,
    four_bit: bool = False,
) -> LoadedModel:
    """Load weights and tokenizer of ``ref``, without running any code from the model folder.

    With ``on_gpu`` False the weights wait in the computer's memory for being spread over several GPUs. With
    ``four_bit`` the layers' weights are packed as they are loaded (see ``four_bit``).
    Raises UserError ``not_safetensors``/``unsafe_model``/``broken_model``..., EngineError ``model_unavailable``.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder = resolve_folder(ref)
    device = device or choose_device()
    dtype = choose_dtype(precision, device)
    packed = {"quantization_config": four_bit_settings(dtype), "device_map": {"": device}} if four_bit else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True, **packed
        )
    except (OSError, ValueError, KeyError) as problem:
        raise UserError(
            "broken_model",
            f"The model in {folder.name} cannot be loaded: {problem}",
            field="base_model",
            reason="bad_config",
        ) from problem
    if four_bit:
        keep_one_packing(model)
    else:
        model.to(device if on_gpu else "cpu")
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    eos_ids = _eos_ids(model, tokenizer, folder)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(eos_ids[0])
    template = ref.chat_template or _own_template(tokenizer) or DEFAULT_TEMPLATE
    return LoadedModel(
        shared=SharedModule(model),
        tokenizer=tokenizer,
        chat_template=template,
        template_sha256=sha256_of(template),
        eos_token_id=eos_ids[0],
        eos_token_ids=eos_ids,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else eos_ids[0],
        dtype=dtype,
        device=device,
        context_length=_context_length(model.config),
        ref=ref,
        folder=folder,
    )


def attach_adapter(loaded: LoadedModel, path: Path | str, *, name: str = "tuned") -> LoadedModel:
    """Put the adapter in ``path`` on top of ``loaded``; the result shares the base weights with it.

    The adapter's own chat template (the one it was trained with) wins over the base model's. An artefact of
    full fine-tuning holds whole weights and is loaded by itself. Raises UserError ``broken_adapter``.
    """
    folder = Path(path)
    if not (folder / "adapter_config.json").exists() and (folder / "config.json").exists():
        return load_base(
            replace(loaded.ref, path=str(folder), hub=None, chat_template=saved_template(folder)),
            precision="auto",
            device=loaded.device,
        )
    _check_adapter(folder)
    from peft import PeftModel

    shared = loaded.shared
    try:
        if not shared.is_peft:
            shared.module = PeftModel.from_pretrained(shared.module, str(folder), adapter_name=name)
            shared.is_peft = True
        elif name not in shared.module.peft_config:
            shared.module.load_adapter(str(folder), adapter_name=name, is_trainable=False)
    except (OSError, ValueError, KeyError, RuntimeError) as problem:
        raise UserError(
            "broken_adapter",
            f"The trained model in {folder} does not fit its base model: {problem}",
            reason="bad_config",
        ) from problem
    shared.module.eval()
    shared.module.base_model.disable_adapter_layers()
    shared.adapter = None
    template = saved_template(folder) or loaded.chat_template
    return replace(loaded, adapter=name, chat_template=template, template_sha256=sha256_of(template))


def detach_adapter(loaded: LoadedModel) -> None:
    """Free the adapter of ``loaded`` (which must not be used afterwards); the base model stays, and can be asked."""
    shared = loaded.shared
    if loaded.adapter is None or not shared.is_peft or loaded.adapter not in shared.module.peft_config:
        return
    shared.switch_to(None)
    if len(shared.module.peft_config) > 1:
        shared.module.delete_adapter(loaded.adapter)
        return
    # peft cannot run a model whose last adapter is gone: the bare model comes out of its wrapping again.
    shared.module, shared.is_peft = shared.module.unload(), False


def _check_adapter(folder: Path) -> None:
    if not (folder / "adapter_config.json").exists() or not (folder / ADAPTER_WEIGHTS).exists():
        raise UserError(
            "broken_adapter",
            f"There is no trained adapter in {folder}: {ADAPTER_WEIGHTS} or adapter_config.json is missing.",
            reason="bad_config",
        )
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    library = str((config.get("auto_mapping") or {}).get("parent_library") or "transformers")
    if library.partition(".")[0] != "transformers":
        raise UserError("unsafe_model", "The adapter asks to run code of its own.", reason="bad_config")


def saved_template(folder: Path) -> str | None:
    """The chat template that a trained model brings; None when it brings none."""
    path = folder / "chat_template.jinja"
    return path.read_text(encoding="utf-8") if path.exists() else None


def _own_template(tokenizer: Any) -> str | None:
    """The model's template; of several named ones, the default."""
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    return template or None


def _eos_ids(model: Any, tokenizer: Any, folder: Path) -> tuple[int, ...]:
    """The ids that end a text: the generation config knows best, then the config, then the tokenizer.

    A model trained with ``<s>`` as its end never saw ``</s>``; taking the tokenizer's word alone would make
    it unable to stop. Among several, the one that the tokenizer calls eos comes first (it ends a chat turn).
    """
    for found in (model.generation_config.eos_token_id, model.config.eos_token_id, tokenizer.eos_token_id):
        ids = [found] if isinstance(found, int) else list(found or [])
        if ids:
            if tokenizer.eos_token_id in ids:
                ids.sort(key=lambda token: token != tokenizer.eos_token_id)
            return tuple(ids)
    raise UserError(
        "no_end_token",
        f"The model in {folder.name} names no end-of-text token, so it could never learn to stop.",
        field="base_model",
        reason="bad_config",
    )


def _context_length(config: Any) -> int:
    text = getattr(config, "text_config", None) or config
    return next((int(value) for name in CONTEXT_FIELDS if isinstance(value := getattr(text, name, None), int)), 2048)
