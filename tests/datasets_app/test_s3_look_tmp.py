import json, os
from pathlib import Path
import pytest
from tests.datasets_app.test_browser import browse, looks_right  # noqa
pytestmark = [pytest.mark.django_db(transaction=True)]
OUT = Path("/tmp/s3_shots"); OUT.mkdir(exist_ok=True)

def test_look(live_server, browse, client_for, project, owner, actor, quick_jobs, monkeypatch):
    from datasets_app import operations
    from datasets_app.models import Dataset, Example, Snapshot
    from finetune_engine.data.samples import SAMPLES
    sample = next(iter(SAMPLES.values()))
    rows = [json.loads(l) for l in sample.path.read_text().splitlines()]
    for i in range(0, 300, 10):
        k = [k for k in rows[i] if k in ("text", "input")][0]
        rows[i][k] += f" Notices go to person{i}@example.org."
    from django.core.files.base import ContentFile
    up = operations.store_upload(actor=actor, file=ContentFile("\n".join(map(json.dumps, rows)).encode(), name="clauses.jsonl"), name="clauses.jsonl")
    ds = operations.create_dataset(actor=actor, upload=up, name="Contract clauses of the rent desk")
    quick_jobs()
    ds = Dataset.objects.get(pk=ds.pk)
    assert ds.state == "ready", ds.error
    operations.create_snapshot(actor=actor, dataset=ds); quick_jobs()
    for n, ex in enumerate(Example.objects.filter(dataset=ds, status="accepted").order_by("row")[:8]):
        if n < 3: operations.decide_example(actor=actor, dataset=ds, example=ex, action="reject")
        elif n < 5: operations.edit_example(actor=actor, dataset=ds, example=ex, answer=sorted(ds.labels)[0])
        else:
            operations.edit_example(actor=actor, dataset=ds, example=ex, prompt=ex.prompt_head[:150] + " within SEVEN days, and not later.")
    operations.create_snapshot(actor=actor, dataset=ds, seed=7); quick_jobs()
    from jobs_app.models import TrainedModel
    from jobs_app.operations import start_training
    from jobs_app.queries import api_name
    t = start_training(actor=actor, name="Clauses one", base_model_key="demo-base", snapshot=Snapshot.objects.get(dataset=ds, number=1), spec={})
    TrainedModel.objects.create(project=project, training_job=t, name="Clauses one", base_model_key="demo-base", api_name=api_name(t), storage_prefix="none", manifest_sha256="0"*64, size_bytes=1)
    ctx = client_for(owner)
    session = ctx.cookies["sessionid"].value
    here = f"{live_server.url}/p/{project.slug}/data/{ds.pk}/"
    pages = {"data": "", "snapshots": "snapshots", "freeze": "freeze", "snapshot": "snapshots/2", "diff": "snapshots/2/diff", "row": "rows/20/models", "smodels": "snapshots/1/models"}
    problems = []
    for width, scheme in ((1280, "light"), (390, "dark"), (1280, "dark"), (390, "light")):
        page = browse(width)
        page.context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
        page.emulate_media(color_scheme=scheme)
        for name, path in pages.items():
            page.goto(here + path); page.wait_for_timeout(250)
            try: looks_right(page, f"{name} {width} {scheme}")
            except AssertionError as e: problems.append(str(e)[:900])
            page.complaints.clear()
            if (width, scheme) in ((1280, "light"), (390, "dark")):
                page.screenshot(path=str(OUT / f"{name}-{width}-{scheme}.png"), full_page=True)
    print("\n\n".join(problems)); assert not problems
