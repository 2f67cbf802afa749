"""A report with everything in it, as the engine writes it: three models, all suites, rules, slices, heaps of failures."""

from __future__ import annotations

from typing import Any

KEYS = ("tuned", "base", "asked")


def score(metric: str, value: float, low: float, high: float, n: int = 120) -> dict[str, Any]:
    better = metric != "perplexity"
    return {
        "metric": metric,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "n": n,
        "higher_is_better": better,
        "signature": "Wilson 95 %",
    }


def model(key: str, name: str, kind: str, accuracy: float, perplexity: float) -> dict[str, Any]:
    scores = [
        score("accuracy", accuracy, accuracy - 0.08, min(1.0, accuracy + 0.07)),
        score("macro_f1", accuracy - 0.03, accuracy - 0.12, accuracy + 0.05),
        score("mcc", accuracy - 0.1, accuracy - 0.2, accuracy),
        score("perplexity", perplexity, perplexity * 0.8, perplexity * 1.3),
    ]
    classes = [
        {"label": "Termination", "precision": 0.9, "recall": 0.86, "f1": 0.88, "support": 36},
        {"label": "Governing law", "precision": 0.84, "recall": 0.91, "f1": 0.87, "support": 44},
        {"label": "Force majeure", "precision": 0.8, "recall": 0.55, "f1": 0.65, "support": 31},
        {"label": "Notices", "precision": 0.7, "recall": 0.78, "f1": 0.74, "support": 9},
    ]
    labels = [row["label"] for row in classes] + ["(no valid answer)"]
    matrix = [[31, 2, 2, 1, 0], [1, 40, 1, 2, 0], [6, 5, 17, 1, 2], [0, 2, 0, 7, 0], [0, 0, 0, 0, 0]]
    return {
        "key": key,
        "name": name,
        "kind": kind,
        "scores": scores,
        "per_class": classes,
        "confusion": {"labels": labels, "matrix": matrix},
        "performance": None,
    }


def speed(factor: float) -> dict[str, Any]:
    sizes = ((1, 1.4, 0.7), (10, 9.1, 1.1), (50, 22.0, 2.3), (100, 24.5, 4.1))
    return {
        "avg_latency": 0.71 * factor,
        "p50_latency": 0.68 * factor,
        "p95_latency": 1.02 * factor,
        "p99_latency": 1.31 * factor,
        "time_to_first_token": 0.08 * factor,
        "tokens_per_second": 42.0 / factor,
        "peak_memory_bytes": 612_000_000,
        "throughput_tests": [
            {"batch_size": size, "throughput": rate / factor, "avg_latency": seconds * factor}
            for size, rate, seconds in sizes
        ],
        "batch_sizes_left_out": [],
    }


def robustness() -> list[dict[str, Any]]:
    tests = []
    for name, original, perturbed, worst in (
        ("typo_resistance", 0.81, 0.62, 0.48),
        ("format_flexibility", 0.81, 0.78, 0.71),
        ("edge_case_handling", 0.7, 0.66, 0.6),
        ("adversarial_resistance", 0.81, 0.74, 0.7),
    ):
        figures = {
            "score": perturbed,
            "original": original,
            "perturbed": perturbed,
            "worst_case": worst,
            "flip_rate": 0.21,
            "degradation": perturbed / original,  # what is left: 1 - (original - perturbed) / original
        }
        parts = [
            {"kind": "typos", "level": 0.01, "n": 120, "original": 0.81, "perturbed": 0.77, "flip_rate": 0.07},
            {"kind": "typos", "level": 0.05, "n": 120, "original": 0.81, "perturbed": 0.64, "flip_rate": 0.24},
            {"kind": "typos", "level": 0.1, "n": 120, "original": 0.81, "perturbed": 0.48, "flip_rate": 0.41},
        ]
        if name == "adversarial_resistance":
            attack = {"original": 0.81, "perturbed": 0.7, "flip_rate": 0.11, "attack_success_rate": 0.34}
            parts = [{"kind": "direct_injection", "level": None, "n": 50} | attack]
        example = {
            "row": 12,
            "prompt": "Either party may end this agreement on thirty days' notice.",
            "changed_prompt": "Eithre parti may end thsi agreemnet on thirty dyas' notcie.",
            "expected": "Termination",
            "answer": "Termination",
            "changed_answer": "Notices",
        }
        tests.append(
            {"test": name, "n": 120, "ci_low": perturbed - 0.09, "ci_high": perturbed + 0.08, "reason": None}
            | figures
            | {
                "parts": parts if name in ("typo_resistance", "adversarial_resistance") else [],
                "by_model": dict.fromkeys(KEYS, figures),
                "examples": [example] if name == "typo_resistance" else [],
            }
        )
    return tests


