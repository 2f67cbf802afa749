"""Every address of the site. The hot inference routes are in ``serving_app.gateway.routes``."""

from django.conf import settings
from django.urls import include, path

from datasets_app import openai_api as files_api
from evaluation_app.views import review_guest
from finetune_site import comparison_views, provenance_views, views
from finetune_site.api import api
from finetune_site.machines import machines
from jobs_app import openai_api as fine_tuning_api
from serving_app.views.metrics import metrics

urlpatterns = [
    path("", views.home, name="home"),
    path("projects/new", views.new_project, name="new_project"),
    path("jobs", views.work_jobs, name="work_jobs"),
    path("machines", machines, name="machines"),
    path("health", views.health, name="health"),
    path("health/live", views.live, name="live"),
    path("health/ready", views.ready, name="ready"),
    path("metrics", metrics, name="metrics"),
    path("account/", include("accounts_app.urls")),
    path("p/<slug:slug>/", views.project_home, name="project_home"),
    path("p/<slug:slug>/sample", views.try_sample, name="try_sample"),
    path("p/<slug:slug>/team/", include("accounts_app.project_urls")),
    path("p/<slug:slug>/notifications/", include("work_kit.notifications.urls")),
    path("p/<slug:slug>/data/<str:dataset_id>/rows/<int:row>/models", provenance_views.row_models, name="row_models"),
    path(
        "p/<slug:slug>/data/<str:dataset_id>/snapshots/<int:number>/models",
        provenance_views.snapshot_models,
        name="snapshot_models",
    ),
    path("p/<slug:slug>/data/", include("datasets_app.urls")),
    path("p/<slug:slug>/train/compare", comparison_views.compare, name="compare_trainings"),
    path("p/<slug:slug>/train/", include("jobs_app.urls")),
    path("p/<slug:slug>/results/", include("evaluation_app.urls")),
    path("p/<slug:slug>/use/", include("serving_app.urls")),
    path("review/<str:token>/", review_guest.guest_queue, name="guest_review"),
    path("review/<str:token>/draft", review_guest.guest_draft, name="guest_review_draft"),
    path("api/v1/docs", views.api_docs, name="api_docs"),
    path("api/v1/", api.urls),
    path("v1/", include(files_api.urlpatterns)),
    path("v1/", include(fine_tuning_api.urlpatterns)),
]
if settings.DEBUG:
    urlpatterns.append(path("gallery/", include("web_kit.urls")))

handler400 = "web_kit.errors.bad_request"
handler403 = "web_kit.errors.permission_denied"
handler404 = "web_kit.errors.not_found"
handler500 = "web_kit.errors.server_error"
