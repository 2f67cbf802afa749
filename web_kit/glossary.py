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
    "acceptance_rule": Term(
        _("Acceptance rule"),
        _(
            "A demand of yours on every answer, such as a phrase that must not occur. It is checked on every later model."
        ),
    ),
    "accuracy": Term(_("Accuracy"), _("The share of cases answered correctly. 0.90 means 90 of 100.")),
    "accuracy_loglik": Term(
        _("Accuracy by likelihood"),
        _("The share of cases where the right label is the one that the model finds likeliest, whatever it writes."),
    ),
    "adapter": Term(
        _("Adapter"),
        _("The small file that training makes. It sits on top of the base model and changes how it answers."),
    ),
    "adversarial_resistance": Term(
        _("Resistance to tricks"), _("How often the model keeps to its task when a text tries to talk it out of it.")
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
    "bits_per_byte": Term(
        _("Bits per byte"),
        _("How surprised the model is at the expected answer, letter by letter. Lower is better, across all models."),
    ),
    "bleu": Term(
        _("BLEU"),
        _("How many short phrases of the answer also stand in the expected one, from 0 to 100. Made for translations."),
    ),
    "blind_review": Term(
        _("Blind review"), _("People judge two answers without knowing which model wrote which, so no one is biased.")
    ),
    "calibration": Term(
        _("Calibration"),
        _(
            "Whether the model is right as often as it is sure: of 100 answers given with confidence 0.8, 80 should be right."
        ),
    ),
    "catastrophic_forgetting": Term(
        _("Forgetting"),
        _(
            "Training on one task can overwrite what the base model could do before. Also called catastrophic forgetting."
        ),
    ),
    "checkpoint": Term(
        _("Checkpoint"),
        _("A saved state of the model during training. A job can go on from it, and you can use it as a model."),
    ),
    "chrf": Term(
        _("chrF"),
        _(
            "How many short runs of letters the answer shares with the expected one, from 0 to 100. Suits all languages."
        ),
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
    "contender": Term(_("Contender"), _("One of the models that answer the same cases in an evaluation.")),
    "cost_per_answer": Term(
        _("Cost per answer"),
        _("What one answer costs: its tokens at their price, or the time that a machine works for it."),
    ),
    "counterfactual": Term(
        _("Counterfactual swap"),
        _("The same question with another name, pronoun or place. A fair model's answer should not change."),
    ),
    "dataset": Term(_("Dataset"), _("Your examples, as imported from one or more files.")),
    "degradation": Term(
        _("Degradation"),
        _("The share of its quality that the model loses when the questions are made harder. 0.10 means a tenth."),
    ),
    "demographic_parity_difference": Term(
        _("Demographic parity difference"),
        _("How much more often one group than another gets an answer. 0 means equally often."),
    ),
    "deployment": Term(
        _("Deployment"), _("A trained model that is switched on and answers requests at its own address.")
    ),
    "discordance": Term(
        _("Discordance"), _("The share of cases on which two models differ: one is right and the other is wrong.")
    ),
    "dpo": Term(
        _("Preference training"),
        _("Training from pairs of a better and a worse answer instead of one right answer. Its short name is DPO."),
    ),
    "drift": Term(
        _("Drift"),
        _(
            "What is asked slowly becomes different from what the model was taught: longer, in another language, about "
            "other things. The model is then less reliable without anybody having changed it."
        ),
    ),
    "early_stopping": Term(
        _("Early stopping"), _("Training ends by itself when the validation loss no longer improves.")
    ),
    "ece_10_bin": Term(
        _("Calibration error"),
        _(
            "How far the model's confidence is from how often it is right, on average. 0 is perfect. Its short name is ECE."
        ),
    ),
    "edge_case_handling": Term(
        _("Odd input"), _("Whether the model copes with empty, very long, foreign or broken questions.")
    ),
    "endpoint": Term(
        _("Model behind an address"), _("A model on another server that is asked over the network in OpenAI's way.")
    ),
    "epoch": Term(_("Epoch"), _("One pass through all training examples.")),
    "equalized_odds_difference": Term(
        _("Equalised odds difference"), _("How differently mistakes fall on groups of people. 0 means alike.")
    ),
    "evaluation": Term(
        _("Evaluation"), _("A test of one or more models on cases that none of them has seen during training.")
    ),
    "exact_match": Term(_("Exact match"), _("The share of answers that equal the expected answer word for word.")),
    "example": Term(_("Example"), _("One case: what is asked, and the answer you want.")),
    "f1": Term(
        _("Word F1"),
        _("How many words the answer shares with the expected one, neither more nor fewer. 1 means all of them."),
    ),
    "failure_cluster": Term(_("Failure cluster"), _("Wrong answers whose questions are about the same thing.")),
    "fairness": Term(
        _("Fairness"),
        _("Whether groups of people are served equally well, and whether a swapped name changes an answer."),
    ),
    "false_hit": Term(_("Told wrongly"), _("An answer told again although the two questions differ in meaning.")),
    "few_shot": Term(
        _("Few-shot examples"),
        _("Solved examples that the model reads before each question, instead of learning from them."),
    ),
    "field_f1": Term(
        _("Field F1"), _("How many fields of a structured answer (JSON) have the right name and the right value.")
    ),
    "fine_tuning": Term(
        _("Fine-tuning"), _("Teaching a ready-made language model your task with examples of your own.")
    ),
    "flip_rate": Term(
        _("Flip rate"),
        _(
            "How often an answer changes between right and wrong, or at all, when the question is only worded otherwise."
        ),
    ),
    "forgetting": Term(
        _("Forgetting"),
        _("What the base model could do and the trained model no longer can, because training wrote over it."),
    ),
    "format_flexibility": Term(
        _("Other formats"),
        _("Whether the model stays right when the same question comes with bullets, quotes or other dates."),
    ),
    "gradient_accumulation": Term(
        _("Gradient accumulation"), _("Several small batches counted as one large batch, to save memory.")
    ),
    "gradient_norm": Term(
        _("Gradient norm"),
        _("How strongly a batch wants to change the model. Sudden peaks say that the learning rate is too large."),
    ),
    "headline_metric": Term(_("Headline metric"), _("The one figure that decides, named before anything is measured.")),
    "json_valid": Term(_("Valid JSON"), _("The share of answers that a program can read as JSON.")),
    "judge": Term(
        _("Judge"),
        _("Another language model that says which of two answers is better. A second opinion that can be biased."),
    ),
    "latency": Term(_("Latency"), _("How long it takes from the question to the whole answer.")),
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
    "krippendorff_alpha": Term(
        _("Krippendorff's alpha"),
        _("Agreement of raters beyond chance: 1 is perfect, 0 as if they had guessed. Above 0.8 is reliable."),
    ),
    "gwet_ac1": Term(
        _("Gwet's AC1"),
        _("Agreement beyond chance that stays meaningful when nearly all answers are judged the same."),
    ),
    "rater_agreement": Term(
        _("Agreement"), _("How far several people judge the same case alike. Without it a result says little.")
    ),
    "semantic_cache": Term(
        _("Telling again"),
        _(
            "The answer to one question is told again to another that a program holds to mean the same. Fast and free, "
            "and wrong when the two differ after all."
        ),
    ),
    "sign_test": Term(
        _("Sign test"),
        _("How likely a result at least this clear would be if both models were equally good. Below 0.05 is firm."),
    ),
    "stratum": Term(
        _("Stratum"), _("A group of cases that is drawn in its own proportion, so that a rare kind is not left out.")
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
    "noise_floor": Term(
        _("Noise floor"),
        _(
            "How often an answer changes when a name is swapped for another of the same group. Only what goes beyond it counts."
        ),
    ),
    "order_agreement": Term(
        _("Agreement with itself"), _("How often the judge says the same when the two answers change places.")
    ),
    "overall_score": Term(
        _("Overall score"),
        _(
            "One figure from 0 to 1 over all measurements, with weights that you can change. It never decides the verdict."
        ),
    ),
    "overfitting": Term(
        _("Memorising"),
        _("The model learns the training examples by heart and gets worse on new ones. Its field name is overfitting."),
    ),
    "p_value": Term(
        _("P-value"),
        _("How often chance alone would show a difference this large. Below 0.05 is commonly taken as a real effect."),
    ),
    "pattern": Term(
        _("Regular expression"),
        _(
            r"A short way to write what a text looks like: \d stands for a digit, + for once or more, ^ for the beginning."
        ),
    ),
    "perplexity": Term(
        _("Perplexity"), _("How surprised the model is by the right answers. Lower is better; 1 is not surprised.")
    ),
    "pii": Term(_("Personal data"), _("Names, e-mail addresses, numbers and the like that point to a person.")),
    "precision": Term(_("Precision"), _("Of the cases the model gave this label, the share that really had it.")),
    "prompt": Term(_("Prompt"), _("What the model is asked: the question, the text or the instruction.")),
    "prompt_injection": Term(
        _("Prompt injection"), _("A text that hides orders to the model, such as to reveal its instructions.")
    ),
    "prompting": Term(
        _("Prompting"),
        _("Telling a ready-made model what to do, in words or with a few solved examples, instead of training it."),
    ),
    "qlora": Term(_("QLoRA"), _("LoRA on a base model that is held in memory in a compressed form.")),
    "quasi_exact_match": Term(
        _("Quasi exact match"),
        _("The share of answers that equal the expected one, but for case, punctuation and articles."),
    ),
    "recall": Term(_("Recall"), _("Of the cases that really have this label, the share that the model found.")),
    "regression_case": Term(
        _("Case that must never break"),
        _("A question with its right answer that every later model is asked. One wrong answer is reported."),
    ),
    "retention": Term(
        _("Retention"),
        _("How much of the base model's ability is left, chance subtracted. 1 means all, 0.9 means a tenth is gone."),
    ),
    "rewards_accuracy": Term(
        _("Reward accuracy"), _("In what share of the pairs the model has come to like the better answer more.")
    ),
    "rewards_margin": Term(
        _("Reward margin"), _("By how much the model has come to like the better answer more than the worse one.")
    ),
    "robustness": Term(
        _("Robustness"),
        _("Whether the model stays right when people mistype, write in another form, or try to trick it."),
    ),
    "roi": Term(
        _("Return on investment"),
        _("What is saved over some months, for each unit of money that was spent at the outset."),
    ),
    "rouge1": Term(
        _("ROUGE-1"), _("How many words of the expected answer stand in the answer, and the other way round.")
    ),
    "rouge2": Term(
        _("ROUGE-2"),
        _("How many pairs of neighbouring words of the expected answer stand in the answer, and the other way round."),
    ),
    "rougeL": Term(
        _("ROUGE-L"), _("How long a run of words, in the same order, the answer shares with the expected one.")
    ),
    "rougeLsum": Term(_("ROUGE-Lsum"), _("As ROUGE-L, line by line: for answers of several sentences.")),
    "schema_f1": Term(
        _("Schema F1"),
        _("How many fields of a structured answer (JSON) have the right name and kind, whatever their value."),
    ),
    "seed": Term(_("Seed"), _("The number that starts the dice. The same seed gives the same shuffle.")),
    "sft": Term(
        _("Learning from examples"),
        _("Training on pairs of a question and the answer you want. Its short name is SFT, supervised fine-tuning."),
    ),
    "slice": Term(_("Slice"), _("A part of the cases, such as one kind of contract, with figures of its own.")),
    "snapshot": Term(
        _("Snapshot"),
        _("A frozen copy of your dataset, divided for training and testing. It never changes afterwards."),
    ),
    "split": Term(
        _("Split"), _("The division of your examples: most to train, some to check on the way, some for the last test.")
    ),
    "step": Term(_("Training step"), _("One adjustment of the model, after one batch of examples.")),
    "system_prompt": Term(
        _("Instructions"), _("What the model is told before the question, every time. Its short name is system prompt.")
    ),
    "temperature": Term(
        _("Temperature"), _("How freely the model picks its words. 0 always gives the most likely answer.")
    ),
    "ter": Term(
        _("TER"), _("How many edits would turn the answer into the expected one, for each 100 words. Lower is better.")
    ),
    "test": Term(_("Test examples"), _("Examples kept aside until the end. Only they show how good the model is.")),
    "time_to_first_token": Term(
        _("Time to the first word"), _("How long a person waits until the first word of an answer appears.")
    ),
    "token": Term(_("Token"), _("A piece of a word. 100 tokens are about 75 English words.")),
    "trained_model": Term(_("Trained model"), _("A base model together with the adapter that your examples made.")),
    "typo_resistance": Term(
        _("Mistyped questions"),
        _("Whether the model stays right when letters of the question are missing, doubled or swapped."),
    ),
    "validation": Term(
        _("Validation"), _("Examples kept aside to check the model during training. It never learns from them.")
    ),
    "validation_loss": Term(
        _("Validation loss"),
        _("The loss on examples the model does not learn from. When it rises, the model begins to memorise."),
    ),
    "warmup": Term(_("Warm-up"), _("The first steps, in which adjustments start small and grow to their full size.")),
    "weight_decay": Term(_("Weight decay"), _("A gentle pull back to the base model that hinders memorising.")),
    "win_rate": Term(
        _("Win rate"),
        _("Of the comparisons that somebody decided, the share that the model won. 0.5 means equally good."),
    ),
    "worst_case": Term(
        _("Worst case"), _("The share of cases that stay right under every change that was tried, not only on average.")
    ),
}
