"""OpenAI's files, fine-tuning and model calls on a socket, with a script for what jobs do and failures on demand.

Written from OpenAI's published API (the types of the ``openai`` package) alone; it knows nothing of the product.
"""

from __future__ import annotations

import csv
import email.parser
import email.policy
import io
import itertools
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.protocol_server.script import Become, Call, Checkpoint, Fail, Move, Report, Say, Stay, Succeed, ordinary

ENDED = frozenset({"succeeded", "failed", "cancelled"})
FEWEST_EXAMPLES = 10
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
SUPERVISED = frozenset({"n_epochs", "batch_size", "learning_rate_multiplier"})
METHODS = {"supervised": SUPERVISED, "dpo": SUPERVISED | {"beta"}}


class Refusal(Exception):
    """An answer with OpenAI's error object."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    def body(self) -> dict[str, Any]:
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(self.status, "invalid_request_error")
        kind = "server_error" if self.status >= 500 else kind
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


@dataclass
class Trouble:
    """What goes wrong with the next ``times`` requests whose method and path match.

    ``how``: ``status`` answers with it at once; ``silence`` never answers; ``cut`` closes the connection before the body is
    read; ``lost_answer`` does the work, then closes the connection without telling.
    """

    method: str
    path: str
    how: str = "status"
    status: int = 500
    message: str = "The server had an error while processing your request."
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1

    def fits(self, method: str, path: str) -> bool:
        return self.times > 0 and method == self.method and re.fullmatch(self.path, path) is not None


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
        self._http = _Http(("127.0.0.1", 0), _Handler)
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


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    house: ProtocolServer


class _Handler(BaseHTTPRequestHandler):
    """One request: trouble first, then the key, then the call."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one packet: two would wait 40 ms for each other
    server: _Http

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        house = self.server.house
        parts = urlsplit(self.path)
        path = parts.path.removeprefix("/v1")
        with house.lock:
            house.requests.append((self.command, path))
            house.authorizations.append(self.headers.get("Authorization", ""))
            trouble = next((one for one in house.troubles if one.fits(self.command, path)), None)
            if trouble is not None:
                trouble.times -= 1
        if trouble is not None and trouble.how == "cut":
            self.rfile.read(min(512, int(self.headers.get("Content-Length") or 0)))
            return self._hang_up()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if trouble is not None and trouble.how == "silence":
            house.stay_silent()
            return self._hang_up()
        if trouble is not None and trouble.how == "status":
            return self._send(
                trouble.status, Refusal(trouble.status, trouble.message, code=trouble.code).body(), trouble.headers
            )
        try:
            with house.lock:
                status, answer = 200, self._called(house, path, dict(parse_qsl(parts.query)), body)
        except Refusal as refusal:
            status, answer = refusal.status, refusal.body()
        if trouble is not None and trouble.how == "lost_answer":
            return self._hang_up()
        return self._send(status, answer, {})

    def _called(self, house: ProtocolServer, path: str, query: dict[str, str], body: bytes) -> Any:
        if self.headers.get("Authorization") != f"Bearer {house.key}":
            raise Refusal(401, "Incorrect API key provided. You can find your API key at the provider's site.",
                          code="invalid_api_key")  # fmt: skip
        for method, pattern, call in ROUTES:
            found = re.fullmatch(pattern, path)
            if method == self.command and found is not None:
                return call(house, found.groups(), query, self._read(body))
        raise Refusal(404, f"Invalid URL ({self.command} /v1{path})")

    def _read(self, body: bytes) -> dict[str, Any]:
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/form-data"):
            return dict(json.loads(body)) if body else {}
        head = f"Content-Type: {kind}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        fields: dict[str, Any] = {}
        for part in message.iter_parts():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            fields[str(name)] = (part.get_filename(), content) if part.get_filename() else bytes(content).decode()
        return fields

    def _send(self, status: int, answer: Any, headers: dict[str, str]) -> None:
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header(
            "Content-Type", "application/octet-stream" if isinstance(answer, bytes) else "application/json"
        )
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(content)
            self.wfile.flush()
        except OSError:
            self.close_connection = True

    def _hang_up(self) -> None:
        self.close_connection = True
        try:
            self.connection.shutdown(2)
        except OSError:
            pass


