"""`manage.py verify_seats`: whether everything that is known of seats and money tells one story."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from bookings.services import Finding, Report, repair_seats, verify_seats
from seating.selectors.programme import missing_showtimes

DISAGREES, NOT_CHECKED = 1, 2


class Command(BaseCommand):
    """Compare everything with everything, and say exactly what disagrees."""

    help = (
        "Replays the ledger and compares ledger, seats, holds, audit, bookings, tickets, payments and Redis. Safe at "
        "any time. Ends with 0 if all agree, 1 if something disagrees, 2 if it could not be checked."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the showtimes, and what to do."""
        parser.add_argument(
            "--showtime", type=int, action="append", dest="showtimes", metavar="ID", help="only this one; repeatable"
        )
        parser.add_argument("--json", action="store_true", help="tell it as one JSON object")
        parser.add_argument(
            "--repair",
            action="store_true",
            help="put right what may be: what is stuck or over, the audit, Redis; never a sale, money, or the ledger",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Verify, repair if wanted, and print what was found.

        Raises:
            CommandError: something disagrees (1), or it could not be checked (2).
        """
        try:
            report = self._report(options["showtimes"], repairs=options["repair"])
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"PostgreSQL could not be asked: {error}", returncode=NOT_CHECKED) from error
        if options["json"]:
            self.stdout.write(json.dumps(report.as_dict()))
        else:
            self._tell(report)
        if report.failures:
            raise CommandError("\n".join(report.failures), returncode=DISAGREES)
        if report.findings:
            raise CommandError("They do not agree.", returncode=DISAGREES)

    def _report(self, showtimes: list[int] | None, *, repairs: bool) -> Report:
        missing = missing_showtimes(showtimes or ())
        if missing:
            raise CommandError(f"There is no showtime {missing[0]}.", returncode=NOT_CHECKED)
        report = verify_seats(showtime_ids=showtimes)
        return repair_seats(showtime_ids=showtimes) if repairs and report.findings else report

    def _tell(self, report: Report) -> None:
        for line in report.repaired:
            self.stdout.write(f"Repaired: {line}.")
        for finding in report.findings:
            self._tell_finding(finding)
        if report.redis == "away":
            self.stdout.write("Redis is away: its locks were not compared. No sale depends on them.")
        counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in report.checked.items())
        outcome = f"{len(report.findings)} disagreements" if report.findings else "all agree"
        self.stdout.write(f"Checked {counts or 'nothing'}: {outcome}, in {report.seconds:.1f} s.")

    def _tell_finding(self, finding: Finding) -> None:
        where = f"showtime {finding.showtime_id}" if finding.showtime_id is not None else "the house"
        self.stdout.write(f"{finding.number} at {where}: {finding.violation} ({finding.count}).")
        for example in finding.examples:
            self.stdout.write(f"    {example}")
        self.stdout.write(f"    What to do: {finding.advice}")
