"""Where model and data come from, and what this report cannot say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from datasets_app.models import Source
from evaluation_app.choices import SMALL_SAMPLE, Suite
from evaluation_app.models import Evaluation
from evaluation_app.queries.report.blocks import Block, Cell, Column, Facts, Note, Notes, Row, Section, Table
from evaluation_app.queries.report.reading import Reading
from web_kit.wording import NOTHING, number_words

FEW_FOR_CALIBRATION = 300


def lineage(evaluation: Evaluation) -> dict[str, Any]:
    """What the model was made of, as JSON: data, files, training, fingerprints. One query beside the evaluation's own."""
    snapshot, model = evaluation.snapshot, evaluation.trained_model
    training = model.training_job
    files = Source.objects.filter(dataset=snapshot.dataset_id).select_related("upload").order_by("number")
    learnt = training.snapshot
    return {
        "dataset": snapshot.dataset.name,
        "judged_on": {
            "snapshot": snapshot.number,
            "sha256": snapshot.sha256,
            "split": evaluation.split,
            "counts": snapshot.counts or {},
            "seed": snapshot.seed,
            "group_by": snapshot.group_by or None,
        },
        "files": [
            {"name": one.upload.name, "sha256": one.upload.sha256, "rows": one.rows, "removed": bool(one.removed_at)}
            for one in files
        ],
        "model": {
            "name": model.name,
            "api_name": model.api_name,
            "base_model": model.base_model_key,
            "checkpoint_step": model.checkpoint_step,
            "manifest_sha256": model.manifest_sha256,
            "trained_at": model.created_at.isoformat(),
        },
        "training": {
            "job": training.pk,
            "snapshot": learnt.number if learnt else None,
            "snapshot_sha256": learnt.sha256 if learnt else None,
            "settings": training.spec or {},
        },
    }


def lineage_section(at: Reading, told: Mapping[str, Any]) -> Section:
    """The same for people."""
    judged, model, training = told["judged_on"], told["model"], told["training"]
    counts = judged["counts"]
    rows = ", ".join(f"{name} {number_words(n)}" for name, n in counts.items() if isinstance(n, int))
    data = [
        (_("Dataset"), str(told["dataset"])),
        (_("Judged on"), _("snapshot %(n)s, part “%(split)s”") % {"n": judged["snapshot"], "split": judged["split"]}),
        (_("Rows"), rows or NOTHING),
        (_("Fingerprint of the snapshot"), judged["sha256"] or NOTHING),
        (_("Trained on"), _training_snapshot(training, judged)),
    ]
    made = [
        (_("Model"), f"{model['name']} ({model['api_name']})"),
        (_("Base model"), model["base_model"]),
        (_("Saved state"), NOTHING if model["checkpoint_step"] is None else str(model["checkpoint_step"])),
        (_("Fingerprint of the model"), model["manifest_sha256"] or NOTHING),
    ]
    blocks: list[Block] = [Facts(data, title=_("Data"), is_mono=True)]
    blocks += [_files(told["files"])] if told["files"] else []
    blocks.append(Facts(made, title=_("Model"), is_mono=True))
    settings = [(name, _plain(value)) for name, value in training["settings"].items() if not isinstance(value, Mapping)]
    if settings:
        blocks.append(Facts(settings, title=_("Training settings (all others are the defaults)"), is_mono=True))
    return Section(
        key="lineage",
        title=_("Where do model and data come from?"),
        sentence=_("Names and fingerprints, so that everything here can be traced and repeated."),
        blocks=blocks,
    )


def _training_snapshot(training: Mapping[str, Any], judged: Mapping[str, Any]) -> str:
    if training["snapshot"] is None:
        return _("not known (trained outside this site)")
    same = training["snapshot_sha256"] == judged["sha256"]
    words = _("snapshot %(n)s") % {"n": training["snapshot"]}
    return (
        f"{words} ({_('the same one; other rows of it')})" if same else f"{words} {training['snapshot_sha256'] or ''}"
    )


