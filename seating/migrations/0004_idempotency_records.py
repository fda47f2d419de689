import django.core.serializers.json
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    may_run_while_we_serve_because = 'no version was released before it'

    dependencies = [
        ('seating', '0003_hold_knows_that_its_page_was_left'),
        # Bookings made the table and lets go of it there; its rows stay.
        ('bookings', '0006_idempotency_moves_and_who_paid_too_late'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name='IdempotencyRecord',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('key', models.CharField(max_length=200)),
                        ('request_hash', models.CharField(help_text='SHA-256 of where it went and of its body, in hex.', max_length=64)),
                        ('status', models.PositiveSmallIntegerField(blank=True, help_text='Of HTTP; empty until answered.', null=True)),
                        ('body', models.JSONField(blank=True, encoder=django.core.serializers.json.DjangoJSONEncoder, null=True)),
                        ('attempted_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text='When somebody last began to answer it.')),
                        ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ('holder', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='idempotency_records', to='seating.holder')),
                    ],
                    options={
                        'db_table': 'bookings_idempotencyrecord',
                        'ordering': ('-created_at', '-id'),
                        'indexes': [models.Index(fields=['created_at'], name='idempotency_record_by_age')],
                        'constraints': [
                            models.UniqueConstraint(fields=('holder', 'key'), name='idempotency_key_is_used_once_by_its_holder'),
                            models.CheckConstraint(condition=models.Q(models.Q(('body__isnull', True), ('status__isnull', True)), models.Q(('body__isnull', False), ('status__isnull', False)), _connector='OR'), name='idempotency_answer_has_status_and_body'),
                        ],
                    },
                ),
            ],
        ),
        migrations.AddField(
            model_name='idempotencyrecord',
            name='begun',
            field=models.CharField(blank=True, db_default='', default='', help_text='What it has begun that takes more than one transaction, such as a booking, by its reference.', max_length=40),
        ),
        migrations.AlterField(
            model_name='idempotencyrecord',
            name='body',
            field=models.TextField(blank=True, null=True),
        ),
    ]
