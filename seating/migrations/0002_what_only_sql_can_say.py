"""What must never happen, as far as Django cannot say it: keys of two columns, and rows that do not change."""

from django.db import migrations

# A showtime's layout is one of its own auditorium; a seat's hold is one at its own showtime.
KEYS_OF_TWO_COLUMNS = """
ALTER TABLE seating_layout ADD CONSTRAINT layout_has_an_auditorium UNIQUE (id, auditorium_id);
ALTER TABLE seating_showtime ADD CONSTRAINT showtime_has_a_layout_of_its_auditorium
    FOREIGN KEY (layout_id, auditorium_id) REFERENCES seating_layout (id, auditorium_id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE seating_hold ADD CONSTRAINT hold_has_a_showtime UNIQUE (id, showtime_id);
ALTER TABLE seating_seat ADD CONSTRAINT seat_has_a_hold_at_its_showtime
    FOREIGN KEY (hold_id, showtime_id) REFERENCES seating_hold (id, showtime_id) DEFERRABLE INITIALLY DEFERRED;
"""
NO_KEYS_OF_TWO_COLUMNS = """
ALTER TABLE seating_seat DROP CONSTRAINT seat_has_a_hold_at_its_showtime;
ALTER TABLE seating_hold DROP CONSTRAINT hold_has_a_showtime;
ALTER TABLE seating_showtime DROP CONSTRAINT showtime_has_a_layout_of_its_auditorium;
ALTER TABLE seating_layout DROP CONSTRAINT layout_has_an_auditorium;
"""

# A trigger's name is the sentence that the person sees who tried.
ROWS_THAT_DO_NOT_CHANGE = """
CREATE FUNCTION seating_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = TG_NAME, TABLE = TG_TABLE_NAME;
END $$;
CREATE TRIGGER layout_never_changes BEFORE UPDATE ON seating_layout
    FOR EACH ROW EXECUTE FUNCTION seating_refuse();
CREATE TRIGGER ledger_is_only_appended_to BEFORE UPDATE OR DELETE ON seating_seatevent
    FOR EACH ROW EXECUTE FUNCTION seating_refuse();
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON seat_holds
    FOR EACH ROW EXECUTE FUNCTION seating_refuse();
CREATE TRIGGER showtime_stays_cancelled BEFORE UPDATE ON seating_showtime
    FOR EACH ROW WHEN (OLD.cancelled_at IS NOT NULL AND NEW.cancelled_at IS DISTINCT FROM OLD.cancelled_at)
    EXECUTE FUNCTION seating_refuse();
"""
ROWS_THAT_CHANGE = """
DROP TRIGGER showtime_stays_cancelled ON seating_showtime;
DROP TRIGGER audit_is_never_deleted ON seat_holds;
DROP TRIGGER ledger_is_only_appended_to ON seating_seatevent;
DROP TRIGGER layout_never_changes ON seating_layout;
DROP FUNCTION seating_refuse();
"""


class Migration(migrations.Migration):
    dependencies = [("seating", "0001_initial")]

    operations = [
        migrations.RunSQL(KEYS_OF_TWO_COLUMNS, NO_KEYS_OF_TWO_COLUMNS),
        migrations.RunSQL(ROWS_THAT_DO_NOT_CHANGE, ROWS_THAT_CHANGE),
    ]
