from django.db import migrations
from django.db.models import CharField, Count, Min
from django.db.models.functions import Cast


def write_batches(apps, schema_editor):
    """A row for each batch that reviews name so far only by its id."""
    Batch, Review = apps.get_model("labeling", "Batch"), apps.get_model("labeling", "Review")
    named = (
        Review.objects.order_by()
        .values("batch", "label_set_id", "user_id")
        .annotate(at=Min("at"), total=Count("pk"), verdict=Min("verdict"), undoes=Min(Cast("undoes__batch", CharField())))
    )
    batches = {}
    for group in named.iterator():
        is_undo = group["verdict"] == "undone"
        batches.setdefault(
            group["batch"],
            Batch(
                id=group["batch"],
                label_set_id=group["label_set_id"],
                user_id=group["user_id"],
                kind="undo" if is_undo else "decide",
                at=group["at"],
                total=group["total"],
                reverses_id=group["undoes"] if is_undo else None,
            ),
        )
    Batch.objects.bulk_create(batches.values(), batch_size=200)


class Migration(migrations.Migration):
    dependencies = [("labeling", "0002_batches")]

    operations = [migrations.RunPython(write_batches, migrations.RunPython.noop)]
