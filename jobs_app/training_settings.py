"""Training settings in people's words: presets, the help on each field, and what a request may set.

Names, defaults and limits are the engine's (``finetune_engine.train.spec``); nothing is repeated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from finetune_engine.train.spec import BEST_METRICS, METHODS, PEFT_KINDS, PRECISIONS, SCHEDULERS, TrainingSpec

Text = str | Promise

DEFAULTS = TrainingSpec()

# OpenAI's rule of thumb for "auto": small data is read more often, so that some hundred examples are seen.
_TARGET_PASSES, _FEWEST_SEEN, _MOST_SEEN, _MOST_PASSES = 3, 100, 25_000, 25


@dataclass(frozen=True)
class Preset:
    """A named choice of settings; ``values`` are TrainingSpec fields."""

    key: str
    name: Text
    sentence: Text
    values: Mapping[str, Any]


PRESETS: tuple[Preset, ...] = (
    Preset(
        "quick",
        _("Quick look"),
        _("One pass over your examples. Shows in the shortest time whether the data works; not the best model."),
        {"num_train_epochs": 1.0, "r": 8, "lora_alpha": 16},
    ),
    Preset(
        "balanced",
        _("Balanced"),
        _("Three passes, and it stops by itself when it no longer improves. The right choice for most data."),
        {},
    ),
    Preset(
        "thorough",
        _("Thorough"),
        _("Up to eight passes with a larger adapter. Takes about three times as long and keeps the best state."),
        {"num_train_epochs": 8.0, "r": 32, "lora_alpha": 64, "early_stopping_patience": 4},
    ),
)
PRESET_KEYS = tuple(preset.key for preset in PRESETS)


@dataclass(frozen=True)
class Setting:
    """One field under *Advanced*. ``kind`` is whole, number, choice, truth or words; ``glossary`` names a term."""

    name: str
    label: Text
    help: Text
    kind: str
    choices: tuple[str, ...] = ()
    glossary: str = ""
    takes_auto: bool = False

    @property
    def default(self) -> Any:
        """The engine's default."""
        return getattr(DEFAULTS, self.name)