def fairness() -> dict[str, Any]:
    lines = [
        {"group": "Germany", "n": 61, "value": 0.85, "ci_low": 0.74, "ci_high": 0.92, "suppressed": False},
        {"group": "France", "n": 47, "value": 0.77, "ci_low": 0.63, "ci_high": 0.87, "suppressed": False},
        {"group": "Malta", "n": 12, "value": None, "ci_low": None, "ci_high": None, "suppressed": True},
    ]
    group = {
        "column": "country",
        "metric": "accuracy",
        "by_group": lines,
        "difference": 0.08,
        "difference_low": -0.04,
        "difference_high": 0.2,
        "ratio": 0.9,
        "demographic_parity_difference": 0.03,
        "equalized_odds_difference": 0.11,
        "is_finding": False,
        "sentence": "No gap between groups of country can be told from chance.",
    }
    swap = {
        "kind": "names",
        "n": 84,
        "flip_rate": 0.14,
        "ci_low": 0.08,
        "ci_high": 0.23,
        "noise_floor": 0.02,
        "excess": 0.12,
        "excess_low": 0.05,
        "excess_high": 0.2,
        "is_finding": True,
        "sentence": "Swapping names changes 14 % of the answers, 12 points more than chance.",
        "examples": [
            {
                "row": 40,
                "prompt": "Mr Miller shall give notice in writing.",
                "changed_prompt": "Ms Nguyen shall give notice in writing.",
                "answer": "Notices",
                "changed_answer": "Termination",
            }
        ],
    }
    return {"groups": [group], "counterfactual": [swap], "score": 0.88}


def capabilities() -> dict[str, Any]:
    kept = {
        "probe": "language",
        "chance": 0.25,
        "base": 0.62,
        "tuned": 0.5,
        "n": 80,
        "retention": 0.676,
        "ci_low": 0.45,
        "ci_high": 0.88,
        "measurable": True,
        "reason": None,
        "is_finding": True,
        "sentence": "It has kept 68 % of its language.",
    }
    unknown = kept | {
        "probe": "reasoning",
        "base": 0.27,
        "tuned": 0.26,
        "retention": None,
        "ci_low": None,
        "ci_high": None,
        "measurable": False,
        "reason": "The base model is not clearly above guessing.",
        "is_finding": False,
        "sentence": "",
    }
    example = {
        "probe": "language",
        "question": "The cat sat on the ___",
        "base_answer": "mat",
        "tuned_answer": "Termination",
    }
    text = {"base": 3.21, "tuned": 3.4, "change": 0.059, "unit": "nats per token", "is_finding": False}
    return {"probes": [kept, unknown], "general_text": text, "examples": [example]}


def cost() -> dict[str, Any]:
    def line(name: str, money: float | None, reason: str | None) -> dict[str, Any]:
        return {
            "name": name,
            "prompt_tokens": 148.2,
            "completion_tokens": 4.1,
            "money_per_answer": money,
            "currency": "EUR",
            "basis": "0.71 s of the machine at 2.1 EUR an hour, one answer at a time" if money else None,
            "reason": reason,
        }

    training = {
        "seconds": 1840.0,
        "device": "CPU, 8 cores",
        "device_hours": 0.51,
        "amount": 1.07,
        "currency": "EUR",
        "energy_kwh": 0.06,
        "basis": "0.51 device hours at 2.1 EUR",
        "reason": None,
    }
    other = {
        "name": "Big model at a provider",
        "money_per_answer": 0.00074,
        "currency": "EUR",
        "source": "https://example.org/prices",
        "at": "2026-11-01",
        "basis": "",
        "reason": None,
    }
    return {
        "by_model": {
            "tuned": line("Clauses", 0.000414, None),
            "base": line("demo-base", 0.000401, None),
            "asked": line("demo-base, 4 examples", None, "No price is recorded."),
        },
        "training": training,
        "alternatives": [other],
    }


