"""Which method of training fits which kind of data, and what to say when they do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasets_app.choices import TaskType
from datasets_app.models import Dataset
from finetune_engine.errors import UserError

PAIRS, VERDICTS = "pairs", "verdicts"
# What the formats of preference data hold; another format may hold either, and the engine looks at its rows.
HELD = {"preference": PAIRS, "openai_preference": PAIRS, "kto": VERDICTS}
NEEDED = {"dpo": PAIRS, "kto": VERDICTS}
WORDS = {PAIRS: "pairs of a better and a worse answer", VERDICTS: "answers with a verdict (wanted or not)"}
METHOD_FOR = {PAIRS: "dpo", VERDICTS: "kto"}


def check_method(spec: Mapping[str, Any], task_type: str, dataset: Dataset | None) -> None:
    """Raises UserError when the method of ``spec`` cannot learn what the data holds. Data of which the task is not yet
    known passes; it is checked again when it has been read."""
    method = str(spec.get("method", "sft"))
    if task_type in ("", TaskType.AUTO):
        return
    held = HELD.get(dataset.format) if dataset is not None and task_type == TaskType.PREFERENCE else None
    if task_type == TaskType.PREFERENCE and method == "sft":
        choice = f"Choose the method {METHOD_FOR[held]!r}." if held else "Choose 'dpo' for pairs, 'kto' for verdicts."
        raise _misfit(
            "preference_data",
            "This data holds pairs of a better and a worse answer (or answers with a verdict). Supervised training "
            f"(method 'sft') would learn as if there were only good answers. {choice}",
        )
    if method == "sft" or held == NEEDED[method]:
        return
    if task_type != TaskType.PREFERENCE:
        raise _misfit(
            "no_preferences",
            f"Method {method!r} learns from {WORDS[NEEDED[method]]}, and this data holds answers alone. Choose the "
            "method 'sft', or upload data of that kind.",
        )
    if held is not None:
        raise _misfit(
            "other_preferences",
            f"Method {method!r} learns from {WORDS[NEEDED[method]]}, and this data holds {WORDS[held]}. Choose the "
            f"method {METHOD_FOR[held]!r}.",
        )


def _misfit(code: str, sentence: str) -> UserError:
    return UserError(code, sentence, field="method", reason="bad_data")
