"""What the container set-up says must be what the settings read."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def _settings_variables() -> set[str]:
    text = "".join(
        (ROOT / name).read_text()
        for name in (
            "finetune_site/settings.py",
            "finetune_site/environment.py",
            "work_kit/machine.py",
            "jobs_app/queries/estimates.py",
        )
    )
    return set(re.findall(r"""(?:environ\.get\(|environ\[|flag\(|limit\(|words\()\s*["']([A-Z_]+)["']""", text)) | {
        "AWS_ACCESS_KEY_ID",  # read by boto3
        "AWS_SECRET_ACCESS_KEY",
        "HF_HOME",  # read by huggingface_hub
        "HF_HUB_OFFLINE",
        "OPENAI_API_KEY",  # read by the openai package
    }


def _compose() -> dict:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_compose_describes_every_service_of_a_house() -> None:
    assert set(_compose()["services"]) >= {
        "web", "cpu-worker", "gpu-worker", "remote-worker", "beat", "redis", "postgres", "storage"
    }  # fmt: skip


def test_every_variable_that_compose_gives_the_site_is_one_that_the_settings_read() -> None:
    for name in ("web", "cpu-worker", "gpu-worker", "remote-worker", "beat"):
        given = set(_compose()["services"][name]["environment"])
        assert given <= _settings_variables(), name


def test_the_web_image_has_no_torch() -> None:
    text = (ROOT / "Dockerfile").read_text()
    web = text.split("FROM base AS web")[1].split("FROM base AS worker")[0]
    assert "ml" not in re.findall(r"\[([^\]]*)\]", web)[0].split(",")
