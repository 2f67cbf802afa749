"""Uploads, the datasets made from them, their rows and findings, and frozen snapshots.

The text of rows lives in Parquet chunks in the file storage; the tables hold status, codes, labels, the
beginning of the text, and where in the chunks the rest is. Rows and findings belong to one *import attempt*
of their dataset: only those of ``Dataset.import_attempt`` exist for readers.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.utils import timezone

from accounts_app.models import ApiKey, Project, User
from datasets_app.choices import DatasetState, Decision, Purpose, SnapshotState, Status, TaskType
from web_kit.ids import ID_LENGTH, new_id
from work_kit.models import Job

PROMPT_HEAD_LENGTH = 200
ANSWER_HEAD_LENGTH = 120


class Upload(models.Model):
    """A file as somebody gave it to us, under a random name in the storage. ``/v1/files`` shows it as
    ``file-<id>``. ``deleted_at`` means that the bytes are gone and only this record is left."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="uploads")
    name = models.CharField(max_length=200)
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    storage_name = models.CharField(max_length=200)
    purpose = models.CharField(max_length=20, choices=Purpose.choices, default=Purpose.FINE_TUNE)
    preview = models.JSONField(null=True)  # what a first look with automatic settings said; a cache
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["project", "id"], name="upload_project_id")]

    def __str__(self) -> str:
        return self.name


