"""Signing in, joining, one's own account."""

from django.urls import path

from accounts_app.views import session

app_name = "accounts"
urlpatterns = [
    path("", session.account, name="account"),
    path("sign-in", session.sign_in, name="sign_in"),
    path("sign-out", session.sign_out, name="sign_out"),
    path("welcome", session.welcome, name="welcome"),
    path("join/<str:token>", session.join, name="join"),
]
