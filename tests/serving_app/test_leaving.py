"""A caller who leaves in the middle: the model stops, the log says so, the place is free again."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import pytest

from finetune_engine.catalogue.catalogue import load_catalogue
from serving_app.gateway.admission import admission

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def endless() -> dict:
    """A question whose answer does not end by itself."""
    folder = Path(str(load_catalogue()["demo-base"].path))
    end = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    ends = end if isinstance(end, list) else [end]
    return {
        "model": "production",
        "prompt": "The",
        "max_tokens": 500,
        "temperature": 1.0,
        "logit_bias": {str(token): -100 for token in ends},
    }


def _left_row(seconds: float = 20.0):
    from serving_app.gateway.database import prediction_log
    from serving_app.models import Prediction

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        prediction_log.flush()
        row = Prediction.objects.first()
        if row is not None:
            return row
        time.sleep(0.1)
    raise AssertionError("nothing was logged")


def _model_is_idle(address: str, seconds: float = 20.0) -> bool:
    transport = httpx.HTTPTransport(uds=address.removeprefix("unix:"))
    end = time.monotonic() + seconds
    with httpx.Client(transport=transport, base_url="http://model") as client:
        while time.monotonic() < end:
            if client.get("/health").json()["in_flight"] == 0:
                return True
            time.sleep(0.1)
    return False


def test_leaving_a_stream(deployed_base, inference, site, api_key, endless) -> None:
    headers = {"Authorization": f"Bearer {api_key('predict')}"}
    with httpx.stream(
        "POST", f"{site}/v1/completions", json=endless | {"stream": True}, headers=headers, timeout=60
    ) as response:
        assert response.status_code == 200
        next(response.iter_lines())
    row = _left_row()
    assert row.status == 499
    assert row.output, "what was said until then is kept"
    assert _model_is_idle(inference)
    assert not admission._inside


def test_leaving_before_a_whole_answer(deployed_base, inference, site, api_key, endless) -> None:
    headers = {"Authorization": f"Bearer {api_key('predict')}"}
    warm = httpx.post(f"{site}/v1/completions", json=endless | {"max_tokens": 1}, headers=headers, timeout=60)
    assert warm.status_code == 200
    from serving_app.gateway.database import prediction_log
    from serving_app.models import Prediction

    assert prediction_log.flush()
    Prediction.objects.all().delete()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{site}/v1/completions", json=endless, headers=headers, timeout=0.4)
    assert _left_row().status == 499
    assert _model_is_idle(inference)
    assert not admission._inside
