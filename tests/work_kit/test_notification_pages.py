"""The page Notifications and its JSON twin: who may do what, and what is shown once."""

from __future__ import annotations

import json
import re

import pytest

from accounts_app.models import AuditEntry
from work_kit.models import Delivery, MailWish, WebhookEndpoint
from work_kit.notifications import operations

pytestmark = pytest.mark.django_db
HOOK = "http://127.0.0.1:9/hook"


@pytest.fixture(autouse=True)
def allowed(settings):
    settings.OUTBOUND_ALLOWED_HOSTS = ["127.0.0.1"]


@pytest.fixture
def base(project) -> str:
    return f"/p/{project.slug}/notifications/"


@pytest.fixture
def endpoint(actor):
    return operations.add_endpoint(actor=actor, url=HOOK)[0]


@pytest.fixture
def call(client, api_key):
    """``call("POST", "/webhooks", {...})``: an answer to an owner's key (or one with other scopes)."""
    key = api_key("admin")

    def send(method: str, path: str, body=None, key=key):
        return client.generic(
            method,
            f"/api/v1{path}",
            json.dumps(body) if body is not None else b"",
            content_type="application/json",
            headers={"Authorization": f"Bearer {key}"},
        )

    return send


def test_an_owner_adds_a_webhook_and_sees_its_secret_once(client_for, owner, base):
    browser = client_for(owner)
    page = browser.post(f"{base}webhooks", {"url": HOOK, "events": ["fine_tuning.job.failed"]}).content.decode()
    secret = re.search(r"whsec_[\w+/=]+", page).group(0)
    assert HOOK in page
    assert WebhookEndpoint.objects.get().events == ["fine_tuning.job.failed"]
    assert secret not in browser.get(base).content.decode()
    assert secret not in browser.get(f"{base}webhooks/{WebhookEndpoint.objects.get().pk}").content.decode()


def test_a_mistake_is_said_beside_its_field(client_for, owner, base):
    answer = client_for(owner).post(
        f"{base}webhooks", {"url": "http://10.0.0.1/", "events": ["fine_tuning.job.failed"]}
    )
    assert answer.status_code == 422
    assert "private network" in answer.content.decode()
    assert not WebhookEndpoint.objects.exists()


def test_members_choose_their_own_letters_and_see_no_webhooks(client_for, viewer, owner, base, endpoint, project):
    browser = client_for(viewer)
    assert browser.post(f"{base}mail", {"about": "all"}).status_code == 302
    assert MailWish.objects.get() == MailWish.objects.get(user=viewer, project=project, about="all")
    page = browser.get(base).content.decode()
    assert HOOK not in page
    assert re.search(r'<option value="all" selected', page)
    for path in ("webhooks", *(f"webhooks/{endpoint.pk}/{act}" for act in ("switch", "rotate", "delete", "test"))):
        assert browser.post(f"{base}{path}").status_code == 403, path


def test_the_page_says_when_no_mail_is_sent(client_for, owner, base, settings):
    assert "EMAIL_URL" in client_for(owner).get(base).content.decode()
    settings.MAIL_IS_SENT = True
    assert "EMAIL_URL" not in client_for(owner).get(base).content.decode()


def test_a_webhook_is_switched_tested_rotated_and_deleted(client_for, owner, base, endpoint):
    browser = client_for(owner)
    where = f"{base}webhooks/{endpoint.pk}"
    browser.post(f"{where}/test")
    assert "Waiting" in browser.get(where).content.decode()
    browser.post(f"{where}/switch", {"to": "off"})
    page = browser.get(where).content.decode()
    assert "Given up" in page
    assert "Send a test" not in page
    assert browser.post(f"{where}/test").status_code == 409
    browser.post(f"{where}/switch", {"to": "on"})
    assert "whsec_" in browser.post(f"{where}/rotate").content.decode()
    delivery = Delivery.objects.get()
    browser.post(f"{where}/deliveries/{delivery.pk}/repeat")
    delivery.refresh_from_db()
    assert delivery.given_up_at is None
    browser.post(f"{where}/delete")
    assert not WebhookEndpoint.objects.exists()
    acts = set(AuditEntry.objects.values_list("act", flat=True))
    wanted = {
        "webhook.add",
        "webhook.test",
        "webhook.change",
        "webhook.rotate_secret",
        "webhook.repeat",
        "webhook.delete",
    }
    assert acts >= wanted


