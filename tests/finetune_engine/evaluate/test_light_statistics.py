"""The base install has neither scipy nor the libraries of the metrics: what the web process uses must do without."""

import subprocess
import sys

PROGRAM = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"scipy", "sklearn", "sacrebleu", "rouge_score", "nltk", "torch", "transformers", "statsmodels"}:
            raise ImportError(f"{name} is not in the base install")

sys.meta_path.insert(0, Refuse())
import finetune_engine.evaluate.metrics.chosen
import finetune_engine.evaluate.conclusions.verdict
from finetune_engine.evaluate import rules
from finetune_engine.evaluate.statistics import intervals, power

print(intervals.wilson(50, 100).low > 0.4)
print(intervals.mcnemar_exact([True] * 6, [False] * 6) == 2 / 64)
print(intervals.paired_bootstrap([0.0, 1.0], [1.0, 1.0], seed=1).value == 0.5)
print(intervals.sign_flip_test([1.0] * 6, seed=1) == 2 / 64)
print(intervals.holm([0.01, 0.02]) == [0.02, 0.02])
print(power.cases_needed(discordance=0.2, gain=0.15) == 72)
rule = rules.rule_of({"name": "x", "kind": "json_schema", "demand": {"schema": {"type": "object"}}})
print(rules.check(rule, "", "{}") is None)
print(finetune_engine.evaluate.metrics.chosen.headline_of("chat") == "f1")
"""


def test_statistics_rules_and_the_list_of_metrics_work_in_the_base_install():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"] * 8
