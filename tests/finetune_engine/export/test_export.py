"""A model leaves the house: whole, as an adapter, as GGUF; and is the same model elsewhere."""

from __future__ import annotations

import argparse
import errno
import json
import shutil
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from finetune_engine.catalogue.catalogue import load_catalogue
from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import EngineError, UserError
from finetune_engine.export import command
from finetune_engine.export.checks import Comparison
from finetune_engine.export.command import ARCHIVE, CHECKS, FOLDER, export
from finetune_engine.export.gguf import find_converter
from finetune_engine.export.spec import ExportSpec, read_spec

QUESTIONS = (
    ({"role": "user", "content": "Which clause is this?"},),
    ({"role": "system", "content": "Be short."}, {"role": "user", "content": "Is it raining?"}),
)


@pytest.fixture
def spec(tiny_model: Path, tiny_adapter: Path) -> ExportSpec:
    base = BaseModelRef(key="tiny", path=str(tiny_model))
    return ExportSpec("Clauses", "merged", base, tiny_adapter, QUESTIONS, card="# Clauses\n\nFor clauses.\n")


def unpacked(out: Path, where: Path) -> Path:
    with zipfile.ZipFile(out / ARCHIVE) as packed:
        packed.extractall(where)
    return where


def asked(folder: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, "ask.py", *words], cwd=folder, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()  # bytes first: an untrained model writes carriage returns, too


def served_answer(spec: ExportSpec, text: str) -> str:
    from finetune_engine.export.folders import served_model
    from finetune_engine.generate import generate_batch
    from finetune_engine.train.local.encode import encode_prompt

    loaded = served_model(spec)
    prompt = encode_prompt(loaded, [{"role": "user", "content": text}])
    (answer,) = generate_batch(loaded, [prompt], max_new_tokens=200)
    return answer.text


def test_a_merged_model_answers_as_the_served_one(spec, tmp_path, run):
    checks = export(spec, tmp_path, run)
    assert checks["is_equal"]
    assert (checks["questions"], checks["same_prompts"], checks["same_answers"]) == (2, 2, 2)
    assert checks["largest_difference"] < 1e-3


def test_the_unpacked_folder_answers_by_its_own_script(spec, tmp_path, run):
    export(spec, tmp_path / "out", run)
    folder = unpacked(tmp_path / "out", tmp_path / "elsewhere")
    assert asked(folder, "Which clause is this?").strip() == served_answer(spec, "Which clause is this?").strip()


def test_an_adapter_answers_with_its_base_by_its_own_script(spec, tmp_path, run, tiny_model):
    only = replace(spec, kind="adapter")
    assert export(only, tmp_path / "out", run)["is_equal"]
    folder = unpacked(tmp_path / "out", tmp_path / "elsewhere")
    weights = {path.name for path in (folder / "model").glob("*.safetensors")}
    assert weights == {"adapter_model.safetensors"}
    words = asked(folder, str(tiny_model), "Which clause is this?")
    assert words.strip() == served_answer(spec, "Which clause is this?").strip()


def test_the_bundled_model_exports_with_its_template(tmp_path, run):
    base = BaseModelRef(key="demo-base", path=str(load_catalogue()["demo-base"].path))
    checks = export(ExportSpec("Demo", "merged", base, None, QUESTIONS[:1]), tmp_path, run)
    assert checks["is_equal"]


@pytest.mark.parametrize("kind", ["adapter", "merged"])
def test_no_path_of_this_machine_leaves_the_house(spec, tmp_path, run, tiny_model, kind):
    export(replace(spec, kind=kind), tmp_path / "out", run)
    folder = unpacked(tmp_path / "out", tmp_path / "elsewhere")
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".safetensors":
            assert str(tiny_model) not in path.read_text(encoding="utf-8"), path.name


def test_the_model_card_goes_along(spec, tmp_path, run):
    export(spec, tmp_path / "out", run)
    folder = unpacked(tmp_path / "out", tmp_path / "elsewhere")
    assert "For clauses." in (folder / "MODEL_CARD.md").read_text()
    assert json.loads((folder / CHECKS).read_text())["is_equal"]


def test_an_export_that_differs_is_not_handed_out(spec, tmp_path, run, monkeypatch):
    import torch

    from finetune_engine.export import folders

    write = folders.write_merged

    def spoilt(which: ExportSpec, folder: Path) -> None:
        write(which, folder)
        from safetensors.torch import load_file, save_file

        path = folder / "model.safetensors"
        weights = load_file(path)
        name = next(name for name in weights if name.endswith("q_proj.weight"))
        weights[name] = weights[name] + torch.ones_like(weights[name])
        save_file(weights, path, metadata={"format": "pt"})

    monkeypatch.setattr(folders, "write_merged", spoilt)
    with pytest.raises(EngineError, match=r"differs from the model in use. \d of 2 questions"):
        export(spec, tmp_path, run)
    assert not (tmp_path / ARCHIVE).exists()
    assert list(tmp_path.iterdir()) == [], "the weights would fill the disk"


