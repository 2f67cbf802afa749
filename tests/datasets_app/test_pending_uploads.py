"""Files that arrive in parts: by the page's script, by the API, and by the official SDK."""

from __future__ import annotations

import hashlib
import io
import json
import socket
from datetime import timedelta

import openai
import pytest
from django.core.files.storage import default_storage
from django.urls import reverse
from django.utils import timezone

from datasets_app import operations
from datasets_app.models import Dataset, PendingUpload, Upload, UploadPart
from datasets_app.operations import pending as pending_operations
from finetune_engine.errors import UserError

CHATS = "".join(
    json.dumps(
        {
            "messages": [
                {"role": "user", "content": f"What is {i} and {i}?"},
                {"role": "assistant", "content": f"It is {2 * i}, of course."},
            ]
        }
    )
    + "\n"
    for i in range(60)
).encode()


@pytest.fixture
def begun(actor):
    return operations.begin_upload(actor=actor, name="../chats.jsonl", size=len(CHATS))


@pytest.fixture
def put(actor, begun):
    """``put(offset, content)``: one part."""

    def send(offset, content, announced=None):
        return operations.store_part(
            actor=actor, pending=begun, content=io.BytesIO(content), offset=offset, announced=announced
        )

    return send


def test_parts_become_the_file_they_came_from(actor, begun, put):
    for offset in range(0, len(CHATS), 1000):
        put(offset, CHATS[offset : offset + 1000])
    upload = operations.complete_upload(actor=actor, pending=begun)
    with default_storage.open(upload.storage_name) as stored:
        assert stored.read() == CHATS
    assert (upload.name, upload.size) == ("chats.jsonl", len(CHATS))
    assert upload.sha256 == hashlib.sha256(CHATS).hexdigest()
    assert not UploadPart.objects.exists()


def test_the_parts_leave_the_storage_when_the_file_is_whole(actor, begun, put, django_capture_on_commit_callbacks):
    part = put(0, CHATS)
    assert default_storage.exists(part.storage_name)
    with django_capture_on_commit_callbacks(execute=True):
        operations.complete_upload(actor=actor, pending=begun)
    assert not default_storage.exists(part.storage_name)


def test_the_same_part_twice_is_harmless(put):
    first = put(0, CHATS[:500])
    assert put(0, CHATS[:500]).pk == first.pk
    assert UploadPart.objects.count() == 1


@pytest.mark.parametrize("offset", [700, 499, 1])
def test_a_wrong_offset_is_told_the_right_one(put, offset):
    put(0, CHATS[:500])
    with pytest.raises(UserError) as caught:
        put(offset, CHATS[offset : offset + 100])
    assert (caught.value.code, caught.value.status) == ("wrong_offset", 409)
    assert caught.value.place.expected == "500"
    assert "500" in caught.value.sentence


def test_other_bytes_at_the_same_place_are_refused(put):
    put(0, CHATS[:500])
    with pytest.raises(UserError, match="byte 500"):
        put(0, CHATS[1:501])


def test_a_part_that_is_shorter_than_announced_is_not_kept(put):
    with pytest.raises(UserError) as caught:
        put(0, CHATS[:300], announced=500)
    assert caught.value.code == "incomplete_part"
    assert not UploadPart.objects.exists()


def test_a_part_that_goes_beyond_the_end_is_not_kept(put):
    put(0, CHATS[:-10])
    with pytest.raises(UserError) as caught:
        put(len(CHATS) - 10, b"x" * 11)
    assert caught.value.code == "beyond_the_end"
    assert UploadPart.objects.count() == 1


def test_a_part_above_the_limit_is_refused_before_it_is_read_to_the_end(put, monkeypatch):
    monkeypatch.setattr(pending_operations, "MOST_PART_BYTES", 1000)
    with pytest.raises(UserError) as caught:
        put(0, CHATS[:1001])
    assert (caught.value.code, caught.value.status) == ("part_too_large", 413)


def test_an_empty_part_is_refused(put):
    with pytest.raises(UserError, match="no bytes"):
        put(0, b"")


def test_an_upload_with_a_gap_is_not_complete(actor, begun, put):
    put(0, CHATS[:100])
    with pytest.raises(UserError) as caught:
        operations.complete_upload(actor=actor, pending=begun)
    assert caught.value.code == "incomplete_upload"
    assert caught.value.place.found == "100"


