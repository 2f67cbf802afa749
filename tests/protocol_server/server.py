"""OpenAI's files, fine-tuning and model calls on a socket, with a script for what jobs do and failures on demand.

Written from OpenAI's published API (the types of the ``openai`` package) alone; it knows nothing of the product.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.protocol_server.http import Handler, Http
from tests.protocol_server.script import Become, Call, Checkpoint, Fail, Move, Report, Say, Stay, Succeed, ordinary
from tests.protocol_server.trouble import Refusal, Trouble

ENDED = frozenset({"succeeded", "failed", "cancelled"})
FEWEST_EXAMPLES = 10
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
SUPERVISED = frozenset({"n_epochs", "batch_size", "learning_rate_multiplier"})
METHODS = {"supervised": SUPERVISED, "dpo": SUPERVISED | {"beta"}}


@dataclass
class StoredFile:
    id: str
    filename: str
    purpose: str
    content: bytes
    created_at: int
    status: str = "processed"

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": self.status,
            "status_details": None,
        }


@dataclass
class Job:
    body: dict[str, Any]
    script: list[Move]
    events: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)


class ProtocolServer:
    """``with ProtocolServer() as server``: listens on a free port of this machine. ``address`` ends in ``/v1``."""

    def __init__(self, *, key: str = "sk-protocol-test-key-1234", models: tuple[str, ...] = ("gpt-4o-mini",)) -> None:
        self.key = key
        self.base_models = list(models)
        self.script: Callable[[], list[Move]] = ordinary
        self.files: dict[str, StoredFile] = {}
        self.jobs: dict[str, Job] = {}
        self.tuned: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.authorizations: list[str] = []
        self.troubles: list[Trouble] = []
        self.can_pause = True
        self.lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._closing = threading.Event()
        self._http = Http(("127.0.0.1", 0), Handler)
        self._http.house = self

    def __enter__(self) -> ProtocolServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._http.server_address[1]}"

    def fail(self, method: str, path: str, how: str = "status", **more: Any) -> Trouble:
        """Let the next matching request go wrong; ``path`` is a regular expression without the ``/v1``."""
        trouble = Trouble(method, path, how, **more)
        self.troubles.append(trouble)
        return trouble

    def count(self, method: str, path: str) -> int:
        """How many requests have come to this method and path (a regular expression)."""
        return sum(1 for found, where in self.requests if found == method and re.fullmatch(path, where))

    def stay_silent(self) -> None:
        """Keep a connection open without an answer until the server closes."""
        self._closing.wait(60)

    # --- what the calls do ---------------------------------------------------------------------------------------

    def new_id(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers):08d}"

    def create_file(self, fields: dict[str, Any]) -> dict[str, Any]:
        if "file" not in fields or "purpose" not in fields:
            raise Refusal(
                400, "'file' and 'purpose' are required.", param="file" if "file" not in fields else "purpose"
            )
        name, content = fields["file"]
        if fields["purpose"] == "fine-tune" and not name.endswith(".jsonl"):
            raise Refusal(400, f"Invalid file format: {name}. Must be .jsonl", param="file")
        stored = StoredFile(self.new_id("file-"), name, str(fields["purpose"]), content, int(time.time()))
        self.files[stored.id] = stored
        return stored.as_dict()

    def file(self, file_id: str) -> StoredFile:
        if file_id not in self.files:
            raise Refusal(404, f"No such File object: {file_id}", param="id")
        return self.files[file_id]

    def create_job(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("model") not in [*self.base_models, *self.tuned]:
            raise Refusal(400, f"Model {body.get('model')!r} is not available for fine-tuning.", param="model",
                          code="model_not_available")  # fmt: skip
        for name in ("training_file", "validation_file"):
            if body.get(name) and body[name] not in self.files:
                raise Refusal(400, f"invalid {name}: {body[name]}", param=name, code="invalid_file")
        method = body.get("method") or {
            "type": "supervised",
            "supervised": {"hyperparameters": body.get("hyperparameters", {})},
        }
        if method.get("type") not in METHODS:
            raise Refusal(400, f"Unknown method {method.get('type')!r}", param="method")
        asked = dict((method.get(method["type"]) or {}).get("hyperparameters") or {})
        unknown = set(asked) - METHODS[method["type"]]
        if unknown:
            raise Refusal(400, f"Unknown parameter: {sorted(unknown)[0]}", param="method", code="unknown_parameter")
        numbers = {name: asked.get(name, "auto") for name in sorted(METHODS[method["type"]])}
        job_id = self.new_id("ftjob-")
        job = {
            "id": job_id,
            "object": "fine_tuning.job",
            "created_at": int(time.time()),
            "error": None,
            "estimated_finish": None,
            "fine_tuned_model": None,
            "finished_at": None,
            "hyperparameters": {name: numbers[name] for name in SUPERVISED},
            "integrations": [],
            "metadata": body.get("metadata"),
            "method": {"type": method["type"], method["type"]: {"hyperparameters": numbers}},
            "model": body["model"],
            "organization_id": "org-test",
            "result_files": [],
            "seed": body.get("seed") if body.get("seed") is not None else 7,
            "status": "validating_files",
            "trained_tokens": None,
            "training_file": body["training_file"],
            "validation_file": body.get("validation_file"),
            "user_provided_suffix": body.get("suffix"),
        }
        self.jobs[job_id] = Job(job, self.script())
        self._say(job_id, f"Created fine-tuning job: {job_id}")
        problem = self._file_problem(self.files[body["training_file"]], method["type"])
        if problem is not None:
            self.jobs[job_id].script = [problem]
        return job

    def job(self, job_id: str) -> Job:
        if job_id not in self.jobs:
            raise Refusal(404, f"Could not find fine tune: {job_id}", code="fine_tune_not_found", param="fine_tune_id")
        return self.jobs[job_id]

    def looked_at(self, job_id: str) -> dict[str, Any]:
        """The job, after its next move."""
        job = self.job(job_id)
        if job.body["status"] not in ENDED | {"paused"} and job.script and not isinstance(job.script[0], Stay):
            self._move(job_id, job, job.script.pop(0))
        return job.body

    def cancel(self, job_id: str) -> dict[str, Any]:
        job = self.job(job_id)
        if job.body["status"] in ENDED:
            raise Refusal(400, f"Job has already completed: {job_id}", code="invalid_job_state")
        self._end(job_id, job, "cancelled")
        return job.body

    def pause(self, job_id: str) -> dict[str, Any]:
        job = self.job(job_id)
        if not self.can_pause:
            raise Refusal(404, "Invalid URL (POST /v1/fine_tuning/jobs/.../pause)")
        if job.body["status"] in ENDED:
            raise Refusal(400, f"Job has already completed: {job_id}", code="invalid_job_state")
        job.body["status"] = "paused"
        self._say(job_id, "Fine-tuning job paused")
        return job.body

    def resume(self, job_id: str) -> dict[str, Any]:
        job = self.job(job_id)
        if job.body["status"] != "paused":
            raise Refusal(400, f"Job is not paused: {job_id}", code="invalid_job_state")
        job.body["status"] = "queued"
        self._say(job_id, "Fine-tuning job resumed")
        return job.body

    # --- moves ---------------------------------------------------------------------------------------------------

    def _move(self, job_id: str, job: Job, move: Move) -> None:
        if isinstance(move, Become):
            job.body["status"] = move.status
        elif isinstance(move, Say):
            self._say(job_id, move.message, level=move.level)
        elif isinstance(move, Report):
            job.steps.append({"step": move.step, **move.numbers})
            told = {"step": move.step, "total_steps": move.total, **move.numbers}
            text = f"Step {move.step}/{move.total}: training loss={move.numbers.get('train_loss')}"
            self._say(job_id, text, kind="metrics", data=told)
        elif isinstance(move, Checkpoint):
            self._checkpoint(job_id, job, move)
        elif isinstance(move, Fail):
            job.body["error"] = {"code": move.code, "message": move.message, "param": move.param}
            self._end(job_id, job, "failed")
        elif isinstance(move, Succeed):
            self._succeed(job_id, job, move)
        elif isinstance(move, Call):
            move.what()

    def _checkpoint(self, job_id: str, job: Job, move: Checkpoint) -> None:
        name = f"{self._model_name(job_id, job)}:ckpt-step-{move.step}"
        self.tuned[name] = {"id": name, "object": "model", "created": int(time.time()), "owned_by": "org-test"}
        job.checkpoints.insert(
            0,
            {
                "id": self.new_id("ftckpt_"),
                "object": "fine_tuning.job.checkpoint",
                "created_at": int(time.time()),
                "fine_tuned_model_checkpoint": name,
                "fine_tuning_job_id": job_id,
                "metrics": {"step": move.step, **move.numbers},
                "step_number": move.step,
            },
        )
        self._say(job_id, f"Checkpoint created at step {move.step}")

    def _succeed(self, job_id: str, job: Job, move: Succeed) -> None:
        name = self._model_name(job_id, job)
        self.tuned[name] = {"id": name, "object": "model", "created": int(time.time()), "owned_by": "org-test"}
        columns = ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(columns)
        for step in job.steps:
            values = step | {"train_accuracy": step.get("train_mean_token_accuracy")}
            writer.writerow(["" if values.get(column) is None else values[column] for column in columns])
        content = text.getvalue().encode()
        result = StoredFile(self.new_id("file-"), "step_metrics.csv", "fine-tune-results", content, int(time.time()))
        self.files[result.id] = result
        job.body |= {"fine_tuned_model": name, "trained_tokens": move.trained_tokens, "result_files": [result.id]}
        self._end(job_id, job, "succeeded")

    def _end(self, job_id: str, job: Job, status: str) -> None:
        job.body |= {"status": status, "finished_at": int(time.time())}
        words = {"succeeded": "The job has successfully completed", "cancelled": "The job was cancelled"}
        level = "error" if status == "failed" else "info"
        self._say(job_id, words.get(status) or str((job.body["error"] or {}).get("message")), level=level)

    def _say(
        self,
        job_id: str,
        message: str,
        *,
        level: str = "info",
        kind: str = "message",
        data: dict[str, Any] | None = None,
    ) -> None:
        event = {
            "id": self.new_id("ftevent-"),
            "object": "fine_tuning.job.event",
            "created_at": int(time.time()),
            "level": level,
            "message": message,
            "type": kind,
            "data": data or {},
        }
        self.jobs[job_id].events.insert(0, event)

    def _model_name(self, job_id: str, job: Job) -> str:
        return f"ft:{job.body['model']}:org-test:{job.body['user_provided_suffix'] or ''}:{job_id[-8:]}"

    def _file_problem(self, stored: StoredFile, method: str) -> Fail | None:
        """What a real provider says of a training file that it cannot use."""
        lines = stored.content.decode().splitlines()
        for number, line in enumerate(lines, 1):
            row = json.loads(line)
            fine = _is_pair(row) if method == "dpo" else _is_conversation(row.get("messages"))
            if not fine:
                return Fail("invalid_file_format", f"Invalid file format. Example {number} is wrong.", "training_file")
        if len(lines) < FEWEST_EXAMPLES:
            sentence = f"Training file has {len(lines)} example(s), but must have at least {FEWEST_EXAMPLES} examples"
            return Fail("invalid_n_examples", sentence, "training_file")
        return None


def _is_conversation(messages: Any, *, ends: bool = True) -> bool:
    if not isinstance(messages, list) or not messages:
        return False
    for message in messages:
        if message.get("role") not in ROLES or set(message) - {
            "role", "content", "name", "weight", "tool_calls", "function_call", "tool_call_id", "refusal"
        }:  # fmt: skip
            return False
    return not ends or messages[-1]["role"] == "assistant"


def _is_pair(row: dict[str, Any]) -> bool:
    asked = (row.get("input") or {}).get("messages")
    answers = [row.get("preferred_output"), row.get("non_preferred_output")]
    return _is_conversation(asked, ends=False) and all(_is_conversation(answer) for answer in answers)