def _files(files: list[Mapping[str, Any]]) -> Table:
    columns = [
        Column(_("File"), share=1.6),
        Column(_("Rows"), is_number=True, share=0.6),
        Column(_("SHA-256"), share=3.2),
    ]
    rows = [
        Row(
            [
                Cell(one["name"], note=_("taken out later") if one["removed"] else "", is_user=True, is_strong=True),
                Cell(number_words(one["rows"])),
                Cell(one["sha256"]),
            ]
        )
        for one in files
    ]
    return Table(columns, rows, title=_("Files"))


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return NOTHING if value is None else str(value)


def limitations(at: Reading, evaluation: Evaluation) -> list[str]:
    """What this report cannot say, found in the report itself."""
    found: list[str] = []
    n = at.n
    if n < SMALL_SAMPLE:
        words = ngettext("Only %(n)s case was asked", "Only %(n)s cases were asked", n) % {"n": n}
        found.append(f"{words}{_(': every figure may be far off.')}")
    elif n < FEW_FOR_CALIBRATION:
        found.append(_("%(n)s cases: small differences cannot be told from chance. See the ranges.") % {"n": n})
    found += _left_out(at)
    group = (at.report.get("run") or {}).get("group_by") or evaluation.snapshot.group_by
    if group:
        words = _("Rows that share “%(column)s” are not independent; ranges are drawn over whole groups.")
        found.append(words % {"column": group})
    hidden = sum(
        bool(line.get("suppressed"))
        for group in (at.part("fairness") or {}).get("groups") or ()
        for line in group.get("by_group") or ()
    )
    if hidden:
        words = ngettext(
            "%(n)s group with fewer than 30 cases is not shown.",
            "%(n)s groups with fewer than 30 cases are not shown.",
            hidden,
        )
        found.append(words % {"n": hidden})
    unpriced = [
        line.get("name")
        for line in ((at.part("cost") or {}).get("by_model") or {}).values()
        if line.get("money_per_answer") is None
    ]
    if unpriced:
        found.append(_("No price is known for %(names)s.") % {"names": ", ".join(str(name) for name in unpriced)})
    if evaluation.case_limit:
        found.append(_("Only some of the rows were asked (a limit of %(n)s was set).") % {"n": evaluation.case_limit})
    if evaluation.split == "validation":
        found.append(_("Judged on validation rows: training watched them, so the figures are somewhat too good."))
    found.append(_("All figures hold for cases like these. What reaches the model later may be different."))
    return found


def suite_words(suite: str) -> str:
    """A suite by its plain name."""
    if suite == "judge":
        return _("The judging model")
    return str(Suite(suite).label) if suite in Suite.values else suite


def unmeasured(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Suites by their plain names that gave nothing, each with the reason (empty where nobody asked for it)."""
    found = {str(one.get("suite")): str(one.get("reason") or "") for one in report.get("suites_left_out") or ()}
    overall = report.get("overall_score")
    parts = overall.get("parts") or () if isinstance(overall, Mapping) else ()
    run = report.get("suites_run") or ()
    for part in parts:
        if part.get("score") is None and part.get("suite") in run:
            found.setdefault(str(part["suite"]), str(part.get("reason") or ""))
    if run:
        for suite in Suite.values:
            if suite not in run:
                found.setdefault(suite, "")
    return [(suite_words(suite), reason) for suite, reason in found.items()]


def _left_out(at: Reading) -> list[str]:
    words = _("“%(suite)s” was not measured.")
    told = [(suite, reason[:1].upper() + reason[1:]) for suite, reason in unmeasured(at.report)]
    return [f"{words % {'suite': suite}} {reason}".strip() for suite, reason in told]


def limitations_section(at: Reading, evaluation: Evaluation) -> Section:
    """The same as a section."""
    notes = Notes([Note("", words) for words in limitations(at, evaluation)])
    return Section("limitations", _("What this report cannot say"), "", [notes])