def test_completing_twice_gives_the_same_file(actor, begun, put):
    put(0, CHATS)
    first = operations.complete_upload(actor=actor, pending=begun)
    stale = PendingUpload.objects.get(pk=begun.pk)
    assert operations.complete_upload(actor=actor, pending=stale).pk == first.pk
    assert Upload.objects.count() == 1


@pytest.mark.parametrize("size", [0, -1])
def test_a_file_of_no_bytes_is_not_begun(actor, size):
    with pytest.raises(UserError, match="0 bytes"):
        operations.begin_upload(actor=actor, name="a", size=size)


def test_a_file_above_the_limit_is_not_begun(actor, settings):
    settings.MAX_UPLOAD_BYTES = 1000
    with pytest.raises(UserError) as caught:
        operations.begin_upload(actor=actor, name="a", size=1001)
    assert caught.value.status == 413


def test_a_project_cannot_begin_uploads_without_end(actor, monkeypatch):
    monkeypatch.setattr(pending_operations, "MOST_PENDING", 2)
    for _ in range(2):
        operations.begin_upload(actor=actor, name="a", size=10)
    with pytest.raises(UserError) as caught:
        operations.begin_upload(actor=actor, name="a", size=10)
    assert caught.value.status == 429


def test_a_cancelled_upload_takes_no_more_parts(actor, begun, put):
    put(0, CHATS[:100])
    operations.cancel_upload(actor=actor, pending=begun)
    assert not UploadPart.objects.exists()
    with pytest.raises(UserError, match="cancelled"):
        put(100, CHATS[100:200])
    with pytest.raises(UserError, match="cancelled"):
        operations.cancel_upload(actor=actor, pending=begun)


def test_what_is_never_finished_expires_with_its_parts(begun, put, django_capture_on_commit_callbacks):
    part = put(0, CHATS[:100])
    assert pending_operations.expire_pending_uploads() == 0
    PendingUpload.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with django_capture_on_commit_callbacks(execute=True):
        assert pending_operations.expire_pending_uploads() == 1
    begun.refresh_from_db()
    assert begun.state == "expired"
    assert not default_storage.exists(part.storage_name)
    with pytest.raises(UserError, match="expired"):
        put(100, CHATS[100:200])


# --- the page ------------------------------------------------------------------------------------------------


def page_url(name, project, *args):
    return reverse(f"datasets:{name}", args=[project.slug, *args])


@pytest.fixture
def browser(client_for, trainer):
    return client_for(trainer)


def begin(browser, project, size=None):
    body = json.dumps({"name": "chats.jsonl", "size": len(CHATS) if size is None else size})
    return browser.post(page_url("arriving", project), body, content_type="application/json")


def send(browser, url, offset, content, **headers):
    return browser.post(f"{url}?offset={offset}", content, content_type="application/octet-stream", **headers)


def test_a_script_sends_parts_asks_after_a_reload_and_completes(browser, project):
    state = begin(browser, project).json()
    assert (state["received"], state["status"]) == (0, "pending")
    sent = send(browser, state["part_url"], 0, CHATS[:1500])
    assert sent.json()["received"] == 1500
    asked = browser.get(state["state_url"]).json()
    assert asked["received"] == 1500
    assert send(browser, state["part_url"], 1500, CHATS[1500:]).status_code == 200
    done = browser.post(state["complete_url"])
    assert done.json()["url"] == page_url("preview", project, Upload.objects.get().pk)
    assert "about 60 rows" in browser.get(done.json()["url"]).content.decode()


def test_mistakes_come_as_json_with_a_sentence(browser, project):
    state = begin(browser, project).json()
    wrong = send(browser, state["part_url"], 7, CHATS)
    assert (wrong.status_code, wrong.json()["error"]["expected"]) == (409, "0")
    assert send(browser, state["part_url"], "x", CHATS).status_code == 400
    assert begin(browser, project, size=0).status_code == 422
    assert begin(browser, project, size="many").status_code == 422
    assert browser.post(page_url("arriving", project), b"[", content_type="application/json").status_code == 400
    assert browser.post(state["complete_url"]).json()["error"]["code"] == "incomplete_upload"


def test_an_unfinished_upload_is_shown_and_can_be_discarded_without_a_script(browser, project):
    state = begin(browser, project).json()
    send(browser, state["part_url"], 0, CHATS[:1500])
    page = browser.get(page_url("upload", project)).content.decode()
    assert "Not finished" in page
    assert "chats.jsonl" in page
    assert browser.post(state["cancel_url"]).status_code == 302
    assert "Not finished" not in browser.get(page_url("upload", project)).content.decode()
    assert PendingUpload.objects.get().state == "cancelled"