def comparison() -> dict[str, Any]:
    return {
        "metric": "accuracy",
        "base": 0.5,
        "tuned": 0.808,
        "difference": 0.308,
        "ci_low": 0.2,
        "ci_high": 0.41,
        "p_value": 0.0001,
        "p_holm": 0.0003,
        "test": "exact McNemar",
        "n": 120,
        "better": 42,
        "worse": 5,
        "against": "base",
    }


def changed_cases() -> dict[str, Any]:
    """One answer that got better, with markup in its prompt, and one that got worse."""
    case = {
        "row": 7,
        "prompt": "This agreement shall be governed by the laws of Ontario. <script>alert(1)</script>",
        "reference": "Governing law",
        "base_answer": "",
        "tuned_answer": "Governing law",
    }
    worse = case | {"row": 9, "base_answer": "Governing law", "tuned_answer": "Notices"}
    return {"improved": [case], "worsened": [worse], "worst": []}


def findings() -> list[dict[str, Any]]:
    return [
        {"suite": "robustness", "tone": "warn", "text": "Typing mistakes cost it 23 % of its value."},
        {"suite": "fairness", "tone": "bad", "text": "Swapping names changes 14 % of the answers."},
        {"suite": "capabilities", "tone": "warn", "text": "It has kept 68 % of its language."},
        {"suite": "performance", "tone": "ok", "text": "Half of the answers are there after 0.7 s."},
    ]


def quality() -> dict[str, Any]:
    bins = [
        {"low": n / 10, "high": (n + 1) / 10, "n": 40, "confidence": n / 10 + 0.05, "accuracy": min(1.0, n / 10 + 0.02)}
        for n in range(4, 10)
    ]
    curve = [{"coverage": n / 20, "accuracy": 0.97 - n * 0.008} for n in range(1, 21)]
    return {
        "automated_metrics": {"accuracy": 0.808, "macro_f1": 0.78},
        "human_eval_needed": True,
        "sample_for_review": [1, 2, 3],
        "calibration": {"ece_10_bin": 0.04, "n": 320, "bins": bins, "curve": curve},
    }


def judge() -> dict[str, Any]:
    return {
        "model": "judge-1",
        "n": 50,
        "wins": 28,
        "losses": 9,
        "ties": 13,
        "order_agreement": 0.84,
        "win_rate": 0.757,
        "ci_low": 0.6,
        "ci_high": 0.87,
        "votes": [],
    }


def overall_score() -> dict[str, Any]:
    return {
        "value": 0.79,
        "reason": None,
        "weights": {"quality": 0.5, "robustness": 0.2, "fairness": 0.1, "performance": 0.1, "cost": 0.1},
        "parts": [
            {"suite": "quality", "score": 0.81, "weight": 0.5, "reason": None},
            {"suite": "robustness", "score": 0.7, "weight": 0.2, "reason": None},
            {"suite": "fairness", "score": 0.88, "weight": 0.1, "reason": None},
            {"suite": "performance", "score": 0.7, "weight": 0.1, "reason": None},
            {"suite": "cost", "score": 0.97, "weight": 0.1, "reason": None},
            {"suite": "capabilities", "score": 0.68, "weight": 0.0, "reason": None},
        ],
        "left_out": [],
        "failed_rules": ["Never names a price"],
    }


