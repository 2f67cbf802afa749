"""Going on from a model that was trained before: its settings, its weights, its words."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import UserError
from finetune_engine.train.local.adapters import restore_trainable
from finetune_engine.train.local.checkpoints import load_weights
from finetune_engine.train.local.commit import MANIFEST, verify_folder
from finetune_engine.train.local.load import ADAPTER_WEIGHTS, LoadedModel, saved_template
from finetune_engine.train.local.template import sha256_of
from finetune_engine.train.spec import TrainingSpec


@dataclass(frozen=True)
class Parent:
    """The trained model to go on from. ``adapter`` is its adapter's configuration, None when it holds whole weights;
    ``sha256`` identifies it (None where it has no manifest)."""

    folder: Path
    adapter: dict[str, Any] | None
    sha256: str | None

    @property
    def sentence(self) -> str:
        """What is taken over, for the log."""
        if self.adapter is None:
            return "Going on from the weights of the earlier model."
        places = self.adapter.get("target_modules")
        names = ", ".join(places) if isinstance(places, list) else str(places)
        return (
            "Going on from the earlier model's add-on. Its kind, size and places are kept: "
            f"{_kind(self.adapter)}, r {self.adapter['r']}, lora_alpha {self.adapter['lora_alpha']}, in {names}."
        )

    def settings(self, asked: TrainingSpec) -> TrainingSpec:
        """The settings with what the parent decides. Raises UserError when they do not go together."""
        if self.adapter is None:
            if asked.peft != "full":
                raise _misfit("was trained on all its weights, so going on from it trains all weights too", "full")
            return asked
        if asked.peft == "full":
            raise _misfit("is an add-on, so going on from it trains the add-on", _kind(self.adapter))
        kind = _kind(self.adapter)
        return replace(
            asked,
            # An add-on trained on a base model in four bits is an ordinary one, and the other way round.
            peft="qlora" if asked.peft == "qlora" and kind == "lora" else kind,
            r=int(self.adapter["r"]),
            lora_alpha=int(self.adapter["lora_alpha"]),
            target_modules=self.adapter["target_modules"],
        )

    def base(self, ref: BaseModelRef) -> BaseModelRef:
        """Where the weights are loaded from: whole weights stand in the parent's own folder."""
        return ref if self.adapter is not None else replace(ref, path=str(self.folder), hub=None)

    def spoken(self, loaded: LoadedModel) -> LoadedModel:
        """The base model with the chat template that the parent was trained with."""
        template = saved_template(self.folder) or loaded.chat_template
        return replace(loaded, chat_template=template, template_sha256=sha256_of(template))

    def teach(self, model: Any) -> None:
        """Give a newly adapted model the parent's add-on. Raises UserError when it does not fit the base model."""
        if self.adapter is None:
            return
        try:
            restore_trainable(model, load_weights(self.folder))
        except ValueError as problem:
            raise UserError(
                "parent_misfit",
                f"The earlier model does not fit this base model: {problem}. Choose the base model it was made from.",
                field="parent_model",
                reason="bad_config",
            ) from problem


def read_parent(folder: Path) -> Parent:
    """The trained model in ``folder``. Raises UserError ``parent_missing`` when it is not a whole one,
    ``parent_damaged`` when its files are not those of its manifest."""
    sha256 = verify_folder(folder)
    if sha256 is None and (folder / MANIFEST).exists():
        raise UserError(
            "parent_damaged",
            "The earlier model's files are damaged: they are not what was saved. Choose another model to go on from, or "
            "start from the base model.",
            field="parent_model",
            reason="bad_config",
        )
    config = folder / "adapter_config.json"
    if config.is_file() and (folder / ADAPTER_WEIGHTS).is_file():
        return Parent(folder, json.loads(config.read_text(encoding="utf-8")), sha256)
    if (folder / "config.json").is_file():
        return Parent(folder, None, sha256)
    raise UserError(
        "parent_missing",
        "The earlier model's files are not there. Choose another model to go on from, or start from the base model.",
        field="parent_model",
        reason="bad_config",
    )


def _kind(adapter: dict[str, Any]) -> str:
    return "dora" if adapter.get("use_dora") else "rslora" if adapter.get("use_rslora") else "lora"


def _misfit(what: str, kind: str) -> UserError:
    sentence = f"The earlier model {what}. Choose {kind!r} as the kind of training."
    return UserError("parent_misfit", sentence, field="peft", reason="bad_config")
