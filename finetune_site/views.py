"""Pages that look into every app: the house, a project's home, health, the API's page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render

from accounts_app.choices import Act
from accounts_app.forms import ProjectForm
from accounts_app.operations import create_project
from accounts_app.permissions import Actor
from accounts_app.queries import has_anybody, projects_of
from accounts_app.views.access import project_page, public_page, signed_in_page
from datasets_app.operations import create_sample_dataset
from finetune_engine import __version__
from finetune_engine.errors import UserError
from finetune_site.health import health_of_key, readiness
from finetune_site.journey import journey
from serving_app.snippets import site_address
from work_kit import queries as work


@public_page
def home(request: HttpRequest) -> HttpResponse:
    """The projects of whoever is signed in; else the way in."""
    if not request.user.is_authenticated:
        return redirect("accounts:sign_in" if has_anybody() else "accounts:welcome")
    projects = list(projects_of(request.user))
    if not projects:
        return redirect("new_project")
    if len(projects) == 1:
        return redirect("project_home", projects[0].slug)
    return render(request, "finetune_site/home.html", {"projects": projects})


@signed_in_page
def new_project(request: HttpRequest) -> HttpResponse:
    """Make a project."""
    form = ProjectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            project = create_project(user=request.user, **form.cleaned_data)  # type: ignore[arg-type]
        except UserError as error:
            form.add_user_error(error)
        else:
            return redirect("project_home", project.slug)
    first = request.user.is_authenticated and not projects_of(request.user).exists()
    status = 422 if request.method == "POST" else 200
    return render(request, "finetune_site/new_project.html", {"form": form, "first": first}, status=status)


@project_page({"GET": Act.VIEW})
def project_home(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Seven steps, the state of each, and one next act."""
    context = {"actor": actor, "project": actor.project, "journey": journey(actor), "may_train": actor.may(Act.TRAIN)}
    return render(request, "finetune_site/project_home.html", context)


@project_page({"POST": Act.TRAIN})
def try_sample(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Bring the sample project's data in."""
    dataset = create_sample_dataset(actor=actor, key="contract_clauses")
    return redirect("datasets:detail", actor.project.slug, dataset.pk)


@signed_in_page
def work_jobs(request: HttpRequest) -> HttpResponse:
    """Jobs of all of one's projects, and who is there to do them."""
    ids = [project.pk for project in projects_of(request.user)]  # type: ignore[arg-type]
    jobs = list(work.jobs_of_projects(ids)[:100])
    context = {"jobs": [(job, work.job_card(job)) for job in jobs], "workers": work.workers()}
    return render(request, "finetune_site/work_jobs.html", context)


@public_page
def health(request: HttpRequest) -> HttpResponse:
    """``{status, model, version}``; the model only to a key."""
    return JsonResponse({"status": "healthy", "model": health_of_key(request), "version": __version__})


@public_page
def live(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return JsonResponse({"status": "live"})


@public_page
def ready(request: HttpRequest) -> HttpResponse:
    """Whether requests can be served: the database answers. Says what is missing in one word each."""
    parts = readiness()
    return JsonResponse(
        {"status": "ready" if parts["database"] == "ok" else "not_ready", **parts},
        status=200 if parts["database"] == "ok" else 503,
    )


@public_page
def api_docs(request: HttpRequest) -> HttpResponse:
    """The API on one readable page, drawn from its OpenAPI document."""
    from finetune_site.api_page import OPENAI_SNIPPET, operations_by_tag

    site = site_address(request)
    context = {"groups": operations_by_tag(site), "openai_snippet": OPENAI_SNIPPET.format(base_url=f"{site}/v1")}
    return render(request, "finetune_site/api_docs.html", context)
