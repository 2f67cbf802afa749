"""Train at a provider that speaks OpenAI's protocol: check, upload, create once, watch, keep what it says."""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path
from typing import Any

import openai

from finetune_engine.errors import UserError
from finetune_engine.ports import Run
from finetune_engine.train.provider.client import Line, connect
from finetune_engine.train.provider.ledger import Ledger
from finetune_engine.train.provider.rows import RowFile, write_rows
from finetune_engine.train.provider.settings import KEY_VARIABLE, ProviderSettings
from finetune_engine.train.provider.start import Starter
from finetune_engine.train.provider.watch import ENDED, Ending, Watch
from finetune_engine.train.spec import RunSpec, TrainingSpec

METHODS = ("sft", "dpo")
RECORD = "run.json"
METRICS = "metrics.csv"


def run_training(run: Run, spec: RunSpec, out: Path) -> None:
    """Carry out ``spec`` at its provider; ends with the ``result`` event, ``run.json`` and the provider's ``metrics.csv``.

    Nothing is sent before the rows have been checked. Raises UserError, EngineError or Stopped.
    """
    settings = ProviderSettings.from_dict(spec.provider)
    with connect(settings, taken_key()) as client:
        line = Line(run, settings)
        ledger = Ledger(run, out, settings.state)
        run.emit("phase", phase="validating")
        starter = Starter(client, line, settings, ledger, spec.training)
        files = None if ledger.job is not None else _checked_rows(run, spec, settings, out)
        run.boundary()
        job = starter.find_job()
        if job is None and files is not None:
            run.emit("phase", phase="uploading")
            job = starter.create(*files)
        assert job is not None  # a remembered job is there, or find_job has raised
        ledger.note(f"The provider's job is {job.id}.", job=job.id, status=job.status)
        watch = Watch(run, client, line, settings, ledger)
        ending = watch.follow(job)
        run.emit("phase", phase="saving")
        _keep_results(run, line, client, ending, out)
    record = _record(spec, settings, ending)
    (out / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
    run.emit("result", **_result(ending, watch))


def cancel_remote(run: Run, settings: ProviderSettings, out: Path) -> None:
    """Cancel our job there: the one that ``settings.state`` remembers, or that carries our id. Without one all is well.

    Raises UserError or EngineError when the provider would not.
    """
    with connect(settings, taken_key()) as client:
        line, ledger = Line(run, settings), Ledger(run, out, settings.state)
        job = Starter(client, line, settings, ledger, TrainingSpec()).find_job()
        if job is not None and job.status not in ENDED:
            Watch(run, client, line, settings, ledger).cancel(job.id)


def taken_key() -> str:
    """The key from the environment, which forgets it, so that no child of ours inherits it."""
    return os.environ.pop(KEY_VARIABLE, "")


def _checked_rows(run: Run, spec: RunSpec, settings: ProviderSettings, out: Path) -> tuple[RowFile, RowFile | None]:
    if spec.training.method not in METHODS:
        raise UserError(
            "method_not_at_provider",
            f"A provider trains with the methods {' and '.join(METHODS)}, not with {spec.training.method!r}.",
            field="method",
            reason="bad_config",
        )
    train, validation = write_rows(spec, out / "provider", longest_tokens=settings.longest_tokens)
    if train.long_rows:
        message = (
            f"{train.long_rows} examples seem longer than the {settings.longest_tokens} tokens that this model reads; "
            "the provider cuts them off at the end."
        )
        run.emit("warn", level="warn", code="long_rows", message=message, count=train.long_rows)
    if train.dropped:
        names = ", ".join(sorted(train.dropped))
        message = f"These parts of messages are not sent, because the provider does not take them: {names}."
        run.emit("warn", level="warn", code="dropped_fields", message=message)
    words = f"{train.rows} examples to learn from, {validation.rows if validation else 0} to check with."
    run.emit("log", level="info", message=words, tokens=train.tokens)
    return train, validation


def _keep_results(run: Run, line: Line, client: openai.OpenAI, ending: Ending, out: Path) -> None:
    """The provider's CSV of metrics as ``metrics.csv``. Without one the model counts all the same."""
    for file_id in ending.job.result_files or []:
        try:
            content = line.call(lambda file_id=file_id: client.files.content(file_id).read())  # type: ignore[misc]
        except UserError as problem:
            message = f"The provider's table of metrics could not be fetched. {problem.sentence}"
            run.emit("warn", level="warn", message=message)
            continue
        (out / METRICS).write_bytes(plain_csv(content))
        return


def plain_csv(content: bytes) -> bytes:
    """The table as it is, or taken out of the base64 in which OpenAI has sent it for some models."""
    if content.lstrip().startswith(b"step"):
        return content
    try:
        decoded = base64.b64decode(content, validate=True)
    except binascii.Error:
        return content
    return decoded if decoded.lstrip().startswith(b"step") else content


def _record(spec: RunSpec, settings: ProviderSettings, ending: Ending) -> dict[str, Any]:
    """What is needed to explain this model later."""
    job = ending.job
    return {
        "provider": {
            "base_url": settings.base_url,
            "model": settings.model,
            "job": job.id,
            "training_file": job.training_file,
            "validation_file": job.validation_file,
            "method": job.method.to_dict() if job.method else None,
            "seed": job.seed,
            "fine_tuned_model": ending.model,
            "checkpoint": ending.checkpoint,
            "trained_tokens": job.trained_tokens,
        },
        "snapshot": {"sha256": spec.snapshot.sha256},
        "training": spec.training.as_dict(),
        "versions": {"openai": openai.__version__},
    }


def _result(ending: Ending, watch: Watch) -> dict[str, Any]:
    return {
        "remote_model": ending.model,
        "remote_job": ending.job.id,
        "trained_tokens": ending.job.trained_tokens,
        "best_step": ending.checkpoint,
        "stopped_early": ending.checkpoint is not None,
        **watch.numbers,
    }