def test_the_page_asks_no_more_for_many_webhooks(client_for, owner, base, actor, django_assert_max_num_queries):
    for number in range(9):
        operations.add_endpoint(actor=actor, url=f"{HOOK}{number}")
    browser = client_for(owner)
    with django_assert_max_num_queries(8):
        browser.get(base)


def test_another_projects_webhook_looks_missing(client_for, outsider, base, endpoint, api_key, call):
    from accounts_app.models import Project

    elsewhere = Project.objects.get(name="Elsewhere")
    where = f"/p/{elsewhere.slug}/notifications/webhooks/{endpoint.pk}"
    browser = client_for(outsider)
    assert browser.get(where).status_code == 404
    for act in ("switch", "rotate", "delete", "test"):
        assert browser.post(f"{where}/{act}").status_code == 404
    assert call("GET", f"/webhooks/{endpoint.pk}", key=api_key("admin", of=elsewhere)).status_code == 404
    assert WebhookEndpoint.objects.filter(pk=endpoint.pk, is_enabled=True).exists()


def test_a_message_of_another_webhook_is_not_repeated_here(actor, client_for, owner, base, endpoint):
    other, _secret = operations.add_endpoint(actor=actor, url=HOOK)
    delivery = operations.send_test(actor=actor, endpoint=other)
    Delivery.objects.update(delivered_at="2026-01-01T00:00:00Z")
    answer = client_for(owner).post(f"{base}webhooks/{endpoint.pk}/deliveries/{delivery.pk}/repeat")
    assert answer.status_code == 404


def test_the_api_adds_lists_changes_and_deletes(call):
    made = call("POST", "/webhooks", {"url": HOOK})
    assert made.status_code == 201
    body = made.json()
    assert body.pop("secret").startswith("whsec_")
    assert call("GET", "/webhooks").json() == {"data": [body], "next_cursor": None}
    where = f"/webhooks/{body['id']}"
    changed = call("PATCH", where, {"is_enabled": False, "events": ["fine_tuning.job.failed"]}).json()
    assert (changed["is_enabled"], changed["events"]) == (False, ["fine_tuning.job.failed"])
    call("PATCH", where, {"is_enabled": True})
    assert call("POST", f"{where}/rotate-secret").json()["secret"].startswith("whsec_")
    assert call("POST", f"{where}/test").status_code == 202
    (delivery,) = call("GET", f"{where}/deliveries").json()["data"]
    assert (delivery["status"], delivery["about"]) == ("waiting", "ftjob-test")
    assert call("POST", f"{where}/deliveries/{delivery['id']}/repeat").status_code == 409
    assert call("DELETE", where).status_code == 204
    assert call("GET", where).status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"url": "ftp://example.org"}, "url"),
        ({"url": HOOK, "events": ["everything"]}, "events"),
        ({"url": HOOK, "events": []}, "events"),
        ({"url": HOOK, "colour": "red"}, "colour"),
    ],
)
def test_what_the_api_cannot_do_is_422_and_named(call, body, param):
    answer = call("POST", "/webhooks", body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, param)


def test_the_api_needs_an_owners_key(call, api_key, endpoint):
    for scope in ("read", "train", "predict"):
        assert call("GET", "/webhooks", key=api_key(scope)).status_code == 403


def test_a_project_has_a_limited_number_of_webhooks(actor, call):
    for n in range(operations.MOST_ENDPOINTS):
        operations.add_endpoint(actor=actor, url=f"{HOOK}{n}")
    assert call("POST", "/webhooks", {"url": HOOK}).json()["error"]["code"] == "too_many_webhooks"