class Dataset(models.Model):
    """The checked rows of one upload. The counters add up: total is the sum of the four statuses."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="datasets")
    name = models.CharField(max_length=120)
    upload = models.ForeignKey(Upload, on_delete=models.PROTECT, related_name="datasets")
    job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="+")
    state = models.CharField(max_length=10, choices=DatasetState.choices, default=DatasetState.PROCESSING)
    error = models.JSONField(default=dict)  # {code, message, file?, row?, column?, found?, expected?, fix?}
    options = models.JSONField(default=dict)  # for all its files: {task_type, cleaning, replacements, boilerplate, ...}

    format = models.CharField(max_length=40, blank=True)
    file_type = models.CharField(max_length=20, blank=True)
    encoding = models.CharField(max_length=40, blank=True)
    task_type = models.CharField(max_length=20, choices=TaskType.choices, default=TaskType.AUTO)
    columns = models.JSONField(default=list)
    mapping = models.JSONField(null=True)

    total = models.PositiveIntegerField(default=0)
    accepted = models.PositiveIntegerField(default=0)
    flagged = models.PositiveIntegerField(default=0)
    needs_review = models.PositiveIntegerField(default=0)
    rejected = models.PositiveIntegerField(default=0)
    codes = models.JSONField(default=dict)
    labels = models.JSONField(default=dict)
    statistics = models.JSONField(default=dict)
    warnings = models.JSONField(default=list)  # about the files as a whole: [{code, message}]
    cleaning = models.JSONField(default=dict)  # {step: rows it changed}
    pii = models.JSONField(default=dict)  # {kind: rows that hold it}

    storage_prefix = models.CharField(max_length=200, blank=True)
    chunks = models.JSONField(default=list)
    import_attempt = models.PositiveIntegerField(null=True)

    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True)
    tidy_after = models.DateTimeField(null=True)  # rows and files that nobody sees any more go away after this

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["project", "id"], name="dataset_project_id"),
            models.Index(fields=["tidy_after"], condition=models.Q(tidy_after__isnull=False), name="dataset_to_tidy"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def counts(self) -> dict[str, int]:
        """``{total, accepted, flagged, needs_review, rejected}``."""
        return {name: getattr(self, name) for name in ("total", *Status.values)}

    @property
    def visible_attempt(self) -> int:
        """The import attempt whose rows exist for readers; 0, which no attempt has, while there is none."""
        return self.import_attempt or 0

    @property
    def is_plain_text(self) -> bool:
        """Whether its rows are texts without an input."""
        return self.format == "text"

    @property
    def usable(self) -> int:
        """Rows that would go into a snapshot now."""
        return self.accepted + self.flagged


class Source(models.Model):
    """One file of a dataset, in the order of their arrival. Its rows are ``first_row`` and the ``rows - 1`` after it.

    A file that was taken out again (``removed_at``) leaves its record; the rows of later files move up. ``origin`` is
    empty for a file that somebody uploaded; for rows that people proposed it says where they came from
    (``{kind, id, ..., keys: [digest of each row]}``), and all of them wait for a decision.
    """

    id = models.BigAutoField(primary_key=True)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="sources")
    number = models.PositiveIntegerField()
    upload = models.ForeignKey(Upload, on_delete=models.PROTECT, related_name="sources")
    options = models.JSONField(default=dict)  # as asked for: {format, mapping}
    report = models.JSONField(default=dict)  # as found: {format, file_type, encoding, delimiter, columns, mapping}
    origin = models.JSONField(default=dict)
    first_row = models.PositiveIntegerField(default=0)
    rows = models.PositiveIntegerField(default=0)
    added_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    added_at = models.DateTimeField(default=timezone.now)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["dataset", "number"], name="one_source_per_number")]


class Example(models.Model):
    """One row. ``row`` counts records in the file from 1; ``chunk`` and ``offset`` say where its text is.

    ``checked_status`` is what the checks said; ``status`` follows a person's decision. An edit is an overlay
    (``edited_messages``, ``edited_label``): the original stays in the chunk.
    """

    id = models.BigAutoField(primary_key=True)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="examples", db_index=False)
    import_attempt = models.PositiveIntegerField()
    row = models.PositiveIntegerField()  # counted over all files of the dataset
    status = models.CharField(max_length=12, choices=Status.choices)
    checked_status = models.CharField(max_length=12, choices=Status.choices)
    codes = models.JSONField(default=list)
    chunk = models.PositiveIntegerField()
    offset = models.PositiveIntegerField()
    label = models.CharField(max_length=200, blank=True)
    split = models.CharField(max_length=12, blank=True)
    prompt_head = models.CharField(max_length=PROMPT_HEAD_LENGTH, blank=True)
    answer_head = models.CharField(max_length=ANSWER_HEAD_LENGTH, blank=True)
    content_hash = models.CharField(max_length=64, blank=True)
    cluster = models.PositiveIntegerField(null=True)  # the first row of its group of near-duplicates

    assigned_to = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False)
    bulk_act = models.ForeignKey("BulkAct", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False)
    decision = models.CharField(max_length=6, choices=Decision.choices, default=Decision.NONE, blank=True)
    edited_messages = models.JSONField(null=True)
    edited_label = models.TextField(null=True)
    decided_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False)
    decided_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset", "import_attempt", "row"], name="one_example_per_row"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["dataset", "import_attempt", "status", "row"], name="example_status_row"),
            models.Index(
                fields=["dataset", "import_attempt", "row"],
                condition=~models.Q(decision=""),
                name="example_decided_row",
            ),
            models.Index(
                fields=["dataset", "import_attempt", "label", "row"],
                condition=~models.Q(label=""),
                name="example_label_row",
            ),
            models.Index(
                fields=["dataset", "import_attempt", "split", "row"],
                condition=~models.Q(split=""),
                name="example_split_row",
            ),
            models.Index(
                fields=["dataset", "import_attempt", "assigned_to", "row"],
                condition=models.Q(assigned_to__isnull=False),
                name="example_assigned_row",
            ),
            models.Index(
                fields=["dataset", "import_attempt", "cluster", "row"],
                condition=models.Q(cluster__isnull=False),
                name="example_cluster_row",
            ),
            models.Index(
                fields=["bulk_act", "row"], condition=models.Q(bulk_act__isnull=False), name="example_bulk_row"
            ),
        ]

    @property
    def shown_prompt(self) -> str:
        """The beginning of the last question, as a list shows it: of the edit, if there is one."""
        edited = [m.get("content") for m in self.edited_messages or [] if m.get("role") == "user"]
        return str(edited[-1] or "")[:PROMPT_HEAD_LENGTH] if edited else self.prompt_head

    @property
    def shown_answer(self) -> str:
        """The beginning of the answer, as a list shows it: of the edit, if there is one."""
        return (
            str(self.edited_messages[-1].get("content") or "")[:ANSWER_HEAD_LENGTH]
            if self.edited_messages
            else self.answer_head
        )


class Finding(models.Model):
    """Something the checks found in a row. For personal data ``found`` is never the value itself."""

    id = models.BigAutoField(primary_key=True)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="findings", db_index=False)
    import_attempt = models.PositiveIntegerField()
    row = models.PositiveIntegerField()
    code = models.CharField(max_length=40)
    kind = models.CharField(max_length=20, blank=True)  # of personal data
    severity = models.CharField(max_length=8)
    message = models.TextField()
    column = models.CharField(max_length=200, blank=True)
    start = models.PositiveIntegerField(null=True)
    end = models.PositiveIntegerField(null=True)
    found = models.TextField(blank=True)
    expected = models.TextField(blank=True)
    fix = models.TextField(blank=True)
    related_row = models.PositiveIntegerField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["dataset", "import_attempt", "row"], name="finding_row"),
            models.Index(
                fields=["dataset", "import_attempt", "kind", "row"],
                condition=~models.Q(kind=""),
                name="finding_kind_row",
            ),
            models.Index(
                fields=["dataset", "import_attempt", "code", "related_row"],
                condition=models.Q(related_row__isnull=False),
                name="finding_related_row",
            ),
            models.Index(fields=["dataset", "import_attempt", "code", "row"], name="finding_code_row"),
        ]


class Snapshot(models.Model):
    """A numbered, content-hashed, frozen copy of a dataset's accepted and flagged rows, divided into splits."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="snapshots")
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="snapshots")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=SnapshotState.choices, default=SnapshotState.PROCESSING)
    job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="+")
    error = models.JSONField(default=dict)

    split = models.JSONField(default=dict)
    seed = models.BigIntegerField(default=42)
    stratify_by = models.CharField(max_length=200, blank=True)
    group_by = models.CharField(max_length=200, blank=True)
    task_type = models.CharField(max_length=20, blank=True)
    pii = models.JSONField(default=dict)  # the decisions it was frozen with: {kind: mask | reject | keep}

    sha256 = models.CharField(max_length=64, blank=True)
    counts = models.JSONField(default=dict)
    labels = models.JSONField(default=dict)  # {split: {label: n}}
    statistics = models.JSONField(default=dict)
    leakage = models.JSONField(default=dict)
    personal = models.JSONField(default=dict)  # rows by what was done: {masked: {kind: n}, rejected: ..., kept: ...}
    storage_prefix = models.CharField(max_length=200, blank=True)

    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["dataset", "number"], name="one_snapshot_per_number")]
        indexes: ClassVar = [models.Index(fields=["project", "id"], name="snapshot_project_id")]

    def __str__(self) -> str:
        return f"{self.dataset.name} v{self.number}"

    @property
    def storage_name(self) -> str:
        """The Parquet file in the storage; empty while there is none."""
        return f"{self.storage_prefix}/snapshot.parquet" if self.storage_prefix else ""

    @property
    def total(self) -> int:
        """Rows in all splits together."""
        counts: dict[str, Any] = self.counts or {}
        return sum(int(n) for n in counts.values())
