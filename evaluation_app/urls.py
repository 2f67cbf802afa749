"""Addresses under ``/p/<slug>/results/``."""

from django.urls import path

from evaluation_app import views

app_name = "evaluation"
urlpatterns = [
    path("", views.listing, name="list"),
    path("new", views.new, name="new"),
    path("<str:evaluation_id>", views.detail, name="detail"),
    path("<str:evaluation_id>/events", views.events, name="events"),
    path("<str:evaluation_id>/stop", views.stop, name="stop"),
    path("<str:evaluation_id>/samples", views.samples, name="samples"),
    path("<str:evaluation_id>/report.json", views.report, name="report"),
]
