"""The team of one project."""

from django.urls import path

from accounts_app.views import team

app_name = "team"
urlpatterns = [
    path("", team.team, name="team"),
    path("invite", team.invite, name="invite"),
    path("invitations/<str:invitation_id>/revoke", team.revoke_invitation, name="revoke_invitation"),
    path("keys", team.create_key, name="create_key"),
    path("keys/<str:key_id>/revoke", team.revoke_key, name="revoke_key"),
    path("members/<int:membership_id>/role", team.change_role, name="change_role"),
    path("members/<int:membership_id>/remove", team.remove_member, name="remove_member"),
]