def test_only_the_archive_is_left_of_the_work(spec, tmp_path, run):
    (tmp_path / FOLDER / "model").mkdir(parents=True)
    (tmp_path / FOLDER / "model" / "half-written").write_text("of an attempt that died")
    export(replace(spec, kind="adapter"), tmp_path, run)
    assert {path.name for path in tmp_path.iterdir()} == {ARCHIVE, CHECKS}
    assert "model/half-written" not in zipfile.ZipFile(tmp_path / ARCHIVE).namelist()


def test_a_question_longer_than_the_context_is_no_hindrance(spec, tmp_path, run):
    long = ({"role": "user", "content": "The tenant pays the rent on the first day of every month. " * 60},)
    checks = export(replace(spec, questions=(long, *QUESTIONS)), tmp_path, run)
    assert (checks["questions"], checks["same_prompts"], checks["same_answers"]) == (3, 3, 3)


DATED = (
    "Today is {{ strftime_now('%d %b %Y') }}.\n"
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)


def test_a_template_that_asks_for_the_date_goes_along_with_the_day_of_the_training(spec, tmp_path, run):
    """As those of Llama 3."""
    checks = export(replace(spec, base=replace(spec.base, chat_template=DATED)), tmp_path, run)
    assert (checks["is_equal"], checks["same_prompts"]) == (True, 2)
    written = zipfile.ZipFile(tmp_path / ARCHIVE).read("model/chat_template.jinja").decode()
    assert "strftime_now" not in written


def test_control_words_in_a_question_are_no_hindrance(spec, tmp_path, run):
    marked = ({"role": "user", "content": "Is <s>this</s> clause struck out?"},)
    assert export(replace(spec, questions=(marked,)), tmp_path, run)["same_prompts"] == 1


def test_a_model_all_of_whose_weights_were_trained_is_loaded_without_its_base(spec, tmp_path, run, tiny_model):
    base = BaseModelRef(key="far-away", path=str(tmp_path / "not-there"))
    whole = replace(spec, base=base, adapter=tiny_model)
    assert export(whole, tmp_path / "out", run)["is_equal"]
    readme = zipfile.ZipFile(tmp_path / "out" / ARCHIVE).read("README.md").decode()
    assert "The whole model." in readme
    assert "adapter" not in readme


