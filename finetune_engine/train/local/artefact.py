"""The artefact: a trained model as a folder that can be served, moved and checked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from finetune_engine.train.local.adapters import trainable_state
from finetune_engine.train.local.callbacks.tensorboard import FOLDER as TENSORBOARD
from finetune_engine.train.local.checkpoints import save_weights
from finetune_engine.train.local.commit import commit_folder
from finetune_engine.train.local.history import write_history
from finetune_engine.train.local.load import LoadedModel
from finetune_engine.train.local.loop import Outcome
from finetune_engine.train.local.team import ALONE, Team


def save_artefact(
    target: Path, model: Any, loaded: LoadedModel, outcome: Outcome, record: dict[str, Any], *, team: Team = ALONE
) -> str | None:
    """Commit weights, tokenizer, template, ``run.json``, ``metrics.csv`` and TensorBoard's files as ``target``.

    Returns the SHA-256 of its manifest (None in all processes of a team but the first). Raises EngineError
    ``disk_full``.
    """
    weights = trainable_state(model)
    if not team.is_first:
        return None

    def write(aside: Path) -> None:
        save_weights(aside, model, weights)
        _forget_paths(aside, loaded.ref.key)
        loaded.tokenizer.save_pretrained(str(aside))
        (aside / "chat_template.jinja").write_text(loaded.chat_template, encoding="utf-8")
        (aside / "run.json").write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
        write_history(aside / "metrics.csv", outcome.state.history)
        if (target.parent / TENSORBOARD).is_dir():
            shutil.copytree(target.parent / TENSORBOARD, aside / TENSORBOARD)

    return commit_folder(target, write, name="artefact")


def _forget_paths(folder: Path, key: str) -> None:
    """The adapter's config names its base by a path of this machine: name it by its key."""
    path = folder / "adapter_config.json"
    if path.exists():
        config = json.loads(path.read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = key
        path.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
