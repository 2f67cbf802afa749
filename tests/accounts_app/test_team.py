"""Owners decide who is in a project and which programs may speak to it."""

from __future__ import annotations

import pytest

from accounts_app import operations
from accounts_app.models import ApiKey, AuditEntry, Membership
from accounts_app.permissions import actor_from_key
from finetune_engine.errors import UserError


def url(project, rest: str = "") -> str:
    return f"/p/{project.slug}/team/{rest}"


def test_a_key_is_shown_once_and_kept_only_as_a_hash(project, owner, client_for) -> None:
    page = client_for(owner).post(url(project, "keys"), {"name": "intake", "scopes": ["read"]})
    key = ApiKey.objects.get()
    text = page.content.decode().split("tsk_")[1].split("<")[0].strip()
    assert actor_from_key(f"Bearer tsk_{text}", "view").api_key == key
    assert text not in client_for(owner).get(url(project)).content.decode()
    assert text not in str(vars(key))


def test_a_withdrawn_key_is_refused(project, actor) -> None:
    key, text = operations.create_api_key(project=project, name="k", scopes=["read"], actor=actor)
    operations.revoke_api_key(actor=actor, key=key)
    with pytest.raises(UserError) as refused:
        actor_from_key(f"Bearer {text}", "view")
    assert refused.value.status == 401


def test_a_key_says_which_scope_it_lacks(project) -> None:
    text = operations.create_api_key(project=project, name="k", scopes=["predict"])[1]
    with pytest.raises(UserError, match=r"scopes \(predict\) do not allow") as refused:
        actor_from_key(f"Bearer {text}", "train")
    assert refused.value.status == 403


def test_the_last_owner_stays(project, owner, actor, trainer) -> None:
    mine = Membership.objects.get(user=owner, project=project)
    with pytest.raises(UserError, match="needs an owner"):
        operations.change_role(actor=actor, membership=mine, role="viewer")
    with pytest.raises(UserError, match="needs an owner"):
        operations.remove_member(actor=actor, membership=mine)
    operations.change_role(actor=actor, membership=Membership.objects.get(user=trainer), role="owner")
    operations.change_role(actor=actor, membership=mine, role="viewer")


def test_a_member_who_is_removed_sees_the_project_no_more(project, owner, viewer, client_for) -> None:
    membership = Membership.objects.get(user=viewer)
    client_for(owner).post(url(project, f"members/{membership.pk}/remove"))
    assert client_for(viewer).get(url(project)).status_code == 404


def test_a_member_of_another_project_cannot_be_changed_through_ours(project, owner, outsider, client_for) -> None:
    theirs = Membership.objects.get(user=outsider)
    assert client_for(owner).post(url(project, f"members/{theirs.pk}/remove")).status_code == 404
    assert Membership.objects.filter(pk=theirs.pk).exists()


def test_an_invitation_link_is_shown_once(project, owner, client_for) -> None:
    page = client_for(owner).post(url(project, "invite"), {"email": "new@example.com", "role": "viewer"})
    assert b"/account/join/" in page.content
    assert b"/account/join/" not in client_for(owner).get(url(project)).content


def test_viewers_see_members_but_neither_keys_nor_the_audit_trail(project, viewer, client_for) -> None:
    page = client_for(viewer).get(url(project)).content
    assert b"Members" in page
    assert b"Keys for programs" not in page


def test_the_audit_trail_is_a_chain_that_shows_a_change(project, actor) -> None:
    for number in range(3):
        operations.record(actor=actor, project=project, act="test.act", subject=str(number))
    entries = list(AuditEntry.objects.order_by("id"))
    assert [entry.previous_sha256 for entry in entries[1:]] == [entry.sha256 for entry in entries[:-1]]
    assert all(operations.audit_digest(entry) == entry.sha256 for entry in entries)
    entries[1].subject = "something else"
    assert operations.audit_digest(entries[1]) != entries[1].sha256
