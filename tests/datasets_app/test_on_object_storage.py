"""The life of a dataset when files lie in an object storage: parts, import, a second file, tidying, deletion."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from datasets_app import operations
from datasets_app.models import Dataset, Example
from datasets_app.operations.housekeeping import tidy_data
from datasets_app.queries.rows import example_rows, full_rows
from finetune_site import environment

TABLE = "text,label\n" + "".join(f"Clause {i} about the matter {i * 3},{'AB'[i % 2]}\n" for i in range(30))


@pytest.fixture
def bucket(settings, tmp_path, monkeypatch) -> Iterator[str]:
    """The default storage is a bucket of a server on a socket."""
    import boto3
    from moto.server import ThreadedMotoServer

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="house")
    url = f"s3://house/data?endpoint={endpoint}&region=us-east-1"
    settings.STORAGES = settings.STORAGES | {"default": environment.storage(url, tmp_path)}
    settings.CACHE_DIR = tmp_path / "cache"
    yield "house"
    server.stop()


def test_from_the_first_part_to_the_deletion(bucket, actor, upload_of, quick_jobs, django_capture_on_commit_callbacks):
    content = TABLE.encode()
    pending = operations.begin_upload(actor=actor, name="table.csv", size=len(content))
    for offset in range(0, len(content), 400):
        part = io.BytesIO(content[offset : offset + 400])
        operations.store_part(actor=actor, pending=pending, content=part, offset=offset)
    with django_capture_on_commit_callbacks(execute=True):
        upload = operations.complete_upload(actor=actor, pending=pending)
    with default_storage.open(upload.storage_name) as stored:
        assert stored.read() == content
    assert default_storage.listdir(f"uploads/{actor.project.pk}/parts") == ([], [])

    dataset = operations.create_dataset(actor=actor, upload=upload)
    quick_jobs()
    dataset.refresh_from_db()
    assert (dataset.state, dataset.total) == ("ready", 30), dataset.error
    more = operations.store_upload(actor=actor, file=upload_of("more.csv", content), name="more.csv")
    operations.append_file(actor=actor, dataset=Dataset.objects.get(pk=dataset.pk), upload=more)
    quick_jobs()
    dataset.refresh_from_db()
    assert dataset.total == 60
    assert full_rows(dataset, example_rows(dataset, cursor=30).items)[0].messages[0]["content"].startswith("Clause 0")

    assert len(default_storage.listdir(f"datasets/{dataset.pk}")[0]) == 2
    Dataset.objects.filter(pk=dataset.pk).update(tidy_after=timezone.now())
    tidy_data()
    assert default_storage.listdir(f"datasets/{dataset.pk}")[0] == [dataset.storage_prefix.rpartition("/")[2]]

    operations.delete_dataset(actor=actor, dataset=Dataset.objects.get(pk=dataset.pk))
    tidy_data()
    assert default_storage.listdir(f"datasets/{dataset.pk}") == ([], [])
    assert not default_storage.exists(upload.storage_name)
    assert not default_storage.exists(more.storage_name)
    assert not Example.objects.exists()
