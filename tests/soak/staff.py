"""The staff of the soak's house: a process of its own that does what it is told, line by line, as the admin would.

It is given `{"do": "block", "showtime": 1, "seats": ["A1"]}` and says `{"done": …}`, `{"refused": code}` or
`{"failed": what}`. Run by the soak, in the environment of the house.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import django

django.setup()

from django.db import DatabaseError, InterfaceError, connection  # noqa: E402

from bookings.services import call_off_showtime  # noqa: E402
from cinebook.core.errors import Refusal  # noqa: E402
from seating.models import BlockReason, Hold  # noqa: E402
from seating.services import (  # noqa: E402
    block_seats,
    resume_sales,
    stop_sales,
    unblock_seats,
    withdraw_hold,
)


def act(order: dict[str, Any]) -> Any:
    """Do what an order says; return what came of it."""
    showtime, seats = order["showtime"], order.get("seats", [])
    match order["do"]:
        case "block":
            return block_seats(showtime_id=showtime, codes=seats, reason=BlockReason.BROKEN)
        case "unblock":
            return unblock_seats(showtime_id=showtime, codes=seats)
        case "stop sales":
            return stop_sales(showtime_id=showtime)
        case "resume sales":
            return resume_sales(showtime_id=showtime)
        case "cancel showtime":
            call_off_showtime(showtime_id=showtime)
            return None
        case "withdraw":
            hold = Hold.objects.filter(showtime=showtime, ended_at=None, paying=False).order_by("?").first()
            return withdraw_hold(hold_id=hold.pk) if hold else []
        case other:
            raise ValueError(other)


def main() -> None:
    """Take orders until there are no more."""
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = {"done": act(json.loads(line))}
        except Refusal as refusal:
            answer = {"refused": refusal.code.value}
        except (DatabaseError, InterfaceError) as error:
            answer = {"failed": str(error)}
        finally:
            connection.close()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