def test_a_file_goes_into_the_dataset_for_which_it_was_sent(browser, project, bare_dataset):
    state = begin(browser, project).json()
    send(browser, state["part_url"], 0, CHATS)
    done = browser.post(f"{state['complete_url']}?into={bare_dataset.pk}")
    assert done.json()["url"].endswith(f"?into={bare_dataset.pk}")
    assert "Add these rows" in browser.get(done.json()["url"]).content.decode()


def test_the_parts_of_another_project_are_not_there(client_for, outsider, begun):
    from accounts_app.models import Project

    theirs = Project.objects.exclude(pk=begun.project_id).get()
    client = client_for(outsider)
    for name in ("arriving_state", "arriving_part", "arriving_complete", "arriving_cancel"):
        method = client.get if name == "arriving_state" else client.post
        assert method(page_url(name, theirs, begun.pk)).status_code == 404


# --- the native API ------------------------------------------------------------------------------------------


@pytest.fixture
def call(client, api_key):
    def make(method, path, scopes="read,train", **kwargs):
        headers = {"Authorization": f"Bearer {api_key(*scopes.split(','))}"}
        return getattr(client, method)(f"/api/v1{path}", headers=headers, **kwargs)

    return make


def test_the_api_takes_a_file_in_parts_and_makes_a_dataset_of_it(call, quick_jobs):
    body = json.dumps({"name": "chats.jsonl", "size": len(CHATS)})
    made = call("post", "/uploads", data=body, content_type="application/json")
    assert made.status_code == 201
    path = f"/uploads/{made.json()['id']}"
    octets = {"content_type": "application/octet-stream"}
    assert call("put", f"{path}/parts?offset=0", data=CHATS[:2000], **octets).json()["received"] == 2000
    assert call("put", f"{path}/parts?offset=0", data=CHATS[:2000], **octets).json()["received"] == 2000
    wrong = call("put", f"{path}/parts?offset=5", data=CHATS[5:10], **octets)
    assert (wrong.status_code, wrong.json()["error"]["expected"]) == (409, "2000")
    assert call("post", f"{path}/complete").status_code == 400
    assert call("put", f"{path}/parts?offset=2000", data=CHATS[2000:], **octets).status_code == 200
    done = call("post", f"{path}/complete").json()
    assert (done["status"], done["received"]) == ("completed", len(CHATS))
    dataset = call("post", "/datasets", data={"file_id": done["file_id"], "name": "In parts"})
    assert dataset.status_code == 202, dataset.content
    quick_jobs()
    assert call("get", f"/datasets/{dataset.json()['id']}").json()["counts"]["total"] == 60
    assert call("delete", path).status_code == 409
    assert call("get", f"/uploads/{'0' * 26}").status_code == 404


def test_a_part_whose_length_lies_is_refused_and_not_kept(live_server, api_key, actor, transactional_db):
    """Over a real socket: 2,000 bytes are promised, 1,000 come, and the sender falls silent."""
    key = api_key("train")
    begun = operations.begin_upload(actor=actor, name="chats.jsonl", size=len(CHATS))
    host, port = live_server.thread.host, live_server.thread.port
    head = (
        f"PUT /api/v1/uploads/{begun.pk}/parts?offset=0 HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 2000\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/octet-stream\r\n\r\n"
    )
    with socket.create_connection((host, port), timeout=20) as connection:
        connection.sendall(head.encode() + CHATS[:1000])
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"incomplete_part" in answer
    assert not UploadPart.objects.exists()


# --- the official SDK ----------------------------------------------------------------------------------------


@pytest.fixture
def sdk(live_server, api_key):
    return openai.OpenAI(base_url=f"{live_server.url}/v1", api_key=api_key("read", "train"), max_retries=0)


def test_the_sdk_sends_a_file_in_chunks_and_gets_a_dataset(sdk, tmp_path, run_jobs):
    path = tmp_path / "chats.jsonl"
    path.write_bytes(CHATS)
    md5 = hashlib.md5(CHATS).hexdigest()
    done = sdk.uploads.upload_file_chunked(
        file=path, mime_type="text/jsonl", purpose="fine-tune", part_size=1000, md5=md5
    )
    assert (done.object, done.status, done.bytes, done.filename) == ("upload", "completed", len(CHATS), "chats.jsonl")
    assert done.id.startswith("upload_")
    assert done.expires_at > done.created_at
    assert done.file.id.startswith("file-")
    assert done.file.status == "uploaded"
    run_jobs()
    assert sdk.files.retrieve(done.file.id).status == "processed"
    assert sdk.files.content(done.file.id).read() == CHATS
    assert Dataset.objects.get().total == 60


