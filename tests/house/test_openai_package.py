"""The official ``openai`` package against a real site: only ``base_url`` and ``api_key`` are changed."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests import openai_script
from tests.house.conftest import Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
TEST_ROWS = int(os.environ.get("CLINC_TEST_ROWS") or 500)
TRAIN_ROWS = int(os.environ.get("CLINC_TRAIN_ROWS") or 2000)


@pytest.fixture(scope="module", autouse=True)
def hooks_on_this_machine() -> Iterator[None]:
    """The site of this file may send webhooks to programs that listen here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUTBOUND_ALLOWED_HOSTS", "localhost")
        yield


@pytest.fixture(scope="module")
def domains(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, str]]]:
    """CLINC150 as chat rows, question in and domain out: a training file and the test rows."""
    folder = shared_data / "classification"
    rows = json.loads((folder / "clinc150_data_small.json").read_text())
    by_domain = json.loads((folder / "clinc150_domains.json").read_text())
    domain_of = {intent: domain for domain, intents in by_domain.items() for intent in intents}
    train = [(text, domain_of[intent]) for text, intent in rows["train"]]
    test = [(text, domain_of[intent]) for text, intent in rows["test"]]
    shuffle = random.Random(7)
    shuffle.shuffle(train)
    shuffle.shuffle(test)
    path = tmp_path_factory.mktemp("clinc") / "clinc-domains.jsonl"
    with open(path, "w") as file:
        for text, domain in train[:TRAIN_ROWS]:
            messages = [{"role": "user", "content": text}, {"role": "assistant", "content": domain}]
            file.write(json.dumps({"messages": messages}) + "\n")
    return path, test[:TEST_ROWS]


@pytest.fixture(scope="module")
def client(site: Site) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{site.address}/v1", api_key=site.project_key("Domains")[1], timeout=120)


def accuracy(client: openai.OpenAI, model: str, rows: list[tuple[str, str]]) -> float:
    right = 0
    for text, domain in rows:
        answer = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": text}], temperature=0, max_tokens=12
        )
        right += (answer.choices[0].message.content or "").strip() == domain
    return right / len(rows)


def wait_for(client: openai.OpenAI, job_id: str, seconds: float = 900.0) -> openai.types.fine_tuning.FineTuningJob:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job = client.fine_tuning.jobs.retrieve(job_id)
        if job.status in {"succeeded", "failed", "cancelled"}:
            return job
        time.sleep(1.0)
    raise AssertionError(f"{job_id} is still {job.status}")


@pytest.mark.parametrize("base", ["demo-base", "stories260k"])
def test_it_fine_tunes_a_local_model_and_chats_with_it(site, client, domains, shared_data, base, capsys) -> None:
    path, test = domains
    if base == "stories260k":
        site.manage("add_base_model", base, str(shared_data / "models" / "stories260K"))
    with open(path, "rb") as file:
        uploaded = client.files.create(file=file, purpose="fine-tune")
    assert uploaded.filename == "clinc-domains.jsonl"

    job = client.fine_tuning.jobs.create(
        model=base, training_file=uploaded.id, suffix="domains", seed=1, method={
            "type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 4}}},
    )  # fmt: skip
    assert job.object == "fine_tuning.job"
    assert job.id in [listed.id for listed in client.fine_tuning.jobs.list()]
    job = wait_for(client, job.id)
    events = list(client.fine_tuning.jobs.list_events(job.id))
    assert job.status == "succeeded", (job.error, [event.message for event in events[:10]])
    assert {event.type for event in events} == {"message", "metrics"}
    assert job.trained_tokens
    assert job.trained_tokens > 0

    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job.id))
    assert checkpoints
    assert checkpoints[0].metrics.valid_loss is not None
    assert job.fine_tuned_model in [model.id for model in client.models.list()]
    assert client.files.content(job.result_files[0]).text.startswith("step,train_loss")

    before, after = accuracy(client, base, test), accuracy(client, str(job.fine_tuned_model), test)
    with capsys.disabled():
        print(f"\n{base}: domain accuracy on {len(test)} CLINC150 test rows {before:.3f} -> {after:.3f}")
    assert after > before + 0.2


def test_chat_streams_and_refuses_what_it_does_not_know(client) -> None:
    pieces = list(
        client.chat.completions.create(
            model="demo-base",
            messages=[{"role": "user", "content": "Hello"}],
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert pieces[-1].usage.completion_tokens > 0
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.chat.completions.create(model="gpt-nothing", messages=[{"role": "user", "content": "Hello"}])
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model="demo-base", messages=[{"role": "user", "content": "Hello"}], extra_body={"frobnicate": 1}
        )
    assert refused.value.body["param"] == "frobnicate"


def test_cancel_is_seen_by_retrieve_and_list(client, domains) -> None:
    with open(domains[0], "rb") as file:
        uploaded = client.files.create(file=file, purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="demo-base", training_file=uploaded.id)
    client.fine_tuning.jobs.cancel(job.id)
    assert wait_for(client, job.id, seconds=60).status == "cancelled"


def test_the_package_makes_every_documented_call_and_hears_of_the_ends(site, client, tmp_path, httpserver) -> None:
    """``tests/jobs_app/test_openai_script.py`` drives an independent server with the same script."""
    httpserver.expect_request("/hook").respond_with_data("")
    with site.client(client.api_key) as native:
        secret = native.post("/api/v1/webhooks", json={"url": httpserver.url_for("/hook")}).json()["secret"]
    report = openai_script.drive(client, model="demo-base", rows=openai_script.write_rows(tmp_path), seconds=240)
    wanted = {(job.id, f"fine_tuning.job.{job.status}") for job in report.jobs.values()}
    heard: set[tuple[str, str]] = set()
    deadline = time.monotonic() + 60
    while not wanted <= heard and time.monotonic() < deadline:
        time.sleep(0.5)
        events = [
            client.webhooks.unwrap(request.get_data(as_text=True), dict(request.headers), secret=secret)
            for request, _response in httpserver.log
        ]
        heard = {(event.data.id, event.type) for event in events}
    assert wanted <= heard
    assert len(httpserver.log) == len(heard), "each was told once"


def test_large_files_come_in_parts(client, tmp_path) -> None:
    rows = openai_script.write_rows(tmp_path).training
    content = rows.read_bytes()
    uploaded = client.uploads.upload_file_chunked(
        file=rows, mime_type="application/jsonl", purpose="fine-tune", part_size=len(content) // 3
    )
    assert uploaded.status == "completed"
    assert client.files.content(uploaded.file.id).read() == content
    begun = client.uploads.create(bytes=10, filename="a.jsonl", mime_type="application/jsonl", purpose="fine-tune")
    assert client.uploads.cancel(begun.id).status == "cancelled"


def test_what_a_site_of_ones_own_does_not_offer_says_so(client) -> None:
    with pytest.raises(openai.NotFoundError, match="not shared between projects"):
        client.fine_tuning.checkpoints.permissions.list("ft:demo-base:x::y:ckpt-step-1")
    grader = {"type": "string_check", "name": "g", "input": "a", "reference": "a", "operation": "eq"}
    with pytest.raises(openai.NotFoundError, match="reinforcement"):
        client.fine_tuning.alpha.graders.validate(grader=grader)


def test_a_wrong_key_is_the_packages_own_error(site) -> None:
    stranger = openai.OpenAI(base_url=f"{site.address}/v1", api_key="tsk_wrong")
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
