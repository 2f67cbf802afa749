"""A project with a key at the test's provider, and frozen rows to send there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune_engine.train.local.commit import commit_folder
from jobs_app.choices import Provider
from jobs_app.models import BaseModel, ProviderConnection, TrainingJob
from tests.finetune_engine.train.backends.provider_case import write_rows
from tests.house.conftest import site  # noqa: F401  a whole site, for the test that trains on one
from tests.protocol_server.server import ProtocolServer

PRICE = {"currency": "USD", "training_per_million": "3.00", "url": "https://provider.example", "date": "2026-11-01"}
STATISTICS = {"total_examples": 40, "avg_prompt_length": 150.0, "avg_completion_length": 50.0}


@pytest.fixture
def server(settings) -> Iterator[ProtocolServer]:
    """A provider on this machine, which the operator allows."""
    with ProtocolServer(models=("tiny-chat",)) as running:
        settings.OUTBOUND_ALLOWED_HOSTS = [running.host]
        settings.PROVIDER_POLL_SECONDS = 0.05
        yield running


@pytest.fixture
def base_model(db, server) -> BaseModel:
    """The provider's model, as the operator added it."""
    return BaseModel.objects.create(
        key="tiny-chat",
        name="Tiny Chat",
        provider=Provider.ENDPOINT,
        location="tiny-chat",
        base_url=server.address,
        facts={"price": PRICE, "context_length": 4096},
    )


@pytest.fixture
def connection(actor, server, base_model) -> ProviderConnection:
    """The project's key there."""
    from jobs_app.operations.connections import add_connection

    return add_connection(actor=actor, name="Test provider", base_url=server.address, key=server.key)


@pytest.fixture
def rows(snapshot, tmp_path) -> Any:
    """The snapshot, with real rows in storage: 12 to learn from, 3 to check with, 2 for the test."""
    from work_kit.files import store_tree

    commit_folder(tmp_path / "frozen", lambda aside: _write(aside), name="test")
    snapshot.storage_prefix = f"snapshots/{snapshot.pk}"
    snapshot.counts = {"train": 12, "validation": 3, "test": 2}
    snapshot.statistics = STATISTICS
    snapshot.save()
    store_tree(tmp_path / "frozen", snapshot.storage_prefix)
    return snapshot


def _write(folder: Path) -> None:
    write_rows(folder / "snapshot.parquet")


@pytest.fixture
def send(actor, rows, connection) -> Callable[..., TrainingJob]:
    """``send(**changes)``: a training at the provider in the queue."""
    from jobs_app.operations import start_training

    def make(**changes: Any) -> TrainingJob:
        values = {
            "actor": actor,
            "name": "Clauses",
            "base_model_key": "tiny-chat",
            "snapshot": rows,
            "spec": {},
            "cost_approved": True,
        }
        return start_training(**(values | changes))

    return make


@pytest.fixture
def carry_out(transactional_db) -> Callable[[TrainingJob], TrainingJob]:
    """``carry_out(training)``: runs what waits for the remote worker, in real child processes; the training as it is then."""
    from work_kit import supervisor

    def run(training: TrainingJob) -> TrainingJob:
        supervisor.run_waiting("remote")
        return TrainingJob.objects.select_related("work").get(pk=training.pk)

    return run
