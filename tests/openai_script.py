"""Every documented fine-tuning call of the official ``openai`` package, in the order in which a person would make them.

It knows nothing of the server but its address: ``python tests/openai_script.py BASE_URL KEY MODEL`` drives OpenAI, this
product, or anything else that speaks the protocol. Every answer is held against the package's own types.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
from openai.types import FileObject, Model
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

ENDED = frozenset({"succeeded", "failed", "cancelled"})
UNTYPED = frozenset({"user_provided_suffix"})  # answered by OpenAI, unknown to the package's types
COLUMNS = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
THINGS = (
    "contract",
    "invoice",
    "delivery",
    "warranty",
    "licence",
    "tenancy",
    "insurance",
    "salary",
    "merger",
    "patent",
)
QUESTIONS = ("Who signs the {}?", "When does the {} end?", "May I cancel my {} by letter?", "What does a {} cost?")


@dataclass(frozen=True)
class Rows:
    """Three small files: conversations to learn from and to check with, and pairs of a better and a worse answer."""

    training: Path
    validation: Path
    pairs: Path


@dataclass(frozen=True)
class Report:
    """What came out: the jobs that were created, by what they were for, and the names of the models."""

    jobs: dict[str, FineTuningJob]
    models: list[str]


def drive(client: openai.OpenAI, *, model: str, rows: Rows, seconds: float = 300.0) -> Report:
    """Make every call; AssertionError names the first answer that is not as documented."""
    run = _Run(client, model, seconds)
    files = {name: run.upload(getattr(rows, name)) for name in ("training", "validation", "pairs")}
    run.look_at_files(files, rows)
    taught = run.supervised(files["training"], files["validation"])
    run.look_at_events(taught)
    run.look_at_checkpoints(taught)
    run.look_at_results(taught)
    jobs = {"supervised": taught, "cancelled": run.cancelled(files["training"])}
    jobs["paused"] = run.paused_and_resumed(files["training"])
    jobs["preferences"] = run.preferences(files["pairs"])
    jobs["continued"] = run.continued(taught, files["training"])
    run.list_jobs(list(jobs.values()))
    run.refusals()
    asyncio.run(run.asynchronously(taught))
    models = [str(job.fine_tuned_model) for job in jobs.values() if job.fine_tuned_model]
    run.look_at_models(models)
    run.clear_away(str(jobs["preferences"].fine_tuned_model), files["validation"])
    return Report(jobs, models)


class _Run:
    def __init__(self, client: openai.OpenAI, model: str, seconds: float) -> None:
        self.client, self.model, self.seconds = client, model, seconds
        self.mark = f"run-{time.time_ns()}"

    def upload(self, path: Path) -> str:
        with open(path, "rb") as file:
            uploaded = self.client.files.create(file=file, purpose="fine-tune")
        exact(uploaded, FileObject)
        assert (uploaded.filename, uploaded.bytes) == (path.name, path.stat().st_size)
        return uploaded.id

    def look_at_files(self, files: dict[str, str], rows: Rows) -> None:
        for name, file_id in files.items():
            path: Path = getattr(rows, name)
            assert exact(self.client.files.retrieve(file_id), FileObject).purpose == "fine-tune"
            assert self.client.files.content(file_id).read() == path.read_bytes()
        assert set(files.values()) <= {file.id for file in self.client.files.list(purpose="fine-tune")}
        assert self.client.files.wait_for_processing(files["training"], max_wait_seconds=self.seconds).id

    def supervised(self, training: str, validation: str) -> FineTuningJob:
        """Everything that can be said when a job is created."""
        created = self.client.fine_tuning.jobs.create(
            model=self.model,
            training_file=training,
            validation_file=validation,
            suffix="script",
            seed=11,
            metadata={"for": "supervised", "run": self.mark},
            method={
                "type": "supervised",
                "supervised": {
                    "hyperparameters": {"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": "auto"}
                },
            },
        )
        exact(created, FineTuningJob)
        assert created.status in {"validating_files", "queued", "running"}
        assert (created.model, created.seed) == (self.model, 11)
        assert (created.training_file, created.validation_file) == (training, validation)
        assert created.metadata == {"for": "supervised", "run": self.mark}
        assert created.hyperparameters.n_epochs == 2
        assert created.method is not None
        assert created.method.type == "supervised"
        assert (created.fine_tuned_model, created.finished_at, created.result_files) == (None, None, [])
        done = self.ended(created.id)
        assert done.status == "succeeded", self.why(done)
        assert str(done.fine_tuned_model).startswith(f"ft:{self.model}:")
        assert ":script:" in str(done.fine_tuned_model)
        assert (done.trained_tokens or 0) > 0
        assert (done.finished_at or 0) >= done.created_at
        return done

    def look_at_events(self, job: FineTuningJob) -> None:
        everything = list(self.client.fine_tuning.jobs.list_events(job.id, limit=100))
        for event in everything:
            exact(event, FineTuningJobEvent)
        assert {event.type for event in everything} == {"message", "metrics"}
        paged = [event.id for event in self.client.fine_tuning.jobs.list_events(job.id, limit=3)]
        assert paged == [event.id for event in everything], "the pages are not the list"
        assert len(set(paged)) == len(paged)
        moments = [event.created_at for event in everything]
        assert moments == sorted(moments, reverse=True)
        metrics: list[Any] = [event.data for event in everything if event.type == "metrics"]
        steps = [told["step"] for told in metrics]
        assert steps == sorted(set(steps), reverse=True)
        assert all(isinstance(told["train_loss"], float) for told in metrics)
        assert any(told.get("valid_loss") is not None for told in metrics)

    def look_at_checkpoints(self, job: FineTuningJob) -> None:
        rows = list(self.client.fine_tuning.jobs.checkpoints.list(job.id))
        assert rows
        for row in rows:
            exact(row, FineTuningJobCheckpoint)
            assert row.fine_tuning_job_id == job.id
            assert row.fine_tuned_model_checkpoint.endswith(f":ckpt-step-{row.step_number}")
            assert row.metrics.full_valid_loss is not None
        assert [row.step_number for row in rows] == sorted({row.step_number for row in rows}, reverse=True)
        paged = [row.id for row in self.client.fine_tuning.jobs.checkpoints.list(job.id, limit=1)]
        assert paged == [row.id for row in rows]

    def look_at_results(self, job: FineTuningJob) -> None:
        (result,) = job.result_files
        assert exact(self.client.files.retrieve(result), FileObject).purpose == "fine-tune-results"
        lines = self.client.files.content(result).text.splitlines()
        assert lines[0] == COLUMNS
        assert len(lines) > 1

    def cancelled(self, training: str) -> FineTuningJob:
        """With the deprecated spelling of the hyperparameters."""
        job = self.client.fine_tuning.jobs.create(
            model=self.model,
            training_file=training,
            hyperparameters={"n_epochs": 40},
            metadata={"for": "cancelled", "run": self.mark},
        )
        assert job.hyperparameters.n_epochs == 40
        exact(self.client.fine_tuning.jobs.cancel(job.id), FineTuningJob)
        gone = self.ended(job.id)
        assert (gone.status, gone.fine_tuned_model) == ("cancelled", None)
        return gone

    def paused_and_resumed(self, training: str) -> FineTuningJob:
        job = self.client.fine_tuning.jobs.create(
            model=self.model,
            training_file=training,
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 40}}},
            metadata={"for": "paused", "run": self.mark},
        )
        self.client.fine_tuning.jobs.pause(job.id)
        # The package's types lack this status, OpenAI's own answers do not.
        self.until(job.id, {"paused"})
        resumed = exact(self.client.fine_tuning.jobs.resume(job.id), FineTuningJob)
        assert resumed.status in {"queued", "validating_files", "running"}
        self.client.fine_tuning.jobs.cancel(job.id)
        return self.until(job.id, {"cancelled"})

    def preferences(self, pairs: str) -> FineTuningJob:
        job = self.client.fine_tuning.jobs.create(
            model=self.model,
            training_file=pairs,
            metadata={"for": "preferences", "run": self.mark},
            method={"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 1, "beta": 0.2}}},
        )
        exact(job, FineTuningJob)
        assert job.method is not None
        assert job.method.type == "dpo"
        assert job.method.dpo is not None
        assert job.method.dpo.hyperparameters is not None
        assert job.method.dpo.hyperparameters.beta == 0.2
        done = self.ended(job.id)
        assert done.status == "succeeded", self.why(done)
        return done

    def continued(self, before: FineTuningJob, training: str) -> FineTuningJob:
        job = self.client.fine_tuning.jobs.create(
            model=str(before.fine_tuned_model),
            training_file=training,
            suffix="again",
            metadata={"for": "continued", "run": self.mark},
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}},
        )
        assert exact(job, FineTuningJob).model == before.fine_tuned_model
        done = self.ended(job.id)
        assert done.status == "succeeded", self.why(done)
        assert done.fine_tuned_model != before.fine_tuned_model
        return done

    def list_jobs(self, jobs: list[FineTuningJob]) -> None:
        newest_first = [job.id for job in jobs][::-1]
        found = list(self.client.fine_tuning.jobs.list(metadata={"run": self.mark}))
        assert [job.id for job in found] == newest_first
        paged = [job.id for job in self.client.fine_tuning.jobs.list(metadata={"run": self.mark}, limit=2)]
        assert paged == newest_first
        one = self.client.fine_tuning.jobs.list(metadata={"run": self.mark, "for": "paused"})
        assert [job.metadata for job in one] == [{"run": self.mark, "for": "paused"}]
        after = self.client.fine_tuning.jobs.list(after=newest_first[0], limit=1)
        assert after.data[0].id == newest_first[1]
        assert after.has_more

    def refusals(self) -> None:
        """The package raises its own error classes, and each error names what is wrong."""
        jobs = self.client.fine_tuning.jobs
        raises(openai.NotFoundError, lambda: jobs.retrieve("ftjob-nothing"))
        raises(openai.NotFoundError, lambda: jobs.cancel("ftjob-nothing"))
        raises(openai.NotFoundError, lambda: self.client.models.retrieve("nothing"))
        raises(openai.NotFoundError, lambda: self.client.files.retrieve("file-nothing"))
        wrong = raises(openai.BadRequestError, lambda: jobs.create(model=self.model, training_file="file-nothing"))
        assert wrong.param == "training_file"
        wrong = raises(openai.BadRequestError, lambda: jobs.create(model="nothing", training_file="file-nothing"))
        assert wrong.param == "model"
        stranger = self.client.with_options(api_key="wrong", max_retries=0)
        raises(openai.AuthenticationError, lambda: stranger.fine_tuning.jobs.list())

    async def asynchronously(self, job: FineTuningJob) -> None:
        """The same answers through the asynchronous client."""
        async with openai.AsyncOpenAI(base_url=self.client.base_url, api_key=self.client.api_key) as client:
            assert (await client.fine_tuning.jobs.retrieve(job.id)) == self.client.fine_tuning.jobs.retrieve(job.id)
            events = [event.id async for event in client.fine_tuning.jobs.list_events(job.id, limit=5)]
            assert events == [event.id for event in self.client.fine_tuning.jobs.list_events(job.id, limit=100)]
            rows = [row.id async for row in client.fine_tuning.jobs.checkpoints.list(job.id)]
            assert rows == [row.id for row in self.client.fine_tuning.jobs.checkpoints.list(job.id)]

    def look_at_models(self, models: list[str]) -> None:
        listed = {exact(model, Model).id for model in self.client.models.list()}
        assert {self.model, *models} <= listed
        for name in models:
            assert exact(self.client.models.retrieve(name), Model).id == name

    def clear_away(self, model: str, file: str) -> None:
        assert self.client.models.delete(model).deleted
        raises(openai.NotFoundError, lambda: self.client.models.retrieve(model))
        assert self.client.files.delete(file).deleted
        raises(openai.NotFoundError, lambda: self.client.files.retrieve(file))

    def ended(self, job_id: str) -> FineTuningJob:
        return exact(self.until(job_id, ENDED), FineTuningJob)

    def until(self, job_id: str, wanted: Iterable[str]) -> FineTuningJob:
        deadline = time.monotonic() + self.seconds
        while time.monotonic() < deadline:
            job = self.client.fine_tuning.jobs.retrieve(job_id)
            if job.status in wanted:
                return job
            assert job.status not in ENDED, self.why(job)
            time.sleep(0.1)
        raise AssertionError(f"{job_id} is {job.status} after {self.seconds} s")

    def why(self, job: FineTuningJob) -> str:
        newest = self.client.fine_tuning.jobs.list_events(job.id, limit=5).data
        return f"{job.id} is {job.status}: {job.error} {[event.message for event in newest]}"


def exact(answer: Any, kind: type[Any]) -> Any:
    """``answer``, which fits the package's type: every field it must have, of the right kind, and none unknown."""
    assert isinstance(answer, kind), type(answer)
    surprises = set(answer.model_extra or {}) - UNTYPED
    assert not surprises, f"{kind.__name__} with unknown {surprises}"
    kind.model_validate(json.loads(answer.to_json()), strict=True)
    return answer


