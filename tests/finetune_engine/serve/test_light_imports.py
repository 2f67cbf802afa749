import subprocess
import sys


def test_what_the_web_process_uses_imports_neither_torch_nor_scikit_learn():
    program = (
        "import sys, finetune_engine.serve.openai_format, finetune_engine.serve.cache, "
        "finetune_engine.serve.confidence, finetune_engine.serve.exchange, finetune_engine.evaluate.conclusions.verdict, "
        "finetune_engine.evaluate.report, finetune_engine.evaluate.statistics.power, finetune_engine.evaluate.command, "
        "finetune_engine.serve.command, finetune_engine.evaluate.spec\n"
        "print([name for name in ('torch', 'sklearn', 'scipy', 'transformers', 'polars') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
