"""People come in through links that work once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts_app import operations
from accounts_app.models import Invitation, Membership, User
from finetune_engine.errors import UserError

PASSWORD = "a quiet clause at dawn"
FORM = {"email": "ada@example.com", "name": "Ada", "password": PASSWORD}


@pytest.fixture
def link(project, actor) -> str:
    return f"/account/join/{operations.invite(email='', role='reviewer', project=project, actor=actor)[1]}"


def test_a_new_person_joins_with_the_invited_role(link, project) -> None:
    client = Client()
    assert client.post(link, FORM).headers["Location"] == f"/p/{project.slug}/"
    assert Membership.objects.get(user__email="ada@example.com").role == "reviewer"
    assert client.get(f"/p/{project.slug}/").status_code == 200


def test_a_link_works_once(link) -> None:
    Client().post(link, FORM)
    assert Client().post(link, FORM | {"email": "eve@example.com"}).status_code == 410
    assert not User.objects.filter(email="eve@example.com").exists()


@pytest.mark.parametrize("change", [{"revoked_at": True}, {"expires_at": True}])
def test_a_withdrawn_or_old_link_does_nothing(link, change) -> None:
    past = timezone.now() - timedelta(seconds=1)
    Invitation.objects.update(**dict.fromkeys(change, past))
    assert Client().get(link).status_code == 410


def test_somebody_who_is_signed_in_joins_with_one_click(link, project, outsider, client_for) -> None:
    client_for(outsider).post(link)
    assert Membership.objects.filter(project=project, user=outsider, role="reviewer").exists()


def test_a_weak_password_is_refused_with_the_form_and_the_link_stays(link) -> None:
    response = Client().post(link, FORM | {"password": "password"})
    assert response.status_code == 422
    assert b"too common" in response.content
    assert Client().post(link, FORM).status_code == 302


def test_a_taken_address_is_told_to_sign_in(link, outsider) -> None:
    response = Client().post(link, FORM | {"email": outsider.email})
    assert response.status_code == 422
    assert b"already has an account" in response.content


def test_the_first_owners_link_is_made_only_while_nobody_has_an_account(db) -> None:
    first, second = operations.invite_first_owner(), operations.invite_first_owner()
    assert Client().get(f"/account/join/{first}").status_code == 410, "an earlier link stops working"
    client = Client()
    client.post(f"/account/join/{second}", FORM)
    assert client.get("/").headers["Location"] == "/projects/new"
    with pytest.raises(UserError):
        operations.invite_first_owner()


def test_a_site_without_accounts_explains_the_link_instead_of_a_sign_in(db) -> None:
    assert Client().get("/").headers["Location"] == "/account/welcome"
    assert b"no default password" in Client().get("/account/welcome").content
