"""Addresses under ``/p/<slug>/results/``."""

from django.urls import path

from evaluation_app import views
from evaluation_app.views import compare as compare_pages
from evaluation_app.views import history as history_pages
from evaluation_app.views import regressions as case_pages
from evaluation_app.views import review_queue
from evaluation_app.views import reviews as review_pages
from evaluation_app.views import rules as rule_pages

app_name = "evaluation"
urlpatterns = [
    path("", views.listing, name="list"),
    path("new", views.new, name="new"),
    path("new/outlook", views.foresee, name="foresee"),
    path("compare", compare_pages.compare, name="compare"),
    path("history", history_pages.history, name="history"),
    path("rules", rule_pages.rules, name="rules"),
    path("rules/new", rule_pages.new_rule, name="new_rule"),
    path("rules/<str:rule_id>", rule_pages.rule, name="rule"),
    path("rules/<str:rule_id>/remove", rule_pages.drop_rule, name="drop_rule"),
    path("rules/<str:rule_id>/restore", rule_pages.put_rule_back, name="put_rule_back"),
    path("cases", case_pages.cases, name="cases"),
    path("cases/new", case_pages.new_cases, name="new_cases"),
    path("cases/<str:case_id>/remove", case_pages.drop_case, name="drop_case"),
    path("cases/<str:case_id>/restore", case_pages.put_case_back, name="put_case_back"),
    path("reviews", review_pages.listing, name="reviews"),
    path("reviews/<str:review_id>", review_pages.review, name="review"),
    path("reviews/<str:review_id>/queue", review_queue.queue, name="review_queue"),
    path("reviews/<str:review_id>/draft", review_queue.draft, name="review_draft"),
    path("reviews/<str:review_id>/decide", review_pages.decide, name="review_decide"),
    path("reviews/<str:review_id>/close", review_pages.close, name="review_close"),
    path("reviews/<str:review_id>/invite", review_pages.invite, name="review_invite"),
    path("reviews/<str:review_id>/links/<str:link_id>/revoke", review_pages.revoke, name="review_revoke"),
    path("reviews/<str:review_id>/corrections", review_pages.corrections, name="review_corrections"),
    path("reviews/<str:review_id>/votes.csv", review_pages.export_csv, name="review_csv"),
    path("reviews/<str:review_id>/review.json", review_pages.export_json, name="review_json"),
    path("assumptions", views.assumptions, name="assumptions"),
    path("models/<str:model_id>/sign-off", views.sign_off, name="sign_off"),
    path("sign-offs/<int:sign_off_id>/withdraw", views.withdraw, name="withdraw"),
    path("<str:evaluation_id>/review", review_pages.new, name="review_new"),
    path("<str:evaluation_id>/keep", case_pages.keep_rows, name="keep_rows"),
    path("<str:evaluation_id>", views.detail, name="detail"),
    path("<str:evaluation_id>/events", views.events, name="events"),
    path("<str:evaluation_id>/stop", views.stop, name="stop"),
    path("<str:evaluation_id>/samples", views.samples, name="samples"),
    path("<str:evaluation_id>/samples.csv", views.samples_csv, name="samples_csv"),
    path("<str:evaluation_id>/repeat", views.repeat, name="repeat"),
    path("<str:evaluation_id>/report.json", views.report, {"kind": "json"}, name="report"),
    path("<str:evaluation_id>/report.csv", views.report, {"kind": "csv"}, name="report_csv"),
    path("<str:evaluation_id>/report.html", views.report, {"kind": "html"}, name="report_html"),
    path("<str:evaluation_id>/report.pdf", views.report, {"kind": "pdf"}, name="report_pdf"),
    path("<str:evaluation_id>/model-card.md", views.report, {"kind": "md"}, name="model_card"),
]
