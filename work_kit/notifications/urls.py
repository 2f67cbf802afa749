"""Pages about notifications, under a project."""

from __future__ import annotations

from django.urls import path

from work_kit.notifications import views

app_name = "notifications"
urlpatterns = [
    path("", views.page, name="page"),
    path("mail", views.mail, name="mail"),
    path("webhooks", views.add, name="add"),
    path("webhooks/<str:webhook_id>", views.webhook, name="webhook"),
    path("webhooks/<str:webhook_id>/switch", views.switch, name="switch"),
    path("webhooks/<str:webhook_id>/rotate", views.rotate, name="rotate"),
    path("webhooks/<str:webhook_id>/delete", views.delete, name="delete"),
    path("webhooks/<str:webhook_id>/test", views.test, name="test"),
    path("webhooks/<str:webhook_id>/deliveries/<str:delivery_id>/repeat", views.repeat, name="repeat"),
]
