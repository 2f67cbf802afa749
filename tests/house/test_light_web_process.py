"""The web process stays light; the engine stands alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

HEAVY = ["torch", "transformers", "peft", "sklearn", "scipy"]


def _python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_starting_the_web_process_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import json, sys; import finetune_site.asgi; from django.urls import get_resolver; "
        "get_resolver().url_patterns; "
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    out = _python(code, DATA_DIR=str(tmp_path), DJANGO_SETTINGS_MODULE="finetune_site.settings")
    assert json.loads(out.splitlines()[-1]) == []


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"django", "celery", "redis", "ninja"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
"""


def test_every_module_of_the_engine_imports_without_django_celery_or_redis() -> None:
    code = BLOCKED + (
        "import importlib, pkgutil, finetune_engine\n"
        "names = [m.name for m in pkgutil.walk_packages(finetune_engine.__path__, 'finetune_engine.')"
        " if not m.name.endswith('__main__')]\n"
        "[importlib.import_module(name) for name in names]\n"
        "print(len(names))\n"
    )
    assert int(_python(code).splitlines()[-1]) > 30
