"""A project's keys at providers: on the page and over the API."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from accounts_app.models import AuditEntry
from finetune_engine.errors import UserError
from jobs_app.models import ProviderConnection
from jobs_app.operations import connections
from web_kit import secrets


def add(actor, server, **changes):
    values = {"name": "Test provider", "base_url": server.address, "key": server.key}
    return connections.add_connection(actor=actor, **(values | changes))


def page(actor, more: str = "") -> str:
    return f"/p/{actor.project.slug}/train/providers{more}"


def test_the_key_is_stored_encrypted_and_only_its_end_is_told(actor, server) -> None:
    connection = add(actor, server)
    assert server.key not in connection.secret
    assert secrets.decrypt(connection.secret) == server.key
    assert connection.last_four == server.key[-4:]


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("not an address", "bad_base_url"),
        ("ftp://api.openai.com/v1", "bad_base_url"),
        ("https://key@api.openai.com/v1", "bad_base_url"),
        ("http://api.openai.com/v1", "bad_base_url"),
        ("https://127.0.0.1:9/v1", "host_not_allowed"),
        ("https://169.254.169.254/latest", "host_not_allowed"),
    ],
)
def test_an_address_that_may_not_be_reached_is_refused(actor, address, code) -> None:
    with pytest.raises(UserError) as refused:
        connections.add_connection(actor=actor, name="x", base_url=address, key="sk-12345678")
    assert refused.value.code == code


@pytest.mark.parametrize("key", ["", "short", "with a blank inside", "schlüssel-mit-ü"])
def test_what_cannot_be_a_key_is_refused(actor, server, key) -> None:
    with pytest.raises(UserError) as refused:
        add(actor, server, key=key)
    assert refused.value.field == "key"


def test_one_address_has_one_key(actor, server) -> None:
    add(actor, server)
    with pytest.raises(UserError) as refused:
        add(actor, server, base_url=f"{server.address}/")
    assert refused.value.code == "address_taken"


def test_another_address_needs_the_key_again(actor, server) -> None:
    connection = add(actor, server)
    with pytest.raises(UserError) as refused:
        connections.change_connection(
            actor=actor, connection=connection, name="x", base_url="https://elsewhere.example/v1"
        )
    assert refused.value.code == "key_required"
    assert ProviderConnection.objects.get().base_url == server.address


def test_another_name_keeps_the_key(actor, server) -> None:
    connection = add(actor, server)
    connections.change_connection(actor=actor, connection=connection, name="Ours", base_url=server.address)
    assert secrets.decrypt(ProviderConnection.objects.get(name="Ours").secret) == server.key


def test_a_check_asks_for_the_models_with_the_key(actor, server) -> None:
    connection = connections.check_connection(actor=actor, connection=add(actor, server))
    assert connection.problem == ""
    assert server.authorizations == [f"Bearer {server.key}"]
    assert server.requests == [("GET", "/models")]


def test_a_check_with_a_wrong_key_says_so(actor, server) -> None:
    connection = connections.check_connection(actor=actor, connection=add(actor, server, key="sk-wrong-key"))
    assert "refused the key" in connection.problem


def test_a_check_sends_the_key_to_no_address_that_it_is_redirected_to(actor, server) -> None:
    server.fail("GET", "/models", status=302, headers={"Location": "https://elsewhere.example/v1/models"})
    connection = connections.check_connection(actor=actor, connection=add(actor, server))
    assert "302" in connection.problem


def test_a_key_that_a_training_uses_is_not_forgotten(send, connection, actor) -> None:
    send()
    with pytest.raises(UserError) as refused:
        connections.delete_connection(actor=actor, connection=connection)
    assert refused.value.code == "connection_in_use"


def test_every_act_is_in_the_audit_trail_without_the_key(actor, server) -> None:
    connection = add(actor, server)
    connections.check_connection(actor=actor, connection=connection)
    connections.change_connection(
        actor=actor, connection=connection, name="x", base_url=server.address, key="sk-another-key"
    )
    connections.delete_connection(actor=actor, connection=connection)
    entries = list(AuditEntry.objects.filter(act__startswith="connection.").order_by("id"))
    assert [entry.act.removeprefix("connection.") for entry in entries] == ["add", "check", "change", "delete"]
    assert not any(server.key in f"{entry.subject}{entry.data}" for entry in entries)


def test_rotate_secrets_makes_them_readable_under_the_new_key_alone(actor, server, settings, capsys) -> None:
    add(actor, server)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "a new secret key of this site, long enough"
    call_command("rotate_secrets")
    settings.SECRET_KEY_FALLBACKS = []
    assert secrets.decrypt(ProviderConnection.objects.get().secret) == server.key
    assert "1 keys" in capsys.readouterr().out


# --- the page ---------------------------------------------------------------------------------------------------------


def test_an_owner_adds_a_key_on_the_page_and_it_is_checked(actor, owner, client_for, server) -> None:
    form = {"name": "Test provider", "base_url": server.address, "key": server.key}
    answer = client_for(owner).post(page(actor), form, follow=True)
    text = answer.content.decode()
    assert "answers and takes the key" in text
    assert f"…{server.key[-4:]}" in text
    assert server.key not in text


def test_a_mistake_comes_back_beside_its_field_without_the_key(actor, owner, client_for, server) -> None:
    form = {"name": "x", "base_url": "http://api.openai.com/v1", "key": "sk-secret-of-mine"}
    answer = client_for(owner).post(page(actor), form)
    assert answer.status_code == 422
    assert "Use https" in answer.content.decode()
    assert "sk-secret-of-mine" not in answer.content.decode()


def test_the_page_of_one_key_asks_for_it_when_the_address_changes(actor, owner, client_for, server) -> None:
    connection = add(actor, server)
    form = {"name": "x", "base_url": "https://elsewhere.example/v1", "key": ""}
    answer = client_for(owner).post(page(actor, f"/{connection.pk}"), form)
    assert answer.status_code == 422
    assert "enter the key for the new address" in answer.content.decode()


@pytest.mark.parametrize("role", ["trainer", "reviewer", "viewer"])
def test_only_owners_see_the_page(actor, client_for, role, request) -> None:
    assert client_for(request.getfixturevalue(role)).get(page(actor)).status_code == 403


def test_an_outsider_finds_nothing(actor, client_for, outsider, server) -> None:
    connection = add(actor, server)
    assert client_for(outsider).get(page(actor)).status_code == 404
    assert client_for(outsider).post(page(actor, f"/{connection.pk}/delete")).status_code == 404


# --- the API ----------------------------------------------------------------------------------------------------------


def test_the_api_adds_checks_changes_and_deletes_and_never_answers_the_key(client, api_key, actor, server) -> None:
    headers = {"Authorization": f"Bearer {api_key('admin')}"}
    values = {"base_url": server.address, "key": server.key}
    made = client.post("/api/v1/connections", values, content_type="application/json", headers=headers)
    one = f"/api/v1/connections/{made.json()['id']}"
    checked = client.post(f"{one}/check", headers=headers)
    listed = client.get("/api/v1/connections", headers=headers)
    changed = client.patch(one, {"name": "Ours"}, content_type="application/json", headers=headers)
    gone = client.delete(one, headers=headers)
    statuses = [answer.status_code for answer in (made, checked, listed, changed, gone)]
    assert statuses == [201, 200, 200, 200, 204]
    assert checked.json()["problem"] is None
    assert not any(server.key in answer.content.decode() for answer in (made, checked, listed, changed))


def test_a_trainers_key_may_not_see_connections(client, api_key, actor) -> None:
    answer = client.get("/api/v1/connections", headers={"Authorization": f"Bearer {api_key('train')}"})
    assert answer.status_code == 403
