"""A file from the web: fetched from hosts that are allowed, and from nowhere else."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.urls import reverse

from accounts_app.models import AuditEntry
from datasets_app.models import Dataset, Upload

TABLE = "text,label\n" + "".join(f"Clause {i} about the matter {i * 3},{'AB'[i % 2]}\n" for i in range(30))


class Files(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", "http://10.0.0.1/secret.csv")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"" if self.path == "/empty.csv" else TABLE.encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def allowed(address, settings):
    settings.OUTBOUND_ALLOWED_HOSTS = ["127.0.0.1"]
    return address


def page_url(name, project, *args):
    return reverse(f"datasets:{name}", args=[project.slug, *args])


def test_a_file_at_an_address_goes_to_its_preview(client_for, project, trainer, allowed):
    client = client_for(trainer)
    sent = client.post(page_url("from_address", project), {"url": f"{allowed}/clauses.csv?token=secret"})
    upload = Upload.objects.get()
    assert sent.url == page_url("preview", project, upload.pk)
    assert (upload.name, upload.size) == ("clauses.csv", len(TABLE))
    assert "about 30 rows" in client.get(sent.url).content.decode()
    assert "secret" not in str(list(AuditEntry.objects.values_list("data", flat=True)))


def test_a_private_host_is_refused_beside_the_field(client_for, project, trainer, address, settings):
    settings.OUTBOUND_ALLOWED_HOSTS = []
    sent = client_for(trainer).post(page_url("from_address", project), {"url": f"{address}/clauses.csv"})
    assert sent.status_code == 422
    assert "OUTBOUND_ALLOWED_HOSTS" in sent.content.decode()
    assert not Upload.objects.exists()


@pytest.mark.parametrize("path", ["/away", "/empty.csv"])
def test_what_cannot_be_fetched_is_said_and_nothing_is_kept(client_for, project, trainer, allowed, path):
    sent = client_for(trainer).post(page_url("from_address", project), {"url": allowed + path})
    assert sent.status_code == 422
    assert sent.context["address_form"].errors["url"]
    assert not Upload.objects.exists()


def test_a_file_above_the_limit_is_refused(client_for, project, trainer, allowed, settings):
    settings.MAX_UPLOAD_BYTES = 100
    sent = client_for(trainer).post(page_url("from_address", project), {"url": f"{allowed}/clauses.csv"})
    assert sent.status_code == 413
    assert not Upload.objects.exists()


def test_the_api_imports_from_an_address(client, api_key, allowed, quick_jobs):
    headers = {"Authorization": f"Bearer {api_key('read', 'train')}"}
    sent = client.post("/api/v1/datasets", {"url": f"{allowed}/clauses.csv"}, headers=headers)
    assert sent.status_code == 202, sent.content
    quick_jobs()
    assert Dataset.objects.get().total == 30


def test_the_api_refuses_a_private_host_naming_the_parameter(client, api_key, address, settings):
    settings.OUTBOUND_ALLOWED_HOSTS = []
    headers = {"Authorization": f"Bearer {api_key('train')}"}
    sent = client.post("/api/v1/datasets", {"url": f"{address}/clauses.csv"}, headers=headers)
    assert (sent.status_code, sent.json()["error"]["param"]) == (422, "url")
    both = client.post("/api/v1/datasets", {"url": address, "file_id": "file-x"}, headers=headers)
    assert (both.status_code, both.json()["error"]["param"]) == (422, "file")


@pytest.mark.parametrize("role", ["viewer", "reviewer"])
def test_only_those_who_may_upload_may_fetch(request, client_for, project, allowed, role):
    client = client_for(request.getfixturevalue(role))
    assert client.post(page_url("from_address", project), {"url": f"{allowed}/a.csv"}).status_code == 403
