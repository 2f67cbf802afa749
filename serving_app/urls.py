"""Addresses under ``/p/<slug>/use/``."""

from django.urls import path

from serving_app import views

app_name = "serving"
urlpatterns = [
    path("", views.detail, name="detail"),
    path("deploy", views.deploy, name="deploy"),
    path("deployments/<str:deployment_id>/rollback", views.rollback, name="rollback"),
    path("deployments/<str:deployment_id>/retire", views.retire, name="retire"),
    path("playground", views.playground, name="playground"),
    path("playground/answer", views.playground_answer, name="playground_answer"),
    path("predictions", views.predictions, name="predictions"),
    path("predictions/<str:request_id>/feedback", views.feedback, name="feedback"),
]
