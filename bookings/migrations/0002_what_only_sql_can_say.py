"""A booking's hold is one at its own showtime: a key of two columns, which Django cannot say."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("bookings", "0001_initial"), ("seating", "0002_what_only_sql_can_say")]

    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE bookings_booking ADD CONSTRAINT booking_has_a_hold_at_its_showtime
                FOREIGN KEY (hold_id, showtime_id) REFERENCES seating_hold (id, showtime_id)
                DEFERRABLE INITIALLY DEFERRED;
            """,
            "ALTER TABLE bookings_booking DROP CONSTRAINT booking_has_a_hold_at_its_showtime;",
        ),
    ]
