"""From rows to a running job at the provider, and never to two: what an earlier attempt began is found and taken over."""

from __future__ import annotations

from typing import Any

import openai
from openai.types.fine_tuning import FineTuningJob

from finetune_engine.errors import UserError
from finetune_engine.ports import Stopped
from finetune_engine.train.provider.client import (
    FILE_PARAMETERS,
    Line,
    explained,
    may_have_happened,
    may_pass,
)
from finetune_engine.train.provider.ledger import Ledger
from finetune_engine.train.provider.rows import RowFile
from finetune_engine.train.provider.settings import LARGEST_SEED, ProviderSettings
from finetune_engine.train.spec import TrainingSpec

JOB_KEY = "tunesmith_job"  # in the job's metadata: ours, whoever asks
MOST_PAIRS = 16
MOST_LOOKED_AT = 1000
LOOKS = 3  # after a lost answer, before we dare to ask for a job again


class Starter:
    """Uploads and creates, each at most once."""

    def __init__(
        self, client: openai.OpenAI, line: Line, settings: ProviderSettings, ledger: Ledger, training: TrainingSpec
    ) -> None:
        self.client = client
        self.line = line
        self.settings = settings
        self.ledger = ledger
        self.training = training

    def find_job(self) -> FineTuningJob | None:
        """Our job at the provider: the one we remember, or the one that carries our id. None when there is none."""
        if self.ledger.job is not None:
            known = self.ledger.job
            return self.line.call(lambda: self.client.fine_tuning.jobs.retrieve(known), for_ever=True)
        return self.line.call(self._look)

    def _look(self) -> FineTuningJob | None:
        own = {JOB_KEY: self.settings.job}
        files = set(self.ledger.files.values())
        for number, job in enumerate(self.client.fine_tuning.jobs.list(limit=100, metadata=own)):
            # A provider that does not know the filter lists everything: judge each job ourselves.
            if (job.metadata or {}).get(JOB_KEY) == self.settings.job or job.training_file in files:
                return job
            if number >= MOST_LOOKED_AT:
                break
        return None

    def upload(self, file: RowFile, split: str) -> str:
        """The id of the file there, uploaded now unless an earlier attempt did."""
        if (known := self.ledger.files.get(file.sha256)) is not None:
            return known
        name = f"tunesmith-{self.settings.job}-{split}-{file.sha256[:16]}.jsonl"
        # Looked for before each try: an upload whose answer was lost is there all the same.
        found = self.line.call(lambda: self._uploaded(name, file.size) or self._send(file, name))
        words = f"{file.rows} rows ({split}) are at the provider as {found}."
        self.ledger.note(words, files=self.ledger.files | {file.sha256: found})
        return found

    def _uploaded(self, name: str, size: int) -> str | None:
        for number, stored in enumerate(self.client.files.list(purpose="fine-tune", order="desc", limit=100)):
            if stored.filename == name and stored.bytes == size and stored.status != "error":
                return stored.id
            if number >= MOST_LOOKED_AT:
                break
        return None

    def _send(self, file: RowFile, name: str) -> str:
        with file.path.open("rb") as content:  # opened anew for each try
            return self.client.files.create(file=(name, content, "application/jsonl"), purpose="fine-tune").id

    def create(self, train: RowFile, validation: RowFile | None) -> FineTuningJob:
        """Upload and create. A file that the provider has forgotten meanwhile is uploaded once more."""
        try:
            return self._create(self._body(train, validation))
        except UserError as problem:
            if problem.field not in FILE_PARAMETERS or not self.ledger.files:
                raise
            if self._are_there(self.ledger.files.values()):
                raise
            self.ledger.note("The provider no longer has the uploaded files; they are sent again.", files={})
            return self._create(self._body(train, validation))

    def _are_there(self, ids: Any) -> bool:
        for file_id in ids:
            try:
                self.client.files.retrieve(file_id)
            except openai.NotFoundError:
                return False
            except openai.OpenAIError:
                return True  # unknown: believe the provider's first word
        return True

    def _body(self, train: RowFile, validation: RowFile | None) -> dict[str, Any]:
        own = {JOB_KEY: self.settings.job}
        theirs = dict(list(self.settings.metadata.items())[: MOST_PAIRS - 1])
        body: dict[str, Any] = {
            "model": self.settings.model,
            "training_file": self.upload(train, "train"),
            "method": self.settings.hyperparameters.as_method(self.training.method),
            "metadata": theirs | own,
            "seed": self.training.seed & LARGEST_SEED,
        }
        if validation is not None:
            body["validation_file"] = self.upload(validation, "validation")
        if self.settings.suffix:
            body["suffix"] = self.settings.suffix
        return body

    def _create(self, body: dict[str, Any]) -> FineTuningJob:
        """One job, even when the answer to an earlier request was lost. Raises UserError or EngineError."""
        began, failures = self.line.run.clock.monotonic(), 0
        headers = {"Idempotency-Key": f"tunesmith-{self.settings.job}"}
        while True:
            if self.line.run.boundary() == "pause":
                raise Stopped("pause")
            try:
                return self.client.fine_tuning.jobs.create(**body, extra_headers=headers)
            except openai.OpenAIError as error:
                failures += 1
                if not may_pass(error):
                    raise explained(error) from error
                is_over = self.line.run.clock.monotonic() - began > self.settings.patience_seconds
                if not is_over:
                    self.line.pause_after(error, failures)
                if may_have_happened(error) and (job := self._lost_and_found()) is not None:
                    return job
                if is_over:
                    raise explained(error) from error

    def _lost_and_found(self) -> FineTuningJob | None:
        """The job whose answer was lost, if it was made after all; a provider may list it a little late."""
        for look in range(LOOKS):
            if look:
                self.line.wait(self.settings.first_pause_seconds, until_asked=False)
            if (job := self.line.call(self._look)) is not None:
                return job
        return None