def test_the_order_of_the_parts_is_what_the_sdk_says_at_the_end(sdk):
    made = sdk.uploads.create(bytes=len(CHATS), filename="c.jsonl", mime_type="text/jsonl", purpose="evals")
    assert (made.status, made.purpose, made.file) == ("pending", "evals", None)
    last = sdk.uploads.parts.create(made.id, data=CHATS[900:])
    unused = sdk.uploads.parts.create(made.id, data=b"a mistake")
    first = sdk.uploads.parts.create(made.id, data=CHATS[:900])
    assert (first.object, first.upload_id) == ("upload.part", made.id)
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.uploads.complete(made.id, part_ids=[first.id])
    assert caught.value.param == "part_ids"
    with pytest.raises(openai.BadRequestError):
        sdk.uploads.complete(made.id, part_ids=[first.id, first.id])
    with pytest.raises(openai.BadRequestError):
        sdk.uploads.complete(made.id, part_ids=[first.id, "part_nothing"])
    done = sdk.uploads.complete(made.id, part_ids=[first.id, last.id])
    assert sdk.files.content(done.file.id).read() == CHATS
    assert unused.id.startswith("part_")
    assert not Dataset.objects.exists(), "only fine-tune files become datasets"


def test_a_wrong_md5_is_refused_and_the_upload_stays_open(sdk):
    made = sdk.uploads.create(bytes=len(CHATS), filename="c.jsonl", mime_type="text/jsonl", purpose="evals")
    part = sdk.uploads.parts.create(made.id, data=CHATS)
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.uploads.complete(made.id, part_ids=[part.id], md5="0" * 32)
    assert caught.value.param == "md5"
    assert sdk.uploads.complete(made.id, part_ids=[part.id]).status == "completed"


def test_the_sdk_cancels(sdk):
    made = sdk.uploads.create(bytes=10, filename="c.jsonl", mime_type="text/jsonl", purpose="fine-tune")
    assert sdk.uploads.cancel(made.id).status == "cancelled"
    with pytest.raises(openai.ConflictError):
        sdk.uploads.parts.create(made.id, data=b"0123456789")
    with pytest.raises(openai.NotFoundError):
        sdk.uploads.cancel("upload_nothing")


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"bytes": 0}, "bytes"),
        ({"bytes": "many"}, "bytes"),
        ({"purpose": "batch"}, "purpose"),
        ({"filename": ""}, "filename"),
        ({"filename": 7}, "filename"),
        ({"colour": "red"}, "colour"),
        ({"expires_after": {"anchor": "created_at", "seconds": 3600}}, "expires_after"),
    ],
)
def test_a_bad_call_is_400_and_names_the_parameter(client, api_key, changed, param):
    body = {"bytes": 10, "filename": "c.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"} | changed
    headers = {"Authorization": f"Bearer {api_key('train')}"}
    sent = client.post("/v1/uploads", json.dumps(body), content_type="application/json", headers=headers)
    assert (sent.status_code, sent.json()["error"]["param"]) == (400, param), sent.content


def test_what_the_sdk_repeats_is_done_once(client, api_key):
    headers = {"Authorization": f"Bearer {api_key('read', 'train')}", "x-stainless-retry-count": "0"}
    again = headers | {"x-stainless-retry-count": "1"}
    body = json.dumps({"bytes": 10, "filename": "c.txt", "mime_type": "text/plain", "purpose": "evals"})
    made = [
        client.post("/v1/uploads", body, content_type="application/json", headers=h).json() for h in (headers, again)
    ]
    assert made[0]["id"] == made[1]["id"]
    path = f"/v1/uploads/{made[0]['id']}"
    parts = [
        client.post(f"{path}/parts", {"data": io.BytesIO(b"0123456789")}, headers=h).json() for h in (headers, again)
    ]
    assert parts[0]["id"] == parts[1]["id"]
    body = json.dumps({"part_ids": [parts[0]["id"]]})
    done = [
        client.post(f"{path}/complete", body, content_type="application/json", headers=h).json()
        for h in (headers, again)
    ]
    assert done[0]["file"]["id"] == done[1]["file"]["id"]
    assert client.post(f"{path}/complete", body, content_type="application/json", headers=headers).status_code == 400
