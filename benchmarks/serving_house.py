"""Makes what ``benchmarks.serving_gateway`` needs in a fresh site; prints the key. ``wait``: until a model server is there."""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta


def make() -> None:
    """A project, the demo model in use, a key, and the stub announced as a model server that never goes stale."""
    from django.utils import timezone

    from accounts_app.models import User
    from accounts_app.operations import create_api_key, create_project
    from accounts_app.permissions import project_for
    from serving_app.models import Replica
    from serving_app.operations import deploy_model

    owner = User.objects.create_user(email="owner@example.com")
    project = create_project(user=owner, name="Benchmark")
    deploy_model(actor=project_for(owner, project.slug, "view"), base_model_key="demo-base")
    now = timezone.now()
    address = f"unix:{os.environ['STUB_SOCKET']}"
    Replica.objects.create(
        address=address, host="here", pid=1, started_at=now, heartbeat_at=now + timedelta(days=1), loaded=[]
    )
    print(create_api_key(project=project, name="benchmark", scopes=["predict"])[1])


def wait(seconds: float = 120.0) -> None:
    """Until a real model server has announced itself; the stub is forgotten."""
    from serving_app.models import Replica

    Replica.objects.filter(pid=1).delete()
    end = time.monotonic() + seconds
    while not Replica.objects.exists():
        if time.monotonic() > end:
            raise SystemExit("serving: the model server did not start")
        time.sleep(0.2)


if __name__ == "__main__":
    import django

    django.setup()
    wait() if sys.argv[1:] == ["wait"] else make()
