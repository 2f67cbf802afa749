"""What a training process imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from finetune_engine.train.lean_imports import hidden, may_be_packed


def folder(path: Path, **config: object) -> dict[str, object]:
    (path / "config.json").write_text(json.dumps(config))
    return {"base_model": {"path": str(path)}}


def test_a_plain_local_model_has_no_packed_weights(tmp_path: Path) -> None:
    assert not may_be_packed(folder(tmp_path) | {"training": {"peft": "lora"}})


@pytest.mark.parametrize("why", ["asked", "in the folder", "not fetched yet", "no folder"])
def test_packed_weights_are_provided_for(tmp_path: Path, why: str) -> None:
    spec = {
        "asked": folder(tmp_path) | {"training": {"peft": "qlora"}},
        "in the folder": folder(tmp_path, quantization_config={"load_in_4bit": True}) if why == "in the folder" else {},
        "not fetched yet": {"base_model": {"hub": "somebody/model"}},
        "no folder": {"base_model": {"path": str(tmp_path / "absent")}},
    }[why]
    assert may_be_packed(spec)


def test_a_hidden_package_is_back_afterwards() -> None:
    sys.modules.pop("colorsys", None)
    with hidden(["colorsys"]), pytest.raises(ImportError):
        import colorsys
    import colorsys

    assert colorsys.rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_a_training_process_leaves_out_what_it_does_not_use(tmp_path: Path) -> None:
    program = (
        "import json, sys\n"
        "from finetune_engine.train.lean_imports import import_for\n"
        "import_for(json.loads(sys.argv[1]))\n"
        "import finetune_engine.train.backends.local_peft\n"
        "from peft import LoraConfig\n"
        "print([name for name in ('bitsandbytes', 'scipy', 'sklearn') if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", program, json.dumps(folder(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
