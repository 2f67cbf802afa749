"""What was asked before the log had a column for it becomes searchable."""

from django.db import migrations

BATCH = 500


def fill(apps, schema_editor):
    """In small batches, so that a long log is never in memory."""
    Prediction = apps.get_model("serving", "Prediction")
    rows = Prediction.objects.using(schema_editor.connection.alias).filter(question_text="").order_by("id")
    last = 0
    while batch := list(rows.filter(id__gt=last).only("id", "input", "question_text")[:BATCH]):
        for row in batch:
            messages = row.input.get("messages")
            asked = messages[-1].get("content") if messages else row.input.get("prompt")
            row.question_text = asked if isinstance(asked, str) else ""
        Prediction.objects.using(schema_editor.connection.alias).bulk_update(batch, ["question_text"])
        last = batch[-1].id


class Migration(migrations.Migration):
    dependencies = [("serving", "0011_exports")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
