#!/usr/bin/env python3
"""Makes ``.venv`` in this folder and installs Tunesmith into it. Standard library only; run by the Makefile.

``python3 install.py [EXTRA ...]``: the base (web, no torch) and the named extras, at the versions in constraints.txt.
On a machine without a graphics card torch never arrives with CUDA: when pip would fetch ``nvidia-*`` packages, torch is
installed first, alone, from PyTorch's own index of CPU builds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("VENV") or ROOT / ".venv")
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = ROOT / "constraints.txt"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def main() -> int:
    """Install what is missing. Returns the exit code."""
    extras = sorted(set(sys.argv[1:]))
    if sys.version_info < (3, 11):  # noqa: UP036  the interpreter that runs this file is the one in question
        print(f"Tunesmith needs Python 3.11 or newer; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    stamp = VENV / ".tunesmith-installed"
    if stamp.exists() and PYTHON.exists():
        have = json.loads(stamp.read_text())
        if have["wanted"] == _wanted() and set(extras) <= set(have["extras"]):
            return 0
        extras = sorted(set(extras) | set(have["extras"]))
    if not PYTHON.exists():
        print(f"Making {VENV} ...", flush=True)
        venv.create(VENV, with_pip=True)
    if "ml" in extras and not _has_gpu() and _would_fetch_cuda():
        _install_cpu_torch()
    target = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    print(f"Installing Tunesmith ({', '.join(['base', *extras])}); the first time takes some minutes ...", flush=True)
    code = _pip("install", "--quiet", "--editable", target)
    if code == 0:
        stamp.write_text(json.dumps({"wanted": _wanted(), "extras": extras}))
    return code


def _wanted() -> str:
    text = (ROOT / "pyproject.toml").read_bytes() + CONSTRAINTS.read_bytes() + str(ROOT).encode()
    return hashlib.sha256(text).hexdigest()


def _pip(*arguments: str) -> int:
    command = [str(PYTHON), "-m", "pip", *arguments, "--constraint", str(CONSTRAINTS), "--disable-pip-version-check"]
    return subprocess.run(command, check=False).returncode


def _has_gpu() -> bool:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    return subprocess.run([tool, "-L"], capture_output=True, check=False, timeout=30).returncode == 0


def _would_fetch_cuda() -> bool:
    """Whether pip's own plan for torch names ``nvidia-*`` packages."""
    if sys.platform != "linux":
        return False
    command = [str(PYTHON), "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-", "torch"]
    command += ["--constraint", str(CONSTRAINTS), "--disable-pip-version-check"]
    plan = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        items = json.loads(plan.stdout)["install"]
    except (ValueError, KeyError):
        return False
    return any(item["metadata"]["name"].lower().startswith("nvidia-") for item in items)


def _install_cpu_torch() -> None:
    print("No graphics card here: taking torch's build for processors ...", flush=True)
    code = _pip("install", "--quiet", "--index-url", CPU_INDEX, "--timeout", "20", "--retries", "1", "torch")
    if code:
        print("PyTorch's CPU index did not answer; going on with the default build (larger).", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
