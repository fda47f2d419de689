"""Mistakes in the guards, one at a time: whoever claims to see a broken promise must see each of these.

`planted(name)` makes the mistake in this process until the end of the block, and fails if what it changes is not there
any more, or if nothing came by it. `plant_for_good` makes it in a process of its own, which logs `mutant.met`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from bookings.models import PaymentStatus
from seating.models import SeatChange, SeatStatus
from seating.selectors.seat_map import current_version
from seating.services.announcing import announce_seats
from seating.services.row_locks import lock_seats
from seating.services.seat_changes import free
from tests.support import planting
from tests.support.planting import Function, MutantLost, Part, Script, Statement, Value

__all__ = ["CATALOGUE", "OF_THE_RACES", "Meanwhile", "Mutant", "MutantLost", "plant_for_good", "planted"]

Call = Callable[..., Any]
# What is let go of is taken out again.
_FOR_GOOD = contextlib.ExitStack()


class Meanwhile:
    """What happens between two statements that should have been one; a scenario may say what."""

    happens: Callable[[], object] = staticmethod(lambda: None)


@dataclasses.dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake.

    `breaks` says in a sentence what is wrong, `invariant` which of those in docs/architecture.md falls. `alone`: rivals
    and clocks suffice for the harm; else something must have gone wrong before that, which no rush can bring about.
    """

    name: str
    breaks: str
    invariant: str
    parts: tuple[Part, ...]
    alone: bool = True


def planted(name: str) -> AbstractContextManager[None]:
    """Make a mistake until the end of the block.

    Args:
        name: which one of the catalogue, or of those that only races look for.

    Raises:
        MutantLost: what is to be changed was not found, or nothing came by it.
    """
    return planting.planted(name, (CATALOGUE | OF_THE_RACES)[name].parts)


def plant_for_good(name: str) -> None:
    """Make a mistake for the rest of this process: for servers that are tested from outside.

    Args:
        name: which one of the catalogue, or of those that only races look for; none for an empty text.

    Raises:
        MutantLost: what is to be changed was not found, or there is no such mistake.
    """
    if name:
        if name not in CATALOGUE | OF_THE_RACES:
            raise MutantLost(f"{name}: choose from {', '.join([*CATALOGUE, *OF_THE_RACES])}")
        _FOR_GOOD.enter_context(planted(name))


# --- What is called instead -------------------------------------------------------------------------------------------


