import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("labeling", "0003_rows_of_batches")]

    operations = [
        migrations.RemoveIndex(
            model_name='review',
            name='labeling_re_label_s_661a3b_idx',
        ),
        migrations.AlterField(
            model_name='review',
            name='batch',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='reviews', to='labeling.batch'),
        ),
    ]