def raises(kind: type[openai.APIStatusError], call: Any) -> openai.APIStatusError:
    """The error that ``call`` raises."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


def write_rows(folder: Path) -> Rows:
    """The three files, small enough to train on while one waits."""
    rows = Rows(folder / "training.jsonl", folder / "validation.jsonl", folder / "pairs.jsonl")
    asked = [(question.format(thing), f"See the {thing} desk.") for thing in THINGS for question in QUESTIONS]
    _write(rows.training, [{"messages": [_user(text), _assistant(answer)]} for text, answer in asked[:30]])
    _write(rows.validation, [{"messages": [_user(text), _assistant(answer)]} for text, answer in asked[30:]])
    pairs = [
        {
            "input": {"messages": [_user(text)]},
            "preferred_output": [_assistant(answer)],
            "non_preferred_output": [_assistant("I do not know.")],
        }
        for text, answer in asked[:24]
    ]
    _write(rows.pairs, pairs)
    return rows


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


if __name__ == "__main__":
    address, key, name = sys.argv[1:]
    with tempfile.TemporaryDirectory() as temporary:
        report = drive(openai.OpenAI(base_url=address, api_key=key), model=name, rows=write_rows(Path(temporary)))
    print("\n".join(f"{purpose}: {job.id} {job.status}" for purpose, job in report.jobs.items()))
