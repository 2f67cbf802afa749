"""The one glossary: the field's words, explained for people of other fields."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class Term:
    """A word of the field and what it means. Both are translated when shown."""

    word: str | Promise
    meaning: str | Promise


GLOSSARY: dict[str, Term] = {
    "accuracy": Term(_("Accuracy"), _("The share of cases answered correctly. 0.90 means 90 of 100.")),
    "adapter": Term(
        _("Adapter"),
        _("The small file that training makes. It sits on top of the base model and changes how it answers."),
    ),
    "artefact": Term(_("Result file"), _("The finished model files of a job, kept with a fingerprint of each file.")),
    "base_model": Term(
        _("Base model"), _("The ready-made language model that you start from. Training never changes it.")
    ),
    "baseline": Term(
        _("Baseline"),
        _("A simple method to compare with, such as always giving the most frequent label. A model must beat it."),
    ),
    "batch_size": Term(
        _("Batch size"), _("How many examples the model reads before it adjusts itself. Larger needs more memory.")
    ),
    "blind_review": Term(
        _("Blind review"), _("People judge two answers without knowing which model wrote which, so no one is biased.")
    ),
    "checkpoint": Term(
        _("Checkpoint"),
        _("A saved state of the model during training. A job can go on from it, and you can use it as a model."),
    ),
    "completion": Term(_("Completion"), _("The answer that the model should learn to write.")),
    "confidence": Term(
        _("Confidence"),
        _("How sure the model was of its own words, from 0 to 1. High confidence is not a guarantee of truth."),
    ),
    "confidence_interval": Term(
        _("Confidence interval"),
        _("The range in which the true value probably lies. Few test cases make it wide."),
    ),
    "confusion_matrix": Term(
        _("Confusion matrix"), _("A table of what was expected against what the model said. The diagonal is correct.")
    ),
    "dataset": Term(_("Dataset"), _("Your examples, as imported from one or more files.")),
    "deployment": Term(
        _("Deployment"), _("A trained model that is switched on and answers requests at its own address.")
    ),
    "dpo": Term(
        _("Preference training"),
        _("Training from pairs of a better and a worse answer instead of one right answer. Its short name is DPO."),
    ),
    "early_stopping": Term(
        _("Early stopping"), _("Training ends by itself when the validation loss no longer improves.")
    ),
    "epoch": Term(_("Epoch"), _("One pass through all training examples.")),
    "evaluation": Term(
        _("Evaluation"), _("A test of one or more models on cases that none of them has seen during training.")
    ),
    "exact_match": Term(_("Exact match"), _("The share of answers that equal the expected answer word for word.")),
    "example": Term(_("Example"), _("One case: what is asked, and the answer you want.")),
    "fine_tuning": Term(
        _("Fine-tuning"), _("Teaching a ready-made language model your task with examples of your own.")
    ),
    "gradient_accumulation": Term(
        _("Gradient accumulation"), _("Several small batches counted as one large batch, to save memory.")
    ),
    "gradient_norm": Term(
        _("Gradient norm"),
        _("How strongly a batch wants to change the model. Sudden peaks say that the learning rate is too large."),
    ),
    "leakage": Term(
        _("Leakage"), _("The same case is in training and in the test, which makes the result look too good.")
    ),
    "learning_rate": Term(
        _("Learning rate"), _("How large each adjustment is. Too large and it forgets; too small and it hardly learns.")
    ),
    "lora": Term(
        _("LoRA"),
        _("A way of training that changes a small add-on instead of the whole model. Faster, and easy to undo."),
    ),
    "lora_alpha": Term(_("LoRA alpha"), _("How strongly the add-on counts against the base model.")),
    "lora_r": Term(_("LoRA rank"), _("The size of the add-on. Larger can learn more and needs more memory.")),
    "loss": Term(
        _("Loss"), _("How far the model's answers are from yours. Lower is better. It has no unit; watch its trend.")
    ),
    "macro_f1": Term(
        _("Macro F1"),
        _("A score from 0 to 1 that gives every label the same weight, so rare labels count as much as common ones."),
    ),
    "max_length": Term(
        _("Maximum length"), _("Examples longer than this many tokens are cut. Longer needs more memory.")
    ),
    "mcc": Term(
        _("Matthews correlation"),
        _("Agreement with the right labels from -1 to 1. 0 is no better than chance, even when one label dominates."),
    ),
    "metric": Term(_("Metric"), _("A number that says how good the answers are in one respect.")),
    "overfitting": Term(
        _("Memorising"),
        _("The model learns the training examples by heart and gets worse on new ones. Its field name is overfitting."),
    ),
    "p_value": Term(
        _("P-value"),
        _("How often chance alone would show a difference this large. Below 0.05 is commonly taken as a real effect."),
    ),
    "perplexity": Term(
        _("Perplexity"), _("How surprised the model is by the right answers. Lower is better; 1 is not surprised.")
    ),
    "pii": Term(_("Personal data"), _("Names, e-mail addresses, numbers and the like that point to a person.")),
    "precision": Term(_("Precision"), _("Of the cases the model gave this label, the share that really had it.")),
    "prompt": Term(_("Prompt"), _("What the model is asked: the question, the text or the instruction.")),
    "qlora": Term(_("QLoRA"), _("LoRA on a base model that is held in memory in a compressed form.")),
    "recall": Term(_("Recall"), _("Of the cases that really have this label, the share that the model found.")),
    "rewards_accuracy": Term(
        _("Reward accuracy"), _("In what share of the pairs the model has come to like the better answer more.")
    ),
    "rewards_margin": Term(
        _("Reward margin"), _("By how much the model has come to like the better answer more than the worse one.")
    ),
    "seed": Term(_("Seed"), _("The number that starts the dice. The same seed gives the same shuffle.")),
    "sft": Term(
        _("Learning from examples"),
        _("Training on pairs of a question and the answer you want. Its short name is SFT, supervised fine-tuning."),
    ),
    "snapshot": Term(
        _("Snapshot"),
        _("A frozen copy of your dataset, divided for training and testing. It never changes afterwards."),
    ),
    "split": Term(
        _("Split"), _("The division of your examples: most to train, some to check on the way, some for the last test.")
    ),
    "step": Term(_("Training step"), _("One adjustment of the model, after one batch of examples.")),
    "temperature": Term(
        _("Temperature"), _("How freely the model picks its words. 0 always gives the most likely answer.")
    ),
    "test": Term(_("Test examples"), _("Examples kept aside until the end. Only they show how good the model is.")),
    "token": Term(_("Token"), _("A piece of a word. 100 tokens are about 75 English words.")),
    "trained_model": Term(_("Trained model"), _("A base model together with the adapter that your examples made.")),
    "validation": Term(
        _("Validation"), _("Examples kept aside to check the model during training. It never learns from them.")
    ),
    "validation_loss": Term(
        _("Validation loss"),
        _("The loss on examples the model does not learn from. When it rises, the model begins to memorise."),
    ),
    "warmup": Term(_("Warm-up"), _("The first steps, in which adjustments start small and grow to their full size.")),
    "weight_decay": Term(_("Weight decay"), _("A gentle pull back to the base model that hinders memorising.")),
}
