from django.db import migrations, models


class Migration(migrations.Migration):
    may_run_while_we_serve_because = 'no version was released before it'

    dependencies = [
        ('bookings', '0005_payments_are_asked_about'),
    ]

    operations = [
        # The table stays as it is: seating, which needs it now, takes it over.
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.DeleteModel(name='IdempotencyRecord')],
        ),
        migrations.AddField(
            model_name='booking',
            name='paid_too_late',
            field=models.BooleanField(db_default=False, default=False, help_text='Its money came when its seats could not be had any more; equal ones are offered instead.'),
        ),
        migrations.AddConstraint(
            model_name='booking',
            constraint=models.CheckConstraint(condition=models.Q(('paid_too_late', False), ('status__in', ['REFUND_DUE', 'REFUNDED']), _connector='OR'), name='booking_paid_too_late_is_refunded'),
        ),
    ]
