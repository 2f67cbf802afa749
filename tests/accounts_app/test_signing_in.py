"""Signing in tells a stranger nothing, and slows down who guesses."""

from __future__ import annotations

import pytest
from django.test import Client

GOOD = {"username": "owner@example.com", "password": "correct horse battery"}
pytestmark = pytest.mark.usefixtures("project")


def sign_in(client: Client, **change: str):
    return client.post("/account/sign-in", GOOD | change)


def test_the_right_password_opens_the_project(project) -> None:
    client = Client()
    assert sign_in(client).status_code == 302
    assert client.get(f"/p/{project.slug}/").status_code == 200


def test_a_wrong_password_and_an_unknown_person_get_the_same_answer() -> None:
    def text(**change: str) -> str:
        response = sign_in(Client(), **change)
        return response.content.decode().replace(change.get("username", GOOD["username"]), "")

    import re

    token = re.compile(r'(csrfmiddlewaretoken" value=|X-CSRFToken": )"[^"]+"')
    assert token.sub("", text(password="wrong")) == token.sub("", text(username="nobody@example.com"))


def test_guessing_is_stopped_after_some_attempts() -> None:
    client = Client()
    answers = [sign_in(client, password="wrong").status_code for _ in range(9)]
    assert answers[-1] == 429
    assert sign_in(client).status_code == 429, "the right password does not help during the pause"


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https://evil.example/"])
def test_it_never_redirects_to_another_site(target) -> None:
    assert sign_in(Client(), next=target).headers["Location"] == "/"


def test_a_new_password_signs_out_other_browsers(owner) -> None:
    here, there = Client(), Client()
    sign_in(here), sign_in(there)
    here.post("/account/", {"current": GOOD["password"], "password": "another quiet clause"})
    assert here.get("/account/").status_code == 200
    assert there.get("/account/").status_code == 302


def test_pages_of_people_who_are_signed_in_are_stored_nowhere(owner, project) -> None:
    client = Client()
    sign_in(client)
    assert client.get(f"/p/{project.slug}/").headers["Cache-Control"] == "no-store, private"
