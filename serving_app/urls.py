"""Addresses under ``/p/<slug>/use/``."""

from django.urls import path

from serving_app import views
from serving_app.views import alerts, caches, exports, improvement, trials, watch
from serving_app.views.confidence import calibrate, confidence
from serving_app.views.detail import settings as detail_settings
from serving_app.views.limits import limits
from serving_app.views.predictions import export_log, log_settings, prediction
from serving_app.views.to_check import to_check

app_name = "serving"
urlpatterns = [
    path("", views.detail, name="detail"),
    path("deploy", views.deploy, name="deploy"),
    path("deployments/<str:deployment_id>/rollback", views.rollback, name="rollback"),
    path("deployments/<str:deployment_id>/retire", views.retire, name="retire"),
    path("deployments/<str:deployment_id>/settings", detail_settings, name="settings"),
    path("trial", trials.trial, name="trial"),
    path("trial/<str:deployment_id>/end", trials.finish_trial, name="end_trial"),
    path("trial/<str:deployment_id>/promote", trials.promote, name="promote_trial"),
    path("playground", views.playground, name="playground"),
    path("playground/answer", views.playground_answer, name="playground_answer"),
    path("watch", watch.watch, name="watch"),
    path("alerts", alerts.alerts, name="alerts"),
    path("alerts/usual", alerts.usual_alerts, name="usual_alerts"),
    path("alerts/<str:rule_id>", alerts.change_alert, name="change_alert"),
    path("predictions", views.predictions, name="predictions"),
    path("predictions/export", export_log, name="export_log"),
    path("predictions/settings", log_settings, name="log_settings"),
    path("predictions/<str:request_id>", prediction, name="prediction"),
    path("predictions/<str:request_id>/feedback", views.feedback, name="feedback"),
    path("confidence", confidence, name="confidence"),
    path("confidence/calibrate", calibrate, name="calibrate"),
    path("to-check", to_check, name="to_check"),
    path("improve", improvement.improve, name="improvement"),
    path("improve/chosen", improvement.act_on_chosen, name="improve_chosen"),
    path("limits", limits, name="limits"),
    path("caches", caches.caches, name="caches"),
    path("caches/clear", caches.clear_all_caches, name="clear_caches"),
    path("caches/entries", caches.cache_entries, name="cache_entries"),
    path("caches/entries/<str:entry_id>/deny", caches.deny_cache_entry, name="deny_cache_entry"),
    path("caches/entries/<str:entry_id>/allow", caches.allow_cache_entry, name="allow_cache_entry"),
    path("caches/servings/<int:serving_id>/judge", caches.judge_cache_serving, name="judge_cache_serving"),
    path("exports", exports.exports, name="exports"),
    path("exports/<str:export_id>/download", exports.download_export, name="download_export"),
    path("exports/<str:export_id>/cancel", exports.cancel_export, name="cancel_export"),
    path("exports/<str:export_id>/delete", exports.remove_export, name="remove_export"),
]
