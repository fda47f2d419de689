"""PostgreSQL is away: 503 and when to come back, nothing half done, and all is well within seconds of its return."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from websockets.sync.client import connect

from cinebook.health import PATIENCE_SECONDS
from tests.faults.people import Answer, Person, assert_sold_once, guest, page
from tests.support.cinema import Cinema, wait_until

# Of settings.py: for each web process, as many as its threads, its tickers and its hub may need.
WEB_THREADS = 4
POOL = WEB_THREADS + 4 + 4
BACK = 10.0

Fault = Callable[[Cinema], contextlib.AbstractContextManager[None]]


def road(kind: str) -> Fault:
    @contextlib.contextmanager
    def fault(cinema: Cinema) -> Iterator[None]:
        getattr(cinema.roads["database"], kind)()
        yield
        cinema.roads["database"].heal()

    return fault


@contextlib.contextmanager
def dead(cinema: Cinema) -> Iterator[None]:
    cinema.postgres.kill()
    yield
    cinema.postgres.start()


@contextlib.contextmanager
def frozen(cinema: Cinema) -> Iterator[None]:
    cinema.postgres.pause()
    yield
    cinema.postgres.resume()


FAULTS = {"refuses": road("refuse"), "resets": road("reset"), "is dead": dead, "is frozen": frozen}


def connections(cinema: Cinema) -> int:
    """Return how many connections the house has."""
    return int(
        cinema.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )[0][0]
    )


def wait_until_it_sells(cinema: Cinema, ada: Person, showtime: int) -> None:
    for web in cinema.web:
        wait_until(lambda web=web: ada.extend(web, showtime).status == 200, f"{web.name} to work", BACK)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_everybody_is_told_to_come_back_and_nothing_is_half_done(cinema: Cinema, showtime: int, fault: Fault) -> None:
    one, two = cinema.web
    ada, ben = guest(one), guest(one)
    ada.lock(one, showtime, "A1", "A2")
    headers = {"Authorization": f"Bearer {ben.token}"}
    with connect(f"ws://127.0.0.1:{two.port}/ws/seats/", additional_headers=headers, proxy=None) as socket:
        with fault(cinema), ThreadPoolExecutor() as threads:
            # Side by side: a PostgreSQL that is frozen lets each of them wait for some seconds.
            socket.send(json.dumps({"event": "seat:hold", "data": {"showtime_id": showtime, "seats": ["B3"]}, "id": 7}))
            asked = [
                threads.submit(ben.lock, one, showtime, "A3"),
                threads.submit(ada.buy, two, showtime, "A1", "A2", key="the same"),
                threads.submit(ada.ask, one, "GET", f"showtimes/{showtime}/seats/status"),
            ]
            seen = threads.submit(page, two, f"/showtimes/{showtime}/")
            assert one.health()["status"] == "down"
            answers: list[Answer] = [future.result() for future in asked]
            assert [(answer.status, answer.code) for answer in answers] == [(503, "unavailable")] * 3
            assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
            status, told = seen.result()
            assert (status, told["Retry-After"]) == (503, "2")
            frame = json.loads(socket.recv(timeout=20))
            assert (frame["event"], frame["data"]["code"], frame["id"]) == ("seat:hold:failed", "unavailable", 7)

        wait_until_it_sells(cinema, ada, showtime)
        statuses = ada.ask(one, "GET", f"showtimes/{showtime}/seats/status").body["seats"]
        assert [statuses[code] for code in ("A1", "A2", "A3", "B3")] == [
            "selected",
            "selected",
            "available",
            "available",
        ]
        # The same socket is alive.
        socket.send(json.dumps({"event": "seat:hold", "data": {"showtime_id": showtime, "seats": ["B3"]}, "id": 8}))
        wait_until(lambda: "seat:hold:success" in socket.recv(timeout=10), "the seat", 10)
    assert ada.buy(two, showtime, "A1", "A2", key="the same").status == 201
    assert ada.buy(one, showtime, "A1", "A2", key="the same").status == 201
    assert_sold_once(cinema)


def test_health_does_not_queue_behind_those_who_wait(cinema: Cinema, showtime: int) -> None:
    """Who looks after the house is told in time also when every thread waits for PostgreSQL."""
    one = cinema.web[0]
    people = [guest(one) for _ in range(WEB_THREADS)]
    with ThreadPoolExecutor(2 * len(people)) as threads, frozen(cinema):
        for person in 2 * people:
            threads.submit(person.lock, one, showtime, "A1")
        took = []
        # When the first is answered, all of them have long begun.
        for _ in range(3):
            began = time.monotonic()
            assert one.health()["status"] == "down"
            took.append(time.monotonic() - began)
    assert max(took) < PATIENCE_SECONDS + 1, took


def test_connections_that_break_again_and_again_leave_none_behind(cinema: Cinema, showtime: int) -> None:
    one, two = cinema.web
    people = [guest(one) for _ in range(2)]
    with ThreadPoolExecutor(len(people)) as threads:
        for turn in range(50):
            asked = [threads.submit(person.lock, (one, two)[turn % 2], showtime, "A1") for person in people]
            if turn % 2:
                cinema.roads["database"].break_connections()
            else:
                cinema.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
            assert {future.result().status for future in asked} <= {200, 201, 409, 429, 503}
            assert connections(cinema) <= 2 * POOL

    wait_until(lambda: people[0].unlock(one, showtime).status in {200, 429}, "the house", BACK)
    # What PostgreSQL has are those that the processes have, and none of them is in the middle of something.
    wait_until(lambda: connections(cinema) == cinema.roads["database"].open_connections, "an end of what broke", 10)
    assert not cinema.sql("SELECT FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'")


def test_dead_connections_in_the_pool_are_replaced_at_once(cinema: Cinema, showtime: int) -> None:
    web = cinema.web[0]
    people = [guest(web) for _ in range(4)]
    with ThreadPoolExecutor(len(people)) as threads:
        # Each of the four has to wait, so each has a connection of its own.
        with psycopg.connect(cinema.postgres.url) as somebody:
            somebody.execute("SELECT FROM seating_showtimesales WHERE showtime_id = %s FOR UPDATE", [showtime])
            asked = [
                threads.submit(person.lock, web, showtime, f"{row}1")
                for person, row in zip(people, "ABCC", strict=True)
            ]
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            wait_until(lambda: cinema.sql(waiting)[0][0] >= 3, "them to wait", 5)
        for future in asked:
            future.result()
        cinema.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        answer = people[0].extend(web, showtime)
    assert answer.status == 200
    assert answer.took < 0.9


@pytest.fixture
def slow_commit(cinema: Cinema) -> Iterator[None]:
    """The commit of a booking takes a while: a trigger that is deferred to it sleeps."""
    cinema.sql(
        "CREATE FUNCTION take_a_nap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL;"
        " END $$"
    )
    cinema.sql(
        "CREATE CONSTRAINT TRIGGER nap AFTER INSERT ON bookings_booking DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION take_a_nap()"
    )
    yield
    cinema.sql("DROP TRIGGER nap ON bookings_booking")
    cinema.sql("DROP FUNCTION take_a_nap()")


@pytest.mark.usefixtures("slow_commit")
def test_who_was_cut_off_in_the_middle_of_a_commit_learns_by_asking_again(cinema: Cinema, showtime: int) -> None:
    """PostgreSQL goes on with a commit whose client is gone: the sale stands, and nobody was told."""
    one, two = cinema.web
    ada = guest(one)
    ada.lock(one, showtime, "A1", "A2")
    committing = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'COMMIT'"
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ada.buy, one, showtime, "A1", "A2", key="once")
        wait_until(lambda: cinema.sql(committing)[0][0], "the commit", 5)
        cinema.roads["database"].break_connections()
        answer = asked.result()
    assert (answer.status, answer.code) == (503, "unavailable")
    wait_until(lambda: not cinema.sql(committing)[0][0], "the end of the commit", 5)

    wait_until(lambda: ada.buy(two, showtime, "A1", "A2", key="once").status in {200, 201}, "the outcome", BACK)

    booked = cinema.sql("SELECT status FROM bookings_booking WHERE showtime_id = %s", showtime)
    assert booked == [("CONFIRMED",)]
    assert_sold_once(cinema)


def test_a_commit_that_never_came_is_repeated_with_the_same_key(cinema: Cinema, showtime: int) -> None:
    """Cut off after more and more bytes: whatever was done by then, asking again ends in one sale."""
    web = cinema.web[0]
    ada = guest(web)
    ada.lock(web, showtime, "A1")
    statuses = []
    for after in range(200, 12_000, 600):
        cinema.roads["database"].cut(after=after)
        statuses.append(ada.buy(web, showtime, "A1", key="until it works").status)
        cinema.roads["database"].heal()
    assert set(statuses) <= {200, 201, 503}
    assert 503 in statuses

    began = time.monotonic()
    wait_until(lambda: ada.buy(web, showtime, "A1", key="until it works").status in {200, 201}, "the outcome", BACK)

    assert time.monotonic() - began < BACK
    booked = cinema.sql("SELECT status FROM bookings_booking WHERE showtime_id = %s", showtime)
    assert booked.count(("CONFIRMED",)) == 1
    assert_sold_once(cinema)


def test_the_pool_does_not_outgrow_its_bound(cinema: Cinema, showtime: int) -> None:
    """More people than threads want one seat whose row is locked: they wait in line, not in PostgreSQL."""
    web = cinema.web[0]
    people = [guest(web) for _ in range(24)]
    people[0].lock(web, showtime, "A2")
    with psycopg.connect(cinema.postgres.url) as somebody, ThreadPoolExecutor(len(people)) as threads:
        somebody.execute(
            "SELECT FROM seating_seat WHERE showtime_id = %s AND code = 'A1' FOR NO KEY UPDATE", [showtime]
        )
        asked = [threads.submit(person.lock, web, showtime, "A1") for person in people]
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_until(lambda: cinema.sql(waiting)[0][0], "somebody to wait", 5)
        assert connections(cinema) <= 2 * POOL + 1
        somebody.rollback()
        statuses = [future.result().status for future in asked]
    assert statuses.count(201) == 1
    assert set(statuses) <= {201, 409, 503}
