"""The people and things that tests share."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_sessionstart(session: pytest.Session) -> None:
    """With CI=true nothing that is missing may hide as a skipped test."""
    if os.environ.get("CI") == "true" and not Path("/usr/bin/chromium").exists():
        pytest.exit("CI needs a browser: /usr/bin/chromium is missing", returncode=1)
    from django.test import TransactionTestCase

    from tests.emptying import empty_tables

    TransactionTestCase._fixture_teardown = empty_tables


LONG = ("tests/house/", "tests/chaos/", "tests/jobs_app/", "tests/finetune_engine/train/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long walks first: begun last, they would keep one worker busy for minutes while the others have nothing to do."""
    items.sort(key=lambda item: not item.path.relative_to(ROOT).as_posix().startswith(LONG))


def pytest_sessionfinish(session: pytest.Session) -> None:
    from django.conf import settings

    folder = getattr(settings, "TESTING_FOLDER", None) if settings.configured else None
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data sets and tiny pre-trained models; tests that need it skip without it."""
    folder = Path(os.environ.get("TUNESMITH_SHARED") or ROOT.parent / "shared") / "data"
    if not folder.is_dir():
        pytest.skip("the folder with real data sets (TUNESMITH_SHARED) is not here")
    return folder


@pytest.fixture
def owner(db):
    from accounts_app.models import User

    return User.objects.create_user(email="owner@example.com", password="correct horse battery", name="Olga Owner")


@pytest.fixture
def project(owner):
    from accounts_app.operations import create_project

    return create_project(user=owner, name="Contract desk")


def _member(project, role: str):
    from accounts_app.models import Membership, User

    user = User.objects.create_user(email=f"{role}@example.com", password="correct horse battery", name=role.title())
    Membership.objects.create(project=project, user=user, role=role)
    return user


@pytest.fixture
def trainer(project):
    return _member(project, "trainer")


@pytest.fixture
def reviewer(project):
    return _member(project, "reviewer")


@pytest.fixture
def viewer(project):
    return _member(project, "viewer")


@pytest.fixture
def outsider(db):
    """Somebody with an account and a project of their own, but none in ours."""
    from accounts_app.models import User
    from accounts_app.operations import create_project

    user = User.objects.create_user(email="outsider@example.com", password="correct horse battery", name="Otto")
    create_project(user=user, name="Elsewhere")
    return user


@pytest.fixture
def actor(owner, project):
    """The owner, acting in the project."""
    from accounts_app.permissions import project_for

    return project_for(owner, project.slug, "view")


@pytest.fixture
def client_for() -> Callable[..., object]:
    """``client_for(user)``: a browser signed in as this person."""
    from django.test import Client

    def make(user=None, **kwargs):
        client = Client(**kwargs)
        if user is not None:
            client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return make


@pytest.fixture
def browse(monkeypatch, live_server, client_for, trainer) -> Iterator[Callable[..., Any]]:
    """``browse(width, user=trainer)``: a page in a browser of this person's own (None: nobody has signed in)."""
    from tests.browser import chromium

    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with chromium() as make:

        def page_of(width: int = 1280, *, user=trainer, **options):
            cookies = ()
            if user is not None:
                session = client_for(user).cookies["sessionid"].value
                cookies = ({"name": "sessionid", "value": session, "url": live_server.url},)
            return make(width, cookies, **options)

        yield page_of


@pytest.fixture
def api_key(project) -> Callable[..., str]:
    """``api_key("read", "train")``: the text of a fresh key with these scopes."""
    from accounts_app.operations import create_api_key

    def make(*scopes: str, of=None) -> str:
        names = scopes[0].split(",") if len(scopes) == 1 else list(scopes)
        return create_api_key(project=of or project, name="test", scopes=names)[1]

    return make


@pytest.fixture
def run_jobs(transactional_db, settings) -> Iterator[Callable[..., int]]:
    """``run_jobs()``: runs every waiting job through the real supervisor, in real child processes, until none waits."""
    from work_kit import supervisor
    from work_kit.choices import State
    from work_kit.models import Job

    def run(seconds: float = 120.0) -> int:
        count, deadline = 0, time.monotonic() + seconds
        while time.monotonic() < deadline:
            ran = supervisor.run_waiting("cpu") + supervisor.run_waiting("gpu")
            count += ran
            if not Job.objects.filter(state=State.QUEUED).exists():
                return count
            if not ran:
                time.sleep(0.2)
        raise AssertionError(
            f"jobs still wait after {seconds} s: {list(Job.objects.values('kind', 'state', 'failure'))}"
        )

    yield run
    shutil.rmtree(settings.WORK_DIR, ignore_errors=True)