SETTING_GROUPS: tuple[tuple[Text, tuple[Setting, ...]], ...] = (
    (
        _("How long it learns"),
        (
            Setting(
                "num_train_epochs",
                _("Passes over the examples"),
                _("More passes learn more, until the model begins to memorise."),
                "number",
                glossary="epoch",
            ),
            Setting(
                "early_stopping_patience",
                _("Patience"),
                _("Stop after this many checks in a row without improvement. 0 never stops early."),
                "whole",
                glossary="early_stopping",
            ),
            Setting(
                "learning_rate",
                _("Size of each adjustment"),
                _("Empty lets the base model's size decide. Too large and it forgets, too small and it hardly learns."),
                "number",
                glossary="learning_rate",
                takes_auto=True,
            ),
            Setting(
                "lr_scheduler_type",
                _("How adjustments shrink"),
                _("Cosine and linear make smaller adjustments towards the end."),
                "choice",
                SCHEDULERS,
            ),
            Setting(
                "warmup_steps",
                _("Gentle start"),
                _("Steps in which adjustments grow to full size; at most a tenth of all steps."),
                "whole",
                glossary="warmup",
            ),
        ),
    ),
    (
        _("What is trained"),
        (
            Setting(
                "method",
                _("What it learns from"),
                _(
                    "sft imitates your answers. dpo needs pairs of a better and a worse answer, kto answers marked as "
                    "wanted or not."
                ),
                "choice",
                METHODS,
                "sft",
            ),
            Setting(
                "peft",
                _("Kind of training"),
                _(
                    "lora trains a small add-on. rslora suits large add-ons, dora may learn a little more and is slower. "
                    "qlora keeps the base model in four bits: about a quarter of its memory, and slower. full changes "
                    "every weight and needs several times the memory."
                ),
                "choice",
                PEFT_KINDS,
                "lora",
            ),
            Setting(
                "r",
                _("Size of the add-on"),
                _("Larger can learn more and needs more memory. 8 to 64 are usual."),
                "whole",
                glossary="lora_r",
            ),
            Setting(
                "lora_alpha",
                _("Weight of the add-on"),
                _("Usually twice the size."),
                "whole",
                glossary="lora_alpha",
            ),
            Setting(
                "lora_dropout",
                _("Forgetting on purpose"),
                _("The share of the add-on left out at random in each step; hinders memorising."),
                "number",
            ),
            Setting(
                "target_modules",
                _("Where the add-on sits"),
                _("auto, all-linear, or names of the model's modules with commas between, such as q_proj, v_proj."),
                "words",
                takes_auto=True,
            ),
            Setting(
                "completion_only_loss",
                _("Learn from answers only"),
                _("Yes: the questions are read but not learned by heart."),
                "truth",
            ),
        ),
    ),
    (
        _("Memory and speed"),
        (
            Setting(
                "per_device_train_batch_size",
                _("Examples at a time"),
                _("Halve it when memory runs out, and double the next field."),
                "whole",
                glossary="batch_size",
            ),
            Setting(
                "gradient_accumulation_steps",
                _("Batches per adjustment"),
                _("Examples at a time × this = examples per adjustment."),
                "whole",
                glossary="gradient_accumulation",
            ),
            Setting(
                "per_device_eval_batch_size",
                _("Examples at a time when checking"),
                _("Checking needs less memory than learning."),
                "whole",
            ),
            Setting(
                "max_length",
                _("Longest example"),
                _("In tokens; longer ones are cut. auto measures your data."),
                "whole",
                glossary="max_length",
                takes_auto=True,
            ),
            Setting(
                "packing",
                _("Pack short examples together"),
                _("Saves time when examples are short."),
                "truth",
                takes_auto=True,
            ),
            Setting(
                "precision",
                _("Number format"),
                _("auto takes what the device computes fastest without losing quality."),
                "choice",
                PRECISIONS,
            ),
            Setting(
                "gradient_checkpointing",
                _("Trade time for memory"),
                _("Needs about a third more time and much less memory."),
                "truth",
                takes_auto=True,
            ),
        ),
    ),
    (
        _("Learning from preferences"),
        (
            Setting(
                "beta",
                _("Hold on to the base model"),
                _("Only for dpo and kto. Larger stays closer to the model it started from; 0.1 is usual."),
                "number",
                glossary="dpo",
            ),
            Setting(
                "desirable_weight",
                _("Weight of wanted answers"),
                _("Only for kto. Raise it when your data has fewer wanted answers than unwanted ones."),
                "number",
            ),
            Setting(
                "undesirable_weight",
                _("Weight of unwanted answers"),
                _("Only for kto. Raise it when your data has fewer unwanted answers than wanted ones."),
                "number",
            ),
        ),
    ),
    (
        _("Care"),
        (
            Setting(
                "weight_decay",
                _("Pull back to the base model"),
                _("A gentle pull that hinders memorising."),
                "number",
                glossary="weight_decay",
            ),
            Setting("max_grad_norm", _("Largest adjustment"), _("Cuts off extreme adjustments."), "number"),
            Setting(
                "eval_steps",
                _("Check every so many steps"),
                _("Short trainings are checked at least eight times anyway."),
                "whole",
                glossary="step",
            ),
            Setting(
                "save_steps",
                _("Save every so many steps"),
                _("Short trainings save at least four times anyway."),
                "whole",
                glossary="checkpoint",
            ),
            Setting(
                "metric_for_best_model",
                _("Best means"),
                _("eval_loss: surest on unseen examples. eval_mean_token_accuracy: most words right."),
                "choice",
                BEST_METRICS,
            ),
            Setting(
                "load_best_model_at_end",
                _("Keep the best state"),
                _("No keeps the last state instead."),
                "truth",
            ),
            Setting("seed", _("Seed"), _("The same seed repeats the same training."), "whole", glossary="seed"),
        ),
    ),
)
SETTINGS: dict[str, Setting] = {item.name: item for _group, items in SETTING_GROUPS for item in items}


def checked(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that ``raw`` sets, as JSON values. Raises SpecProblems with every mistake in it."""
    spec = TrainingSpec.from_dict(raw).as_dict()
    return {name: spec[name] for name in raw}


def preset_values(key: str) -> dict[str, Any]:
    """The settings of a preset; an unknown key means Balanced."""
    return dict(next((preset.values for preset in PRESETS if preset.key == key), {}))


def automatic_passes(examples: int) -> int:
    """How often to read the data when nobody said: 3, more for very few examples, fewer for very many."""
    if examples < 1:
        return _TARGET_PASSES
    if examples * _TARGET_PASSES < _FEWEST_SEEN:
        return min(_MOST_PASSES, -(-_FEWEST_SEEN // examples))
    if examples * _TARGET_PASSES > _MOST_SEEN:
        return max(1, _MOST_SEEN // examples)
    return _TARGET_PASSES


def batch_settings(size: int) -> dict[str, int]:
    """Settings whose product is exactly ``size`` examples per adjustment, at most the default at a time."""
    most = min(size, DEFAULTS.per_device_train_batch_size)
    at_a_time = next(n for n in range(most, 0, -1) if size % n == 0)
    return {"per_device_train_batch_size": at_a_time, "gradient_accumulation_steps": size // at_a_time}