def acceptance() -> list[dict[str, Any]]:
    """A rule that one answer breaks, and one that all keep."""
    broken = {
        "id": "r1",
        "name": "Never names a price",
        "kind": "excludes",
        "n": 120,
        "passed": 119,
        "rate": 119 / 120,
        "ci_low": 0.954,
        "ci_high": 0.999,
        "by_model": {"tuned": 119 / 120, "base": 1.0, "asked": 1.0},
        "failures": [{"row": 31, "answer": "Termination, for 20 USD", "why": "It contains “USD”."}],
    }
    kept = {"id": "r2", "name": "One of our labels", "kind": "labels", "passed": 120, "rate": 1.0, "failures": []}
    return [broken, broken | kept]


def regressions() -> dict[str, Any]:
    broken = {
        "id": "c1",
        "prompt": "What is a force majeure?",
        "expected": "An event beyond control",
        "answer": "Force majeure",
        "why": "It is not the expected answer.",
    }
    return {"n": 3, "passed": 2, "failed": [broken]}


def slices() -> list[dict[str, Any]]:
    part = {"subject": {"value": 0.62, "ci_low": 0.5, "ci_high": 0.7}, "against": {"value": 0.5}, "is_small": False}
    return [
        {"by": "metadata:country", "value": "Germany", "n": 61} | part,
        {"by": "metadata:country", "value": "Malta", "n": 12} | part | {"is_small": True},
        {"by": "length", "value": "long", "n": 40} | part,
    ]


def cluster() -> dict[str, Any]:
    return {
        "title": "delay, flood, control",
        "size": 9,
        "rows": [3, 14, 15, 22, 41, 58, 77, 90, 101],
        "terms": ["delay", "flood", "control"],
        "example": {
            "row": 3,
            "prompt": "Neither party is liable for delay caused by flood.",
            "reference": "Force majeure",
            "answer": "Termination",
        },
    }


def verdict() -> dict[str, Any]:
    return {
        "kind": "ship",
        "sentence": "Ship: the tuned model answers 97 of 120 cases correctly (81 %, interval 73-87 %), against 50 % "
        "before; the gain is far beyond chance (p < 0.001).",
        "cases_needed": None,
    }


def judged_models() -> dict[str, Any]:
    """Who was compared, and what better instructions alone reach."""
    simple = {"key": "tfidf", "name": "TF-IDF and logistic regression", "scores": [score("accuracy", 0.7, 0.61, 0.77)]}
    return {
        "subject": "tuned",
        "against": "base",
        "models": [
            model("base", "demo-base", "base", 0.5, 90.0),
            model("tuned", "Clauses", "trained", 0.808, 3.2),
            model("asked", "demo-base, 4 examples", "prompted", 0.58, 60.0),
        ],
        "baselines": [simple],
        "prompting": {
            "key": "asked",
            "name": "demo-base, 4 examples",
            "value": 0.58,
            "sentence": "Better instructions alone reach 58 %: training earns 23 points more.",
        },
    }


def full_report() -> dict[str, Any]:
    """The whole of it. Verdict: ship, though a rule is broken and names matter."""
    gain = comparison()
    return {
        **judged_models(),
        **changed_cases(),
        "task_type": "classification",
        "split": "test",
        "n": 120,
        "headline": "accuracy",
        "comparison": gain,
        "comparisons": [gain],
        "verdict": verdict(),
        "suites_run": ["quality", "performance", "robustness", "fairness", "cost", "capabilities"],
        "suites_left_out": [{"suite": "judge", "reason": "No judge was named."}],
        "findings": findings(),
        "quality": quality(),
        "performance": speed(1.0) | {"by_model": {"tuned": speed(1.0), "base": speed(0.95), "asked": speed(2.1)}},
        "robustness": robustness(),
        "fairness": fairness(),
        "cost": cost(),
        "capabilities": capabilities(),
        "judge": judge(),
        "overall_score": overall_score(),
        "acceptance": acceptance(),
        "regressions": regressions(),
        "slices": slices(),
        "clusters": [cluster()],
        "power": {"n": 120, "discordance": 0.2, "gain": 0.15, "missed_share": 0.1, "sentence": "..."},
        "run": {"versions": {"torch": "2.13"}, "seed": 42, "device": "cpu", "group_by": None},
    }