@pytest.fixture
def half(spec: ExportSpec, tiny_model: Path, tmp_path: Path) -> ExportSpec:
    """The same on a base in bfloat16 whose output weights are its input weights."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path / "half"
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype="bfloat16")
    model.config.tie_word_embeddings = True
    model.lm_head.weight = model.model.embed_tokens.weight
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return replace(spec, base=BaseModelRef(key="half", path=str(folder)))


@pytest.mark.parametrize("kind", ["merged", "adapter"])
def test_a_base_in_half_precision_stays_so(half, tmp_path, run, kind):
    checks = export(replace(half, kind=kind), tmp_path / "out", run)
    assert (checks["is_equal"], checks["precision"]) == (True, "bfloat16")


def test_the_weights_of_a_merged_model_are_in_the_bases_own_precision(half, tmp_path, run):
    from safetensors import safe_open

    export(half, tmp_path / "out", run)
    folder = unpacked(tmp_path / "out", tmp_path / "elsewhere")
    with safe_open(folder / "model" / "model.safetensors", "pt") as weights:
        names = list(weights.keys())
        assert {weights.get_slice(name).get_dtype() for name in names} == {"BF16"}
    assert "lm_head.weight" not in names, "tied weights are kept once"


def compared(**figures: Any) -> Comparison:
    values = {
        "questions": 8, "same_prompts": 8, "same_answers": 8, "largest_difference": 0.0, "largest_shift": 0.0,
        "precision": "float32",
    }  # fmt: skip
    return Comparison(**values | figures)


@pytest.mark.parametrize(
    ("figures", "is_equal"),
    [
        ({"precision": "bfloat16", "same_answers": 6, "largest_difference": 1.5, "largest_shift": 0.04}, True),
        ({"precision": "bfloat16", "largest_difference": 0.2, "largest_shift": 0.3}, False),
        ({"largest_difference": 0.01}, False),
        ({"same_answers": 7}, False),
        ({"same_prompts": 7}, False),
    ],
)
def test_half_precision_is_judged_by_the_probability_that_moved(figures, is_equal):
    assert compared(**figures).is_equal is is_equal


def test_a_model_that_answers_with_nonsense_numbers_is_not_equal():
    import torch

    from finetune_engine.export.checks import _difference, _shift, _Told

    fine, broken = (_Told([1], torch.tensor([value, -1.0]), [2]) for value in (-0.5, float("nan")))
    assert _difference(fine, broken) == float("inf")
    assert _shift(fine, broken) == 1.0


def test_a_model_that_is_no_adapter_is_refused_as_one(spec, tmp_path, run):
    with pytest.raises(UserError, match="merged model"):
        export(replace(spec, kind="adapter", adapter=None), tmp_path, run)


def test_an_adapter_without_its_weights_is_told(spec, tmp_path, run):
    broken = tmp_path / "an adapter"
    shutil.copytree(spec.adapter, broken)
    (broken / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"adapter_model\.safetensors") as caught:
        export(replace(spec, kind="adapter", adapter=broken), tmp_path / "out", run)
    assert caught.value.code == "broken_adapter"


def test_names_with_spaces_and_quotes_are_no_hindrance(spec, tmp_path, run, tiny_model):
    base, adapter = tmp_path / "the 'base'", tmp_path / "an adapter"
    shutil.copytree(tiny_model, base)
    shutil.copytree(spec.adapter, adapter)
    odd = replace(spec, name='Clauses "A"', base=BaseModelRef(key="tiny", path=str(base)), adapter=adapter)
    assert export(odd, tmp_path / "out put", run)["is_equal"]
    assert (tmp_path / "out put" / ARCHIVE).is_file()


def test_a_disk_that_is_full_while_packing_keeps_no_half_archive(spec, tmp_path, run, monkeypatch):
    def full(packed, path, name):
        packed.writestr("half", b"x" * 1000)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "write", full)
    with pytest.raises(OSError, match="No space left"):
        export(replace(spec, kind="adapter"), tmp_path, run)
    assert list(tmp_path.iterdir()) == []


def test_the_converter_is_named_by_the_spec_or_else_by_the_command(spec, tmp_path, run, monkeypatch):
    taken = []
    monkeypatch.setattr(command, "export", lambda told, *_: taken.append(told.converter))
    monkeypatch.setenv("GGUF_CONVERTER", "/from/the environment")
    for named in (None, "/from/the/spec"):
        path = tmp_path / "spec.json"
        path.write_text(json.dumps({"kind": "gguf", "base_model": {"key": "b", "path": "/x"}, "converter": named}))
        parser = argparse.ArgumentParser()
        command.add_arguments(parser.add_subparsers())
        command.run_command(parser.parse_args(["export", str(path), "--out", str(tmp_path)]), run)
    assert taken == [Path("/from/the environment"), Path("/from/the/spec")]


def test_without_a_converter_gguf_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UserError, match=r"convert_hf_to_gguf\.py"):
        find_converter()


def converter(folder: Path, content: str) -> Path:
    """A program that is called as llama.cpp's converter is."""
    path = folder / "convert_hf_to_gguf.py"
    path.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\n"
        "model, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[3])\n"
        "assert (model / 'model.safetensors').exists() and (model / 'tokenizer.json').exists()\n"
        f"assert sys.argv[2] == '--outfile'\n{content}\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_gguf_is_what_the_converter_makes_of_the_merged_model(spec, tmp_path, run):
    program = converter(tmp_path, "target.write_bytes(b'GGUF' + bytes(8))")
    export(replace(spec, kind="gguf", converter=program), tmp_path / "out", run)
    folder = unpacked(tmp_path / "out", tmp_path / "elsewhere")
    assert (folder / "model.gguf").read_bytes().startswith(b"GGUF")
    assert not (folder / "model").exists()


@pytest.mark.parametrize("content", ["target.write_bytes(b'oops')", "sys.exit(3)", "pass"])
def test_a_converter_that_fails_fails_the_export(spec, tmp_path, run, content):
    program = converter(tmp_path, content)
    with pytest.raises(EngineError, match="GGUF converter"):
        export(replace(spec, kind="gguf", converter=program), tmp_path / "out", run)


def test_a_converter_that_finds_the_disk_full_says_so(spec, tmp_path, run):
    program = converter(tmp_path, "sys.exit('OSError: [Errno 28] No space left on device')")
    with pytest.raises(EngineError) as caught:
        export(replace(spec, kind="gguf", converter=program), tmp_path / "out", run)
    assert caught.value.reason == "disk_full"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_spec_of_an_unknown_kind_names_the_known_ones(tmp_path):
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({"kind": "onnx", "base_model": {"path": "/x"}}))
    with pytest.raises(UserError, match="merged, adapter, gguf"):
        read_spec(path)


@pytest.mark.parametrize(
    "targets", [["embed_tokens", "q_proj"], ["lm_head"], ["embed_tokens", "lm_head"]], ids="+".join
)
def test_an_adapter_on_tied_embeddings_changes_only_the_layer_it_was_trained_on(targets, tmp_path, run):
    base = load_catalogue()["demo-base"]
    torch.manual_seed(1)
    module = AutoModelForCausalLM.from_pretrained(base.path)
    assert module.config.tie_word_embeddings
    adapted = get_peft_model(module, LoraConfig(r=4, lora_alpha=16, target_modules=targets, init_lora_weights=False))
    adapted.save_pretrained(str(tmp_path / "adapter"))
    spec = ExportSpec("Clauses", "merged", base.reference(), tmp_path / "adapter", QUESTIONS)
    checks = export(spec, tmp_path / "out", run)
    assert checks["is_equal"]
    folder = unpacked(tmp_path / "out", tmp_path / "elsewhere")
    assert asked(folder, "Which clause is this?").strip() == served_answer(spec, "Which clause is this?").strip()
