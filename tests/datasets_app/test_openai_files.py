"""``/v1/files`` through the official SDK."""

from __future__ import annotations

import io
import json

import openai
import pytest

from datasets_app.models import Dataset, Upload


@pytest.fixture
def sdk(live_server, api_key):
    """``sdk("train")``: the official client with a key of the project."""

    def make(*scopes):
        return openai.OpenAI(base_url=f"{live_server.url}/v1", api_key=api_key(*scopes), max_retries=0)

    return make


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
    for i in range(15)
).encode()


def test_a_fine_tune_file_becomes_a_dataset_and_is_processed(sdk, run_jobs):
    client = sdk("read", "train")
    made = client.files.create(file=("sums.jsonl", CHATS), purpose="fine-tune")
    assert made.id.startswith("file-")
    assert (made.status, made.bytes, made.filename, made.purpose) == ("uploaded", len(CHATS), "sums.jsonl", "fine-tune")
    run_jobs()
    assert client.files.wait_for_processing(made.id, poll_interval=0.1).status == "processed"
    dataset = Dataset.objects.get()
    assert dataset.total == 15
    assert client.files.content(made.id).read() == CHATS


def test_a_file_that_cannot_be_used_is_in_error_with_the_reason(sdk, run_jobs):
    client = sdk("train")
    made = client.files.create(file=("bad.jsonl", b'{"colour": "red"}\n'), purpose="fine-tune")
    run_jobs()
    got = client.files.retrieve(made.id)
    assert got.status == "error"
    assert "colour" in got.status_details


def test_lists_are_paged_ordered_and_filtered(sdk):
    client = sdk("train")
    ids = [client.files.create(file=(f"{i}.jsonl", CHATS), purpose="evals").id for i in range(5)]
    assert [f.id for f in client.files.list()] == ids[::-1]
    assert [f.id for f in client.files.list(order="asc", limit=2)] == ids, "the SDK follows `after` by itself"
    page = client.files.list(limit=2, after=ids[3])
    assert ([f.id for f in page.data], page.has_more) == ([ids[2], ids[1]], True)
    assert list(client.files.list(purpose="fine-tune")) == []


def test_a_deleted_file_is_gone_and_its_dataset_stays(sdk, run_jobs):
    client = sdk("train")
    made = client.files.create(file=("sums.jsonl", CHATS), purpose="fine-tune")
    with pytest.raises(openai.ConflictError):
        client.files.delete(made.id)
    run_jobs()
    assert client.files.delete(made.id).deleted is True
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)
    assert Dataset.objects.get().state == "ready"


@pytest.mark.parametrize(
    ("purpose", "content", "param"),
    [("batch", CHATS, "purpose"), ("fine-tune-results", CHATS, "purpose"), ("fine-tune", b"", "file")],
)
def test_a_bad_request_is_openais_400_and_names_the_parameter(sdk, purpose, content, param):
    with pytest.raises(openai.BadRequestError) as caught:
        sdk("train").files.create(file=("a.jsonl", io.BytesIO(content)), purpose=purpose)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def test_a_call_without_a_file_or_with_an_unknown_parameter_is_400(client, api_key):
    headers = {"Authorization": f"Bearer {api_key('train')}"}
    sent = client.post("/v1/files", {"purpose": "fine-tune"}, headers=headers)
    assert (sent.status_code, sent.json()["error"]["param"]) == (400, "file")
    sent = client.post(
        "/v1/files", {"purpose": "fine-tune", "file": io.BytesIO(CHATS), "colour": "red"}, headers=headers
    )
    assert (sent.status_code, sent.json()["error"]["param"]) == (400, "colour")
    assert client.get("/v1/files?limit=0", headers=headers).status_code == 400
    assert client.get("/v1/files?limit=²", headers=headers).status_code == 400


def test_keys_without_the_scope_and_of_other_projects_are_refused(sdk, outsider, live_server, api_key):
    from accounts_app.models import Project

    made = sdk("train").files.create(file=("a.jsonl", CHATS), purpose="evals")
    with pytest.raises(openai.PermissionDeniedError):
        sdk("read").files.create(file=("a.jsonl", CHATS), purpose="evals")
    theirs = api_key("admin", of=Project.objects.get(name="Elsewhere"))
    stranger = openai.OpenAI(base_url=f"{live_server.url}/v1", api_key=theirs, max_retries=0)
    with pytest.raises(openai.NotFoundError):
        stranger.files.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        stranger.files.delete(made.id)
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{live_server.url}/v1", api_key="tsk_wrong", max_retries=0).files.list()


def test_a_repeated_post_of_the_sdk_returns_the_first_file(client, api_key):
    key = api_key("train")

    def send(count, content=CHATS):
        headers = {"Authorization": f"Bearer {key}", "x-stainless-retry-count": str(count)}
        file = io.BytesIO(content)
        file.name = "sums.jsonl"
        return client.post("/v1/files", {"purpose": "fine-tune", "file": file}, headers=headers).json()["id"]

    first = send(0)
    assert send(1) == first
    assert send(1, CHATS + CHATS) != first
    assert send(0) != first, "a new call is a new file"
    assert Upload.objects.count() == 3
