"""From rows of the database to an estimate: what is known of the data, the base model, the machine and earlier runs."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db.models import QuerySet

from accounts_app.models import Project
from datasets_app.choices import DEFAULT_SPLIT
from datasets_app.models import Dataset, Snapshot
from finetune_engine.catalogue.cost import MachineRate
from finetune_engine.catalogue.estimate import (
    DataFacts,
    Estimate,
    MachineFacts,
    Measurement,
    ModelFacts,
    estimate,
)
from finetune_engine.errors import UserError
from finetune_engine.train.spec import TrainingSpec
from jobs_app.choices import PROBE_KIND
from jobs_app.models import TrainingJob
from jobs_app.queries.base_models import BaseModelCard
from work_kit.choices import OPEN, Queue, State
from work_kit.models import Device, Job, JobEvent, Worker
from work_kit.queries import workers

COMPARED_RUNS = 3  # of the same base model on the same machine
COMPARED_STEPS = 60
SHOWN_PROBES = 50  # the newest test runs that a list of models looks at
# A probe's memory counts for a plan only where these are the same.
MEMORY_SETTINGS = (
    "method", "peft", "r", "target_modules", "per_device_train_batch_size", "per_device_eval_batch_size", "max_length",
    "precision", "gradient_checkpointing",
)  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """The machine on which a training would run. ``host`` is empty while no worker is there."""

    host: str
    facts: MachineFacts
    disk_free_bytes: int | None = None


def machine() -> Machine:
    """A machine whose worker takes trainings: one with a graphics card before one without."""
    ready = [worker for worker in workers() if worker.queue == Queue.GPU]
    if not ready:
        return Machine("", MachineFacts(cores=os.cpu_count()))
    chosen = max(ready, key=lambda worker: (worker.device.startswith("cuda"), worker.memory_bytes or 0))
    if not chosen.device.startswith("cuda"):
        return Machine(chosen.host, _processor(chosen), chosen.disk_free_bytes)
    card = Device.objects.filter(host=chosen.host, name=chosen.device).first()
    return Machine(
        chosen.host,
        MachineFacts(
            name=(card.label if card else "") or chosen.device,
            device="cuda",
            memory_bytes=card.memory_bytes if card else None,
            free_bytes=card.memory_free_bytes if card else None,
        ),
        chosen.disk_free_bytes,
    )


def _processor(worker: Worker) -> MachineFacts:
    """Cores are known of the machine that the site itself runs on."""
    is_ours = worker.host == (os.environ.get("WORKER_HOST") or os.uname().nodename)
    return MachineFacts(
        name=worker.host,
        device="cpu",
        memory_bytes=worker.memory_bytes,
        free_bytes=worker.memory_free_bytes,
        cores=os.cpu_count() if is_ours else None,
    )


def machine_rate() -> MachineRate | None:
    """What an hour of one's own machine costs, as the operator says: ``MACHINE_HOUR_COST`` ("0.80 EUR"), and for
    electricity ``MACHINE_WATTS`` with ``KILOWATT_HOUR_COST`` ("0.30 EUR"). None when nothing readable is said."""
    amount, currency = _money(os.environ.get("MACHINE_HOUR_COST", ""))
    per_hour, power_currency = _money(os.environ.get("KILOWATT_HOUR_COST", ""))
    watts = _number(os.environ.get("MACHINE_WATTS", ""))
    if watts is None or per_hour is None or (amount is not None and currency != power_currency):
        watts = per_hour = None
    if amount is None and watts is None:
        return None
    return MachineRate(currency or power_currency, amount or Decimal(0), watts, per_hour)


def _money(text: str) -> tuple[Decimal | None, str]:
    amount, _blank, currency = text.strip().partition(" ")
    number = _number(amount)
    fine = number is not None and len(currency.strip()) == 3
    return (number, currency.strip().upper()) if fine else (None, "")


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and number >= 0 else None


def model_facts(card: BaseModelCard) -> ModelFacts:
    """What an estimate needs of a base model."""
    return ModelFacts(
        key=card.key,
        name=card.name,
        is_remote=card.is_remote,
        parameters=card.parameters,
        shape=card.entry.known_shape(),
        context_length=card.context_length,
        learning_rate=card.learning_rate,
        priced=card.entry,
    )


def data_facts(data: Snapshot | Dataset | None, validation: Dataset | None = None) -> DataFacts | None:
    """Rows and lengths of a snapshot, or of a dataset as it would be frozen now; None while nothing is counted.

    With ``validation``, rows of their own, all rows of a dataset are learnt from.
    """
    if data is None or not data.statistics:
        return None
    if isinstance(data, Snapshot):
        rows, checked = int(data.counts.get("train", 0)), int(data.counts.get("validation", 0))
        options: Mapping[str, Any] = data.dataset.options
    else:
        shares = DEFAULT_SPLIT if validation is None else {"train": 1.0, "validation": 0.0}
        rows, checked = (round(data.usable * shares[split]) for split in ("train", "validation"))
        options = data.options
    if validation is not None:
        checked = validation.usable
    return _lengths(data.statistics, rows, checked, str(options.get("base_model") or "")) if rows else None


def _lengths(told: Mapping[str, Any], rows: int, checked: int, tokenizer: str) -> DataFacts | None:
    prompts, answers = float(told.get("avg_prompt_length") or 0), float(told.get("avg_completion_length") or 0)
    share = answers / (prompts + answers) if prompts + answers else 1.0
    if told.get("avg_tokens"):
        mean, longest, unit = float(told["avg_tokens"]), float(told.get("max_tokens") or told["avg_tokens"]), "tokens"
    elif prompts + answers:
        longest_words = float(told.get("max_prompt_length") or 0) + float(told.get("max_completion_length") or 0)
        mean, longest, unit = prompts + answers, max(longest_words, prompts + answers), "words"
    else:
        return None
    return DataFacts(rows, checked, mean, longest, share, unit, tokenizer or None)


def measurement(key: str, host: str, spec: TrainingSpec) -> Measurement | None:
    """The newest test run of this base model on this host, or its earlier trainings there; None without either."""
    if not host:
        return None
    newest = _probes(host).filter(params__base_model=key).first()
    if newest is not None and (found := _of_probe(newest, spec)) is not None:
        return found
    return _of_runs(key, host)


def probed(host: str, spec: TrainingSpec) -> dict[str, Measurement]:
    """The newest test run on this host of every base model that had one, in one query."""
    found: dict[str, Measurement] = {}
    for job in _probes(host)[:SHOWN_PROBES] if host else ():
        told = _of_probe(job, spec)
        if told is not None:
            found.setdefault(str(job.params.get("base_model")), told)
    return found


def _probes(host: str) -> QuerySet[Job]:
    return Job.objects.filter(kind=PROBE_KIND, state=State.SUCCEEDED, host=host).order_by("-id")


def _of_probe(job: Job, spec: TrainingSpec) -> Measurement | None:
    told = job.result.get("probe") or {}
    speed = told.get("tokens_per_second")
    if not isinstance(speed, int | float) or speed <= 0:
        return None
    wanted, had = spec.as_dict(), TrainingSpec().as_dict() | dict(job.params.get("training") or {})
    is_same = all(wanted[name] == had[name] for name in MEMORY_SETTINGS)
    peaks = [told.get(name) for name in ("peak_bytes_train", "peak_bytes_evaluate")]
    known = [int(peak) for peak in peaks if isinstance(peak, int | float)]
    first = told.get("seconds_to_first_step")
    return Measurement(
        source="probe",
        tokens_per_second=float(speed),
        seconds_to_first_step=float(first) if isinstance(first, int | float) else None,
        peak_bytes=max(known) if known and is_same else None,
    )


def _of_runs(key: str, host: str) -> Measurement | None:
    jobs = TrainingJob.objects.filter(base_model_key=key, work__host=host, work__state=State.SUCCEEDED)
    ids = list(jobs.order_by("-id").values_list("work_id", flat=True)[:COMPARED_RUNS])
    speeds: list[float] = []
    for job_id in ids:
        rows = JobEvent.objects.filter(job_id=job_id, kind="metric").order_by("-id").values_list("data", flat=True)
        speeds += [float(data["tokens_per_second"]) for data in rows[:COMPARED_STEPS] if data.get("tokens_per_second")]
    return Measurement("run", statistics.median(speeds)) if speeds else None


def estimate_training(
    card: BaseModelCard,
    data: Snapshot | Dataset | None,
    spec: Mapping[str, Any],
    *,
    validation: Dataset | None = None,
    on: Machine | None = None,
    known: Mapping[str, Measurement] | None = None,
) -> Estimate:
    """What this training would take. Raises UserError: ``data_unknown`` while the data is not counted, SpecProblems for
    settings that cannot be used. ``on`` saves asking again for the machine, ``known`` (of ``probed``) for its runs."""
    facts = data_facts(data, validation)
    if facts is None:
        raise UserError(
            "data_unknown", "What it will take is known once the data has been checked.", field="examples", status=422
        )
    asked = TrainingSpec.from_dict(spec)
    place = on or machine()
    found = None
    if not card.is_remote:
        found = known.get(card.key) if known is not None else measurement(card.key, place.host, asked)
    return estimate(model_facts(card), facts, asked, place.facts, measured=found, rate=machine_rate())


def open_probe(project: Project, key: str) -> Job | None:
    """The project's test run of this base model that is waiting or running."""
    rows = Job.objects.filter(project=project, kind=PROBE_KIND, state__in=OPEN, params__base_model=key)
    return rows.order_by("-id").first()


def fits(card: BaseModelCard, facts: DataFacts | None, place: Machine) -> str:
    """Whether an ordinary training of this model fits the machine: fits, tight, too_large or unknown."""
    usual = facts or DataFacts(rows=1000, validation_rows=100, mean=120, longest=400)
    return estimate(model_facts(card), usual, TrainingSpec(), place.facts).fit
