"""A training at a provider, over a real socket, with the official package."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune_engine.errors import EngineError, UserError
from finetune_engine.events import Event, ListSink
from finetune_engine.ports import Run, Stopped
from finetune_engine.train.backends.openai_api import cancel_remote, plain_csv
from finetune_engine.train.provider.settings import KEY_VARIABLE, ProviderSettings
from tests.finetune_engine.train.backends.provider_case import JOB, Case, Told, write_rows
from tests.protocol_server.script import Become, Checkpoint, Fail, Report, Stay, Succeed, learning_then
from tests.protocol_server.server import ProtocolServer

JOBS, ONE_JOB, FILES = "/fine_tuning/jobs", r"/fine_tuning/jobs/ftjob-\d+", "/files"


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with ProtocolServer() as running:
        yield running


@pytest.fixture
def case(server: ProtocolServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(server, tmp_path, monkeypatch)


def sent(server: ProtocolServer) -> dict:
    """The one job that the provider was asked for."""
    assert len(server.jobs) == 1
    return next(iter(server.jobs.values())).body


# --- a training that goes well --------------------------------------------------------------------------------------


def test_the_model_its_tokens_and_its_table_come_back(case: Case, server: ProtocolServer) -> None:
    case.run(case.spec(suffix="clauses"))
    result = case.told("result")[0]
    assert result["remote_model"] == sent(server)["fine_tuned_model"]
    assert ":clauses:" in result["remote_model"]
    assert result["trained_tokens"] == 4200
    assert (case.folder / "out" / "metrics.csv").read_text().startswith("step,train_loss")
    record = json.loads((case.folder / "out" / "run.json").read_text())
    assert record["provider"]["job"] == sent(server)["id"]


def test_only_training_and_validation_rows_leave_the_house(case: Case, server: ProtocolServer) -> None:
    case.run()
    job = sent(server)
    lines = server.files[job["training_file"]].content.decode().splitlines()
    assert json.loads(lines[0]) == {
        "messages": [{"role": "user", "content": "question 0"}, {"role": "assistant", "content": "answer 0"}]
    }
    assert len(lines) == 12
    assert len(server.files[job["validation_file"]].content.splitlines()) == 3
    assert not any(b"question 15" in file.content for file in server.files.values() if file.purpose == "fine-tune")


def test_every_step_becomes_a_metric_and_every_checkpoint_is_mirrored_once(case: Case, server: ProtocolServer) -> None:
    case.run()
    assert [metric["step"] for metric in case.told("metric")] == [1, 2, 3]
    assert case.told("metric")[1]["train_accuracy"] == 0.6667
    assert [one["step"] for one in case.told("checkpoint")] == [2, 3]
    assert case.told("checkpoint")[1]["metrics"]["valid_loss"] == 0.8
    assert [phase["phase"] for phase in case.told("phase")][-2:] == ["training", "saving"]


def test_the_defaults_of_a_providers_training_are_sent(case: Case, server: ProtocolServer) -> None:
    case.run()
    numbers = sent(server)["method"]["supervised"]["hyperparameters"]
    assert numbers == {"n_epochs": "auto", "batch_size": 4, "learning_rate_multiplier": 0.1}
    assert sent(server)["metadata"] == {"tunesmith_job": JOB}
    assert sent(server)["seed"] == 42


def test_preference_pairs_go_out_in_the_providers_form(case: Case, server: ProtocolServer) -> None:
    rows = write_rows(case.folder / "pairs.parquet", pairs=True)
    case.run(case.spec(rows=rows, training={"method": "dpo"}, hyperparameters={"beta": 0.2, "n_epochs": 2}))
    line = json.loads(server.files[sent(server)["training_file"]].content.splitlines()[0])
    assert line["preferred_output"] == [{"role": "assistant", "content": "answer 0"}]
    assert line["non_preferred_output"] == [{"role": "assistant", "content": "worse 0"}]
    assert sent(server)["method"]["dpo"]["hyperparameters"]["beta"] == 0.2


def test_the_key_is_in_no_file_and_no_event_and_is_forgotten_by_the_environment(
    case: Case, server: ProtocolServer
) -> None:
    events = case.run()
    assert all(server.key not in event.to_line() for event in events)
    assert all(server.key.encode() not in path.read_bytes() for path in case.folder.rglob("*") if path.is_file())
    assert KEY_VARIABLE not in os.environ


def test_a_table_in_base64_is_unpacked() -> None:
    assert plain_csv(b"c3RlcCx0cmFpbl9sb3NzCjEsMi4wCg==") == b"step,train_loss\n1,2.0\n"


# --- before anything is sent ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "training", "code"),
    [
        ({"train": 9}, {}, "too_few_examples"),
        ({"messages": json.dumps([{"role": "user", "content": "only a question"}])}, {}, "rows_refused"),
        ({"messages": json.dumps([{"role": "oracle", "content": "x"}])}, {}, "rows_refused"),
        ({}, {"method": "dpo"}, "rows_refused"),
    ],
)
def test_data_that_the_provider_would_refuse_is_refused_before_it_is_asked(
    case: Case, server: ProtocolServer, change: dict, training: dict, code: str
) -> None:
    rows = write_rows(case.folder / "bad.parquet", **change)
    with pytest.raises(UserError) as refused:
        case.run(case.spec(rows=rows, training=training))
    assert (refused.value.code, refused.value.reason) == (code, "bad_data")
    assert server.requests == []


def test_a_private_address_that_the_operator_has_not_allowed_gets_no_request(
    case: Case, server: ProtocolServer
) -> None:
    with pytest.raises(UserError, match="private network"):
        case.run(case.spec(allowed_hosts=[]))
    assert server.requests == []


def test_without_a_key_nothing_is_asked(case: Case, server: ProtocolServer) -> None:
    with pytest.raises(UserError) as refused:
        case.run(key="")
    assert refused.value.code == "no_provider_key"
    assert server.requests == []


def test_a_redirect_is_not_followed_so_the_key_stays_where_it_belongs(
    case: Case, server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProtocolServer() as other:
        server.fail("GET", JOBS, status=307, headers={"Location": f"{other.address}/fine_tuning/jobs"})
        with pytest.raises((UserError, EngineError)):
            case.run()
        assert other.requests == []


# --- failures of the provider ---------------------------------------------------------------------------------------


def test_a_refused_key_ends_the_job_with_the_providers_own_words(case: Case, server: ProtocolServer) -> None:
    with pytest.raises(UserError, match="Incorrect API key") as refused:
        case.run(key="sk-wrong")
    assert refused.value.reason == "provider_error"
    assert len(server.requests) == 1


def test_a_key_that_the_provider_quotes_is_not_told(case: Case, server: ProtocolServer) -> None:
    server.fail("POST", FILES, status=401, message=f"The key {server.key} is not known.", times=10)
    with pytest.raises(UserError) as refused:
        case.run()
    assert server.key not in refused.value.sentence
    assert "The key ... is not known." in refused.value.sentence


def test_retry_after_is_honoured_to_the_second(case: Case, server: ProtocolServer) -> None:
    server.fail("POST", FILES, status=429, headers={"Retry-After": "1"}, message="Rate limit reached.")
    events = case.run()
    trouble = next(event for event in events if event.kind == "warn")
    after = next(event for event in events if "are at the provider" in str(event.data.get("message")))
    assert "Trying again in 1 s" in trouble.data["message"]
    assert after.at - trouble.at >= 1.0


def test_an_account_without_credit_is_not_asked_again(case: Case, server: ProtocolServer) -> None:
    server.fail("POST", JOBS, status=429, code="insufficient_quota", message="You exceeded your quota.", times=9)
    with pytest.raises(UserError, match="quota") as refused:
        case.run()
    assert refused.value.reason == "provider_error"
    assert server.count("POST", JOBS) == 1


@pytest.mark.parametrize("how", ["status", "cut", "lost_answer"])
@pytest.mark.parametrize(("method", "path"), [("POST", FILES), ("POST", JOBS), ("GET", ONE_JOB)])
def test_trouble_that_passes_costs_no_second_job(
    case: Case, server: ProtocolServer, method: str, path: str, how: str
) -> None:
    server.fail(method, path, how, times=2 if how != "lost_answer" else 1)
    case.run()
    assert case.told("result")[0]["remote_model"] == sent(server)["fine_tuned_model"]
    assert len([file for file in server.files.values() if file.purpose == "fine-tune"]) == 2


def test_a_create_that_is_never_answered_is_looked_for_before_it_is_repeated(
    case: Case, server: ProtocolServer
) -> None:
    server.fail("POST", JOBS, "silence")
    case.run(case.spec(answer_seconds=1.0))
    assert sent(server)["status"] == "succeeded"


def test_a_create_whose_answer_is_lost_when_patience_is_over_is_looked_for_all_the_same(
    case: Case, server: ProtocolServer
) -> None:
    server.fail("POST", JOBS, "lost_answer")
    case.run(case.spec(patience_seconds=0.0))
    assert len(server.jobs) == 1
    assert case.told("result")


def test_a_provider_that_stays_broken_before_the_start_fails_the_job(case: Case, server: ProtocolServer) -> None:
    server.fail("POST", FILES, status=503, message="Overloaded.", times=10_000)
    with pytest.raises(EngineError, match="Overloaded") as failed:
        case.run(case.spec(patience_seconds=0.2))
    assert failed.value.reason == "provider_error"
    assert server.jobs == {}


def test_a_running_job_is_asked_after_for_longer_than_our_patience(case: Case, server: ProtocolServer) -> None:
    server.fail("GET", ONE_JOB, status=500, times=6)
    case.run(case.spec(patience_seconds=0.0))
    assert len([one for one in case.told("warn") if one.get("code") == "provider_trouble"]) == 1
    assert case.told("result")


@pytest.mark.parametrize(("param", "reason"), [("training_file", "bad_data"), (None, "provider_error")])
def test_a_job_that_fails_there_fails_here_with_the_same_sentence(
    case: Case, server: ProtocolServer, param: str | None, reason: str
) -> None:
    server.script = lambda: learning_then(Fail("blocked", "The data breaks the usage policy.", param))
    with pytest.raises(UserError, match="breaks the usage policy") as failed:
        case.run()
    assert (failed.value.code, failed.value.reason) == ("blocked", reason)


def test_a_job_cancelled_elsewhere_says_so(case: Case, server: ProtocolServer) -> None:
    server.script = lambda: learning_then(Become("cancelled"))
    with pytest.raises(UserError, match="not from here") as failed:
        case.run()
    assert failed.value.reason == "provider_error"


def test_a_model_that_is_not_offered_is_the_models_fault(case: Case, server: ProtocolServer) -> None:
    with pytest.raises(UserError, match="not available for fine-tuning") as refused:
        case.run(case.spec(model="gpt-nothing"))
    assert refused.value.reason == "model_unavailable"


# --- another attempt ------------------------------------------------------------------------------------------------


def state_after(events: list[Event]) -> dict:
    """What the site keeps of the events: the state that it hands to the next attempt."""
    state: dict = {}
    for event in events:
        state |= event.data.get("remote") or {}
    return state


@pytest.mark.parametrize("same_machine", [True, False])
def test_the_next_attempt_goes_on_with_the_job_and_repeats_no_event(
    case: Case, server: ProtocolServer, same_machine: bool
) -> None:
    server.script = lambda: learning_then(Stay())
    with pytest.raises(Stopped):
        case.run(stop=Told(server, "pause", after=4, is_leaving=True))
    first = [one for one in case.told("metric") if one["step"] == 1]
    assert sent(server)["status"] == "running"
    state = state_after(case.events)
    if not same_machine:
        (case.folder / "out" / "remote.json").unlink()
    server.jobs[sent(server)["id"]].script = [Report(2, 10, {"train_loss": 1.0}), Succeed()]
    case.run(case.spec(state=state))
    assert first
    assert [one["step"] for one in case.told("metric")] == [2]
    assert case.told("result")


def test_a_crash_before_the_id_was_noted_makes_no_second_job(case: Case, server: ProtocolServer) -> None:
    server.script = lambda: learning_then(Stay())
    with pytest.raises(Stopped):
        case.run(stop=Told(server, "pause", is_leaving=True))
    (case.folder / "out" / "remote.json").unlink()
    server.jobs[sent(server)["id"]].script = [Succeed()]
    case.run()
    assert server.count("POST", JOBS) == 1
    assert server.count("POST", FILES) == 2
    assert case.told("result")


def test_a_file_that_was_sent_already_is_not_sent_again(case: Case, server: ProtocolServer) -> None:
    server.fail("POST", JOBS, status=503, times=10_000)
    with pytest.raises(EngineError):
        case.run(case.spec(patience_seconds=0.2))
    (case.folder / "out" / "remote.json").unlink()
    server.troubles.clear()
    case.run()
    assert server.count("POST", FILES) == 2  # one for training, one for validation


def test_a_file_that_the_provider_has_forgotten_is_sent_again(case: Case, server: ProtocolServer) -> None:
    server.fail("POST", JOBS, status=503, times=10_000)
    with pytest.raises(EngineError):
        case.run(case.spec(patience_seconds=0.2))
    server.troubles.clear()
    server.files.clear()  # they expired
    case.run()
    assert sent(server)["status"] == "succeeded"


# --- stopping -------------------------------------------------------------------------------------------------------


def test_cancel_cancels_there(case: Case, server: ProtocolServer) -> None:
    server.script = lambda: learning_then(Stay())
    with pytest.raises(Stopped) as stopped:
        case.run(stop=Told(server, "cancel"))
    assert stopped.value.action == "cancel"
    assert sent(server)["status"] == "cancelled"


def test_a_job_whose_id_we_never_learned_is_found_and_cancelled(case: Case, server: ProtocolServer) -> None:
    server.script = lambda: learning_then(Stay())
    with pytest.raises(Stopped):
        case.run(stop=Told(server, "pause", is_leaving=True))
    (case.folder / "out" / "remote.json").unlink()
    case.monkeypatch.setenv(KEY_VARIABLE, server.key)
    settings = ProviderSettings.from_dict(case.spec().provider)
    cancel_remote(Run(sink=ListSink()), settings, case.folder / "out")
    assert sent(server)["status"] == "cancelled"


def test_pause_pauses_there_and_the_next_attempt_resumes(case: Case, server: ProtocolServer) -> None:
    server.script = lambda: learning_then(Stay())
    with pytest.raises(Stopped):
        case.run(stop=Told(server, "pause"))
    assert sent(server)["status"] == "paused"
    server.jobs[sent(server)["id"]].script = [Become("running"), Succeed()]
    case.run()
    assert sent(server)["status"] == "succeeded"


def test_where_pausing_is_not_offered_the_person_is_told_that_it_goes_on(case: Case, server: ProtocolServer) -> None:
    server.can_pause = False
    server.script = lambda: learning_then(Stay())
    with pytest.raises(Stopped):
        case.run(stop=Told(server, "pause"))
    assert sent(server)["status"] == "running"
    assert [one["code"] for one in case.told("warn")] == ["no_pause"]


def test_a_worker_that_leaves_lets_the_job_go_on(case: Case, server: ProtocolServer) -> None:
    server.script = lambda: learning_then(Stay())
    with pytest.raises(Stopped):
        case.run(stop=Told(server, "pause", is_leaving=True))
    assert sent(server)["status"] == "running"


def test_stop_and_keep_takes_the_best_checkpoint_there_is(case: Case, server: ProtocolServer) -> None:
    better, worse = Checkpoint(5, {"full_valid_loss": 0.4}), Checkpoint(6, {"full_valid_loss": 0.9})
    server.script = lambda: learning_then(better, worse, Stay())
    case.run(stop=Told(server, "stop_and_keep", after=5))
    assert sent(server)["status"] == "cancelled"
    assert case.told("result")[0]["remote_model"].endswith(":ckpt-step-5")


def test_stop_and_keep_without_a_checkpoint_says_that_nothing_could_be_kept(case: Case, server: ProtocolServer) -> None:
    server.script = lambda: learning_then(Stay())
    with pytest.raises(Stopped) as stopped:
        case.run(stop=Told(server, "stop_and_keep"))
    assert stopped.value.action == "cancel"
    assert [one["code"] for one in case.told("warn")] == ["nothing_to_keep"]
