"""``/v1/models``."""

from __future__ import annotations

import pytest

from jobs_app.models import TrainedModel

pytestmark = pytest.mark.django_db


def test_base_and_trained_models_are_listed_as_the_sdk_types_them(trained, client, headers):
    from openai.types import Model

    models = {row["id"]: Model.model_validate(row) for row in client.get("/v1/models", headers=headers).json()["data"]}
    assert trained.api_name in models
    assert "demo-base" in models
    assert "gpt-4" not in models


def test_a_model_is_found_by_its_name_with_colons(trained, client, headers):
    assert client.get(f"/v1/models/{trained.api_name}", headers=headers).json()["id"] == trained.api_name


def test_an_unknown_model_is_404_with_its_parameter(client, headers):
    answer = client.get("/v1/models/nothing", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_only_an_owner_s_key_deletes_and_only_trained_models(trained, client, headers, api_key):
    url = f"/v1/models/{trained.api_name}"
    assert client.delete(url, headers=headers).status_code == 403
    admin = {"Authorization": f"Bearer {api_key('admin')}"}
    assert client.delete("/v1/models/demo-base", headers=admin).status_code == 400
    assert client.delete(url, headers=admin).json() == {"id": trained.api_name, "object": "model", "deleted": True}
    assert not TrainedModel.objects.exists()


def test_another_projects_model_looks_missing(trained, client, api_key, outsider):
    from accounts_app.models import Project

    key = {"Authorization": f"Bearer {api_key('admin', of=Project.objects.order_by('-id').first())}"}
    url = f"/v1/models/{trained.api_name}"
    assert client.get(url, headers=key).status_code == 404
    assert client.delete(url, headers=key).status_code == 404
    assert TrainedModel.objects.exists()
