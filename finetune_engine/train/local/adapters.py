"""Make a loaded base model trainable: put an adapter on it, or free all its weights."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch

from finetune_engine.errors import UserError
from finetune_engine.train.local.four_bit import count
from finetune_engine.train.local.load import LoadedModel
from finetune_engine.train.local.parallel import part, whole
from finetune_engine.train.setting_checks import WITH_EMBEDDINGS
from finetune_engine.train.spec import EffectiveSpec


@dataclass(frozen=True)
class Share:
    """How much of a model is trained."""

    trainable: int
    total: int

    @property
    def sentence(self) -> str:
        """In words, for the log."""
        percent = 100 * self.trainable / self.total
        return f"Training {self.trainable:,} of {self.total:,} parameters ({percent:.2f} %)."


def make_trainable(loaded: LoadedModel, spec: EffectiveSpec) -> Any:
    """The torch module to train, in training mode. The random start depends on ``spec.asked.seed`` only.

    Raises UserError ``bad_config`` when ``target_modules`` fit nothing in this model.
    """
    torch.manual_seed(spec.asked.seed)
    model = loaded.model
    if spec.asked.peft == "full":
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        if loaded.dtype == torch.float16:
            model.float()
    else:
        model = _with_lora(model, spec)
    if spec.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    model.train()
    return model


def _with_lora(model: Any, spec: EffectiveSpec) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=spec.asked.r,
        lora_alpha=spec.asked.lora_alpha,
        lora_dropout=spec.asked.lora_dropout,
        target_modules=_modules(model, spec.target_modules),
        use_rslora=spec.asked.peft == "rslora",
        use_dora=spec.asked.peft == "dora",
        bias="none",
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return get_peft_model(model, config)
    except ValueError as problem:
        names = sorted({name.rpartition(".")[2] for name, part in model.named_modules() if _is_linear(part)})
        raise UserError(
            "bad_config",
            f"target_modules fits no layer of this model. Its layers are called {', '.join(names)}.",
            field="target_modules",
            reason="bad_config",
        ) from problem


def _modules(model: Any, wanted: str | list[str]) -> str | list[str]:
    """peft's own words, or the names of all linear layers but the last and of the word vectors."""
    if wanted != WITH_EMBEDDINGS:
        return wanted
    named = dict(model.named_modules())
    last, vectors = model.get_output_embeddings(), model.get_input_embeddings()
    chosen = {name for name, part in named.items() if (_is_linear(part) and part is not last) or part is vectors}
    return sorted({name.rpartition(".")[2] for name in chosen})


def _is_linear(part: Any) -> bool:
    return isinstance(part, torch.nn.Linear)


def trainable_share(model: Any) -> Share:
    """Count trained and all parameters."""
    parameters = list(model.parameters())
    return Share(sum(count(p) for p in parameters if p.requires_grad), sum(count(p) for p in parameters))


def trainable_state(model: Any) -> dict[str, torch.Tensor]:
    """What training changes, by name, as whole tensors on the processor: adapter weights (peft's names) or all.

    A meeting of all processes where the model is spread over several.
    """
    return {name: whole(value) for name, value in _trained(model).items()}


def restore_trainable(model: Any, state: dict[str, torch.Tensor]) -> None:
    """Put the tensors of ``trainable_state`` back, bit for bit. Raises ValueError on a misfit."""
    trained = _trained(model)
    for name, value in state.items():
        if name not in trained:
            raise ValueError(f"the checkpoint has weights this model lacks: {name}")
        if trained[name].shape != value.shape:
            raise ValueError(f"{name} has the shape {tuple(value.shape)} in the checkpoint")
        with torch.no_grad():
            trained[name].copy_(part(trained[name], value))


def _trained(model: Any) -> dict[str, torch.Tensor]:
    """The tensors themselves: writing into them changes the model."""
    if hasattr(model, "get_base_model"):
        from peft import get_peft_model_state_dict

        return dict(get_peft_model_state_dict(model, save_embedding_layers=False))
    tied = set(model.all_tied_weights_keys or ()) if hasattr(model, "all_tied_weights_keys") else set()
    return {name: value for name, value in model.state_dict().items() if name not in tied}