def _argument(function: Call, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return inspect.signature(function).bind(*args, **kwargs).arguments[name]


def _believe_the_update(update: Call) -> Call:
    def mutated(*args: Any, **kwargs: Any) -> Any:
        now, until, fences = update(*args, **kwargs)
        return now, until, {seat.seat_id: 0 for seat in _argument(update, "seats", args, kwargs)} | fences

    return mutated


def _reserve_what_there_is(reserve: Call) -> Call:
    def mutated(*, hold_id: Any, seats: Any, **kwargs: Any) -> Any:
        there = [seat for seat in seats if seat.status is SeatStatus.AVAILABLE or seat.hold_id == hold_id]
        return reserve(hold_id=hold_id, seats=there, **kwargs)

    return mutated


def _release_whatever_is_named(release: Call) -> Call:
    def mutated(*, showtime_id: int, codes: Any, **kwargs: Any) -> Any:
        answer = release(showtime_id=showtime_id, codes=codes, **kwargs)
        named = [seat for seat in lock_seats(showtime_id=showtime_id, codes=codes or ()) if seat.hold_id]
        freed = free(showtime_id=showtime_id, seats=named, cause=SeatChange.RELEASED) if named else None
        if freed:
            announce_seats(
                showtime_id=showtime_id, version=freed.version, changes=dict.fromkeys(freed.fences, "available")
            )
        return answer

    return mutated


def _record_no_expiry(record: Call) -> Call:
    def mutated(*, showtime_id: int, changed: Any, **kwargs: Any) -> Any:
        if all(seat.cause is SeatChange.EXPIRED for seat in changed):
            return current_version(showtime_id=showtime_id)[0]
        return record(showtime_id=showtime_id, changed=changed, **kwargs)

    return mutated


def _read_the_version_afterwards(snapshot: Call) -> Call:
    def mutated(*, showtime_id: int, **kwargs: Any) -> Any:
        seen = snapshot(showtime_id=showtime_id, **kwargs)
        Meanwhile.happens()
        return dataclasses.replace(seen, version=current_version(showtime_id=showtime_id)[0])

    return mutated


def _do_it_again(_do_once: Call) -> Call:
    return lambda _once, work: work()


def _say_yes(claim: Call) -> Call:
    return lambda **_: True


def _release_whoever_has_come_back(release: Call) -> Call:
    return lambda **given: release(**{**given, "only_if_left": False})


def _see_nobody_paying(lock_holds: Call) -> Call:
    def mutated(**given: Any) -> Any:
        return {holder: dataclasses.replace(hold, paying=False) for holder, hold in lock_holds(**given).items()}

    return mutated


# --- The statements by what is in no other ----------------------------------------------------------------------------

LOCK_SEATS = r"FROM seating_seat\s+WHERE showtime_id = %\(showtime\)s.*FOR NO KEY UPDATE\s*$"
RESERVE = r"SET status = 'RESERVED', hold_id = %\(hold\)s, reserved_until = term\.until"
FREE = r"SET status = 'AVAILABLE', hold_id = NULL, reserved_at = NULL"
SELL = r"SET status = 'SOLD'"
TAKE_AGAIN = r"SET status = 'RESERVED', hold_id = %\(hold\)s, reserved_at = clock\.now"
SNAPSHOT = r"array_agg\(seat\.status ORDER BY seat\.position\) AS statuses"
LAPSED_HOLDS = r"FROM seating_hold\s+WHERE showtime_id = .*expires_at <= clock_timestamp\(\)\s+ORDER BY id"
END_EMPTY_HOLDS = r"UPDATE seating_hold AS hold SET ended_at = clock_timestamp\(\), end_reason = 'expired'"

_MUTANTS = (
    # --- Holding
    Mutant(
        "no_row_count",
        "Nobody counts the rows that the guarded UPDATE of a hold has changed.",
        "I2",
        (Function("seating.services.seat_changes._update_reserved", _believe_the_update),),
    ),
    Mutant(
        "half_a_hold",
        "Of the seats that were asked for, those are held that are free.",
        "I5",
        (Function("seating.services.seat_changes.reserve", _reserve_what_there_is),),
    ),
    Mutant(
        "redis_lock_is_proof",
        "Whoever was given the locks in Redis gets the seats, however their rows stand.",
        "I4",
        (Statement(RESERVE, r" AND \(\s+status = 'AVAILABLE'.*?\)(?=\s+RETURNING id, fence)", ""),),
    ),
    Mutant(
        "no_sort",
        "Seats are locked in the order in which they were asked for.",
        "no deadlocks",
        (Statement(LOCK_SEATS, r"ORDER BY id", "ORDER BY array_position(%(codes)s::text[], code::text)"),),
    ),
    Mutant(
        "takeover_by_join",
        "One statement waits for the seat and judges its hold by a join, which shows the hold as it was before.",
        "I4",
        (
            Statement(LOCK_SEATS, r"FOR NO KEY UPDATE\s*$", ""),
            Statement(
                RESERVE,
                r"OR status = 'RESERVED' AND NOT paying AND reserved_until <= term\.now",
                "OR status = 'RESERVED' AND EXISTS (SELECT FROM seating_hold AS other "
                "WHERE other.id = hold_id AND NOT other.paying AND other.expires_at <= term.now)",
            ),
        ),
    ),
    Mutant(
        "takeover_of_a_paying_seat",
        "A seat whose time is over is taken although it is being paid.",
        "I4",
        (
            Statement(RESERVE, r"AND NOT paying AND reserved_until <= term\.now", "AND reserved_until <= term.now"),
            Statement(RESERVE, r"fence = fence \+ 1", "paying = false, fence = fence + 1"),
        ),
    ),
    Mutant(
        "extension_past_the_cap",
        "A hold is renewed for ever.",
        "I9",
        (Statement(RESERVE, r"own\.max_expires_at,", ""),),
    ),
    Mutant(
        "release_without_owner",
        "Whoever names a seat lets it go, also if it is somebody else's.",
        "I4",
        (Function("seating.services.holding._release", _release_whatever_is_named),),
    ),
    Mutant(
        "expiry_of_a_paying_hold",
        "The clock ends a hold although it is being paid.",
        "I4",
        (
            Statement(LAPSED_HOLDS, r"AND NOT paying AND expires_at", "AND expires_at"),
            Statement(FREE, r"NOT seat\.paying AND seat\.reserved_until", "seat.reserved_until"),
            Statement(END_EMPTY_HOLDS, r"end_reason = 'expired'", "end_reason = 'expired', paying = false"),
        ),
    ),
    # --- The ledger and the map
    Mutant(
        "expiry_on_read",
        "A seat whose time is over reads as free on the map, and no event has said so.",
        "I7",
        (
            Statement(
                SNAPSHOT,
                SNAPSHOT,
                "array_agg(CASE WHEN seat.status = 'RESERVED' AND NOT seat.paying "
                "AND seat.reserved_until <= clock_timestamp() THEN 'AVAILABLE' ELSE seat.status END "
                "ORDER BY seat.position) AS statuses",
            ),
        ),
    ),
    Mutant(
        "expiry_without_an_event",
        "Seats whose time is over are freed, and the ledger says nothing.",
        "I7",
        (Function("seating.services.ledger.record_changes", _record_no_expiry),),
    ),
    Mutant(
        "counter_without_lock",
        "The next version is counted from what was read before the counter's row was locked.",
        "I7",
        (
            Statement(
                r"UPDATE seating_showtimesales SET seq",
                r"SET seq = seq \+ 1(.*?)RETURNING seq",
                r"SET seq = known.seq + 1 FROM (SELECT seq FROM seating_showtimesales "
                r"WHERE showtime_id = %(showtime)s OFFSET 0) AS known\1RETURNING seating_showtimesales.seq",
            ),
        ),
    ),
    Mutant(
        "stale_snapshot",
        "The version of a snapshot is read in another statement than its seats.",
        "I7",
        (Function("seating.selectors.seat_map.seat_snapshot", _read_the_version_afterwards),),
    ),
    # --- Buying
    Mutant(
        "sale_without_owner",
        "A purchase sells the reserved seats that it names, whoever has reserved them.",
        "I4",
        (Statement(SELL, r"AND status = 'RESERVED' AND hold_id = %\(hold\)s", "AND status = 'RESERVED'"),),
        alone=False,
    ),
    Mutant(
        "half_a_sale",
        "Those seats of a purchase are sold that can be, and nobody counts them.",
        "I5",
        (Statement(SELL, r" AND \(SELECT count\(\*\) FROM own\) = %\(wanted\)s", ""),),
        alone=False,
    ),
    Mutant(
        "settled_without_looking_again",
        "What a payment has come to is written by what was read before, without the locks of the purchase.",
        "I6",
        (
            Statement(r'FOR NO KEY UPDATE OF "bookings_payment"', r' FOR NO KEY UPDATE OF "bookings_payment"', ""),
            Statement(r'FOR NO KEY UPDATE OF "bookings_booking"', r' FOR NO KEY UPDATE OF "bookings_booking"', ""),
        ),
    ),
    Mutant(
        "late_payment_takes_anothers_seat",
        "Money that comes late gets its seats back from whoever holds them now.",
        "I4",
        (
            Statement(
                TAKE_AGAIN, r"AND NOT paying AND \(hold_id = ANY\(%\(holds\)s\) OR reserved_until <= clock\.now\)", ""
            ),
        ),
    ),
    Mutant(
        "notice_heard_twice",
        "A notice of a provider is carried out each time it comes.",
        "I6",
        (
            Statement(r"INSERT INTO bookings_paymentevent", r"DO NOTHING", "DO UPDATE SET told = excluded.told"),
            Value("bookings.services.settling.UNPAID", tuple(PaymentStatus)),
        ),
    ),
    Mutant(
        "refund_carried_out_twice",
        "Everybody who comes by a refund that is due asks the provider for it.",
        "I6",
        (Function("bookings.services.purchases.claim_refund", _say_yes),),
    ),
    Mutant(
        "answer_not_stored",
        "What was answered to a request that named itself is not written with what it did.",
        "I3",
        (Function("seating.services.idempotency.do_once", _do_it_again),),
    ),
    # --- Redis
    Mutant(
        "settle_writes_over_anothers_lock",
        "The locks of a hold are written over whatever stands there.",
        "I8",
        (
            Script(
                "settle.lua",
                r"yields\[i\] = tonumber\(fields\.fence\) <= tonumber\(ARGV\[2 \+ 3 \* i\]\)",
                "yields[i] = true",
            ),
        ),
    ),
)
CATALOGUE = {mutant.name: mutant for mutant in _MUTANTS}

# --- Guards that decide a race of two, and nothing else ---------------------------------------------------------------

_OF_THE_RACES = (
    Mutant(
        "change_of_a_paying_hold",
        "A hold is changed by its holder although it is being paid, or over.",
        "I5",
        (Function("seating.services.holding._changeable", lambda _: lambda hold: hold),),
    ),
    Mutant(
        "leaving_a_paying_hold",
        "A page that was closed is noted on a hold that is being paid.",
        "I4",
        (
            Statement(
                r"SET left_at = clock_timestamp\(\)", r"AND ended_at IS NULL AND NOT paying", "AND ended_at IS NULL"
            ),
        ),
    ),
    Mutant(
        "let_go_without_looking_again",
        "A left hold is let go of although its holder has been seen since.",
        "I4",
        (Function("seating.services.holding.release_seats", _release_whoever_has_come_back),),
    ),
    Mutant(
        "sign_in_moves_what_is_paid",
        "Whoever signs in takes along what is being paid.",
        "I5",
        (Function("seating.services.row_locks.lock_contending_holds", _see_nobody_paying),),
    ),
    Mutant(
        "seats_read_without_their_lock",
        "Seats are judged by what was read without waiting for whoever changes them.",
        "I2",
        (Statement(LOCK_SEATS, r"FOR NO KEY UPDATE\s*$", ""),),
    ),
    Mutant(
        "hold_withdrawn_unlocked",
        "The house takes back a hold by what was read without waiting for whoever changes it.",
        "I4",
        (Statement(r"FROM seating_hold\s+WHERE id = %\(hold\)s", r"FOR NO KEY UPDATE\s*$", ""),),
    ),
    Mutant(
        "sale_at_a_closed_counter",
        "Nobody looks under the counter's lock whether the showtime still sells.",
        "I4",
        (Statement(r"UPDATE seating_showtimesales SET seq", r"AND \(sales_open OR NOT", "AND (true OR NOT"),),
    ),
    Mutant(
        "showtime_unlocked",
        "A showtime is changed by what was read without its lock.",
        "I4",
        (Statement(r'FOR NO KEY UPDATE OF "seating_showtime"', r'FOR NO KEY UPDATE OF "seating_showtime"', ""),),
    ),
    Mutant(
        "counter_unlocked",
        "Whether a seat was ever held is asked without keeping sales away.",
        "I4",
        (Function("seating.services.showtimes._lock_counter", lambda _: lambda _showtime: 0),),
    ),
    Mutant(
        "seats_made_while_the_showtime_goes",
        "Nobody looks again whether the showtime is there whose seats have been made.",
        "I10",
        (Statement(r"FROM seating_showtime.*FOR KEY SHARE$", r"FROM .*", "WHERE %s > 0"),),
    ),
)
OF_THE_RACES = {mutant.name: mutant for mutant in _OF_THE_RACES}