def page(rows: list[dict[str, Any]], query: dict[str, str], limit: int = 20) -> dict[str, Any]:
    """The rows after the cursor, newest first, as a cursor page."""
    if after := query.get("after"):
        ids = [row["id"] for row in rows]
        rows = rows[ids.index(after) + 1 :] if after in ids else []
    size = int(query.get("limit") or limit)
    return {"object": "list", "data": rows[:size], "has_more": len(rows) > size}


def _list_files(house: ProtocolServer, query: dict[str, str]) -> dict[str, Any]:
    rows = [file.as_dict() for file in reversed(house.files.values())]
    return page([row for row in rows if query.get("purpose") in (None, row["purpose"])], query, 10_000)


def _list_jobs(house: ProtocolServer, query: dict[str, str]) -> dict[str, Any]:
    wanted = {name[9:-1]: value for name, value in query.items() if name.startswith("metadata[")}
    rows = [job.body for job in reversed(house.jobs.values())]
    rows = [row for row in rows if all((row["metadata"] or {}).get(key) == value for key, value in wanted.items())]
    return page(rows, query)


def _list_models(house: ProtocolServer) -> dict[str, Any]:
    base = [{"id": name, "object": "model", "created": 0, "owned_by": "system"} for name in house.base_models]
    return {"object": "list", "data": base + list(house.tuned.values())}


def _model(house: ProtocolServer, name: str) -> dict[str, Any]:
    found = next((row for row in _list_models(house)["data"] if row["id"] == name), None)
    if found is None:
        raise Refusal(404, f"The model '{name}' does not exist", code="model_not_found", param="model")
    return dict(found)


def _delete_file(house: ProtocolServer, file_id: str) -> dict[str, Any]:
    house.file(file_id)
    del house.files[file_id]
    return {"id": file_id, "object": "file", "deleted": True}


def _delete_model(house: ProtocolServer, name: str) -> dict[str, Any]:
    if name not in house.tuned:
        raise Refusal(404, f"The model '{name}' does not exist", code="model_not_found", param="model")
    del house.tuned[name]
    return {"id": name, "object": "model", "deleted": True}


Answer = Callable[[ProtocolServer, tuple[str, ...], dict[str, str], dict[str, Any]], Any]
ROUTES: list[tuple[str, str, Answer]] = [
    ("POST", r"/files", lambda house, ids, query, body: house.create_file(body)),
    ("GET", r"/files", lambda house, ids, query, body: _list_files(house, query)),
    ("GET", r"/files/([^/]+)", lambda house, ids, query, body: house.file(ids[0]).as_dict()),
    ("GET", r"/files/([^/]+)/content", lambda house, ids, query, body: house.file(ids[0]).content),
    ("DELETE", r"/files/([^/]+)", lambda house, ids, query, body: _delete_file(house, ids[0])),
    ("POST", r"/fine_tuning/jobs", lambda house, ids, query, body: house.create_job(body)),
    ("GET", r"/fine_tuning/jobs", lambda house, ids, query, body: _list_jobs(house, query)),
    ("GET", r"/fine_tuning/jobs/([^/]+)", lambda house, ids, query, body: house.looked_at(ids[0])),
    ("POST", r"/fine_tuning/jobs/([^/]+)/cancel", lambda house, ids, query, body: house.cancel(ids[0])),
    ("POST", r"/fine_tuning/jobs/([^/]+)/pause", lambda house, ids, query, body: house.pause(ids[0])),
    ("POST", r"/fine_tuning/jobs/([^/]+)/resume", lambda house, ids, query, body: house.resume(ids[0])),
    ("GET", r"/fine_tuning/jobs/([^/]+)/events", lambda house, ids, query, body: page(house.job(ids[0]).events, query)),
    (
        "GET",
        r"/fine_tuning/jobs/([^/]+)/checkpoints",
        lambda house, ids, query, body: page(house.job(ids[0]).checkpoints, query, 10),
    ),
    ("GET", r"/models", lambda house, ids, query, body: _list_models(house)),
    ("GET", r"/models/(.+)", lambda house, ids, query, body: _model(house, ids[0])),
    ("DELETE", r"/models/(.+)", lambda house, ids, query, body: _delete_model(house, ids[0])),
]
