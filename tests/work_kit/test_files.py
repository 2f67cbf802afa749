"""Folders between a worker's disk and the storage: the local disk, and a real S3 server on a socket."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.files.storage import default_storage

from finetune_engine.errors import EngineError
from finetune_site import environment
from work_kit import files


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture(params=["disk", "s3"])
def storage(request, settings, tmp_path, monkeypatch):
    """The default storage, as STORAGE_URL names it."""
    url = f"file://{tmp_path / 'files'}"
    if request.param == "s3":
        import boto3

        endpoint = request.getfixturevalue("s3_server")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        bucket = f"house-{tmp_path.name.replace('_', '-').lower()}"[:60].rstrip("-")
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=bucket)
        url = f"s3://{bucket}/models?endpoint={endpoint}&region=us-east-1"
    settings.STORAGES = settings.STORAGES | {"default": environment.storage(url, tmp_path)}
    settings.CACHE_DIR = tmp_path / "cache"
    return request.param


@pytest.fixture
def artefact(tmp_path) -> Path:
    """A folder with two files and their manifest."""
    folder = tmp_path / "artefact"
    (folder / "deep").mkdir(parents=True)
    contents = {"model.safetensors": b"\x00weights" * 1000, "deep/run.json": b"{}"}
    listed = {}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        listed[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"files": listed}))
    return folder


def test_a_folder_comes_back_as_it_was(storage, artefact) -> None:
    names = files.store_tree(artefact, "projects/p/models/m-1")
    assert names[-1] == "manifest.json", "the manifest is stored last"
    copy = files.local_copy("projects/p/models/m-1")
    assert (copy / "model.safetensors").read_bytes() == (artefact / "model.safetensors").read_bytes()
    assert (copy / "deep/run.json").read_bytes() == b"{}"
    files.verify_tree(copy)


def test_a_second_look_fetches_nothing(storage, artefact, monkeypatch) -> None:
    files.store_tree(artefact, "m")
    first = files.local_copy("m")
    monkeypatch.setattr(files, "fetch_to", lambda *args: pytest.fail("fetched again"))
    assert files.local_copy("m") == first


def test_a_prefix_is_never_written_twice(storage, artefact) -> None:
    files.store_tree(artefact, "m")
    with pytest.raises(EngineError, match="not fresh"):
        files.store_tree(artefact, "m")


def test_a_damaged_folder_is_not_fetched(storage, artefact, tmp_path) -> None:
    (artefact / "deep/run.json").write_bytes(b"[]")  # no longer what the manifest says
    files.store_tree(artefact, "m")
    with pytest.raises(EngineError, match="not what its manifest says"):
        files.fetch_tree("m", tmp_path / "copy")


def test_a_folder_without_a_manifest_is_not_there(storage) -> None:
    with pytest.raises(EngineError, match="no manifest"):
        files.read_manifest("nothing/here")


def test_deleting_a_folder_leaves_its_neighbours(storage, artefact) -> None:
    files.store_tree(artefact, "a/one")
    files.store_tree(artefact, "a/two")
    files.delete_tree("a/one")
    assert not default_storage.exists("a/one/manifest.json")
    assert default_storage.exists("a/two/manifest.json")
