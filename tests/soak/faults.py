"""What can go wrong, each with its end: a fault begins, lasts for a while, is healed, and then the house must recover.

A fault says of whom it takes something away. While PostgreSQL is away errors are excused; while a web process is away
it is excused that it does not answer; everything else has to go unnoticed by the people.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import time
from collections.abc import Callable
from typing import Any

import psycopg
import redis

from tests.support.cinema import Cinema, EnginePart
from tests.support.proxy import DOWN, UP, Proxy
from tests.support.stripe_server import StripeServer

PLENTY = "256mb"
LOCKS, LAYER, BROKER, DATABASE = "locks", "live", "broker", "database"
WEB, OTHERS, PROVIDER = "web", "others", "provider"


@dataclasses.dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Args:
        name: what the report calls it.
        area: what it strikes; two faults at once strike two areas.
        begin: strikes.
        heal: puts it right, and returns when whatever was ended runs again.
        longest: how many seconds it lasts at the most.
        database_away: whether nobody can use PostgreSQL while it lasts.
        web_away: the web process that does not answer, by its number; None for none.
    """

    name: str
    area: str
    begin: Callable[[], Any]
    heal: Callable[[], Any]
    longest: float = 5.0
    database_away: bool = False
    web_away: int | None = None


def all_faults(cinema: Cinema, stripe: StripeServer, road_to_stripe: Proxy, dice: random.Random) -> list[Fault]:
    """Return every kind of fault of a cinema, and of its payment provider."""
    return [
        *_of_the_locks(cinema, dice),
        *_of_the_layer_and_the_broker(cinema),
        *_of_the_database(cinema),
        *_of_the_processes(cinema),
        *_of_the_provider(stripe, road_to_stripe),
    ]


def _of_the_provider(stripe: StripeServer, road: Proxy) -> list[Fault]:
    def answers_with(fault: str) -> Callable[[], None]:
        return lambda: stripe.behaviour.faults.update({fault: 1.0})

    heal = stripe.behaviour.faults.clear
    return [
        Fault("provider refused", PROVIDER, road.refuse, road.heal),
        Fault("provider stalled", PROVIDER, road.stall, lambda: _heal_broken(road)),
        Fault("provider answers 500", PROVIDER, answers_with("500"), heal),
        Fault("provider answers lost", PROVIDER, answers_with("die"), heal),
    ]


def _of_the_locks(cinema: Cinema, dice: random.Random) -> list[Fault]:
    road, server = cinema.roads["locks"], cinema.redis
    stale = _Stale(server)
    return [
        Fault("Redis killed", LOCKS, server.kill, server.start),
        Fault("Redis frozen", LOCKS, server.pause, server.resume),
        Fault("Redis flushed", LOCKS, lambda: _command(server, "FLUSHALL"), _nothing, longest=0.5),
        Fault("Redis full", LOCKS, lambda: _limit(server, "1mb"), lambda: _limit(server, PLENTY)),
        Fault("Redis slow by 20 ms", LOCKS, lambda: road.delay(0.02, 0.01), road.heal),
        Fault("Redis too slow", LOCKS, lambda: road.delay(0.5, 0.2), road.heal),
        Fault("Redis stalled", LOCKS, road.stall, road.heal),
        Fault("Redis reset", LOCKS, road.reset, road.heal, longest=3),
        Fault("Redis cut after some bytes", LOCKS, lambda: road.cut(dice.randint(200, 5000)), road.heal, longest=3),
        Fault("Redis refused", LOCKS, road.refuse, road.heal),
        Fault("Redis answers lost", LOCKS, lambda: road.drop(DOWN), lambda: _heal_broken(road)),
        Fault("Redis commands lost", LOCKS, lambda: road.drop(UP), lambda: _heal_broken(road)),
        Fault("Redis replaced by a stale replica", LOCKS, stale.remember, stale.take_over),
    ]


def _of_the_layer_and_the_broker(cinema: Cinema) -> list[Fault]:
    live, broker, cache = cinema.roads["live"], cinema.roads["broker"], cinema.roads["cache"]
    return [
        Fault("live layer refused", LAYER, live.refuse, live.heal),
        Fault("live layer stalled", LAYER, live.stall, live.heal),
        Fault("live layer messages lost", LAYER, lambda: live.drop(DOWN), lambda: _heal_broken(live)),
        Fault("live layer reset", LAYER, live.break_connections, _nothing, longest=0.5),
        Fault("broker refused", BROKER, broker.refuse, broker.heal),
        Fault("broker stalled", BROKER, broker.stall, broker.heal),
        Fault("cache stalled", BROKER, cache.stall, cache.heal),
        Fault("Redis of layer and broker killed", LAYER, cinema.messages.kill, cinema.messages.start),
    ]


def _of_the_database(cinema: Cinema) -> list[Fault]:
    road, server = cinema.roads["database"], cinema.postgres
    away: dict[str, Any] = {"area": DATABASE, "database_away": True}
    return [
        Fault("PostgreSQL killed", begin=server.kill, heal=server.start, longest=3, **away),
        Fault("PostgreSQL frozen", begin=server.pause, heal=server.resume, longest=4, **away),
        Fault("PostgreSQL restarted", begin=server.stop, heal=server.start, longest=1, **away),
        Fault("PostgreSQL backends ended", begin=lambda: _end_backends(cinema), heal=_nothing, longest=0.3, **away),
        Fault("PostgreSQL connections reset", begin=road.break_connections, heal=_nothing, longest=0.3, **away),
        Fault("PostgreSQL refused", begin=road.refuse, heal=road.heal, longest=3, **away),
        Fault("PostgreSQL stalled", begin=road.stall, heal=road.heal, longest=4, **away),
        Fault("PostgreSQL slow by 5 ms", DATABASE, lambda: road.delay(0.005, 0.002), road.heal),
    ]


def _of_the_processes(cinema: Cinema) -> list[Fault]:
    of_webs = []
    for number, web in enumerate(cinema.web):
        away: dict[str, Any] = {"area": WEB, "web_away": number}
        of_webs += [
            Fault("web killed", begin=web.kill, heal=web.start, longest=3, **away),
            Fault("web frozen", begin=web.pause, heal=web.resume, longest=3, **away),
            Fault("web restarted", begin=web.stop, heal=web.start, longest=1, **away),
        ]
    worker, beat, second = cinema.worker, *cinema.beats
    return [
        *of_webs,
        Fault("worker killed", OTHERS, worker.kill, worker.start),
        Fault("worker restarted", OTHERS, worker.stop, worker.start, longest=1),
        Fault("beat killed", OTHERS, beat.kill, beat.start),
        Fault("two beats", OTHERS, second.start, second.stop),
        Fault("reconciled in the middle", OTHERS, lambda: _reconcile(cinema), _nothing, longest=0.5),
    ]


class _Stale:
    """A replica that was a while behind when it took over: what it did not hear of never was, what ended is back."""

    def __init__(self, server: EnginePart) -> None:
        self._server = server
        self._keys: list[tuple[bytes, bytes, int]] = []
        self._at = 0.0

    def remember(self) -> None:
        with redis.Redis.from_url(self._server.url) as client:
            keys = [(key, client.dump(key), client.pttl(key)) for key in client.scan_iter()]
        self._keys = [(key, value, left) for key, value, left in keys if value is not None]
        self._at = time.monotonic()

    def take_over(self) -> None:
        gone = int((time.monotonic() - self._at) * 1000)
        with redis.Redis.from_url(self._server.url) as client:
            client.flushall()
            for key, value, left in self._keys:
                if left > gone:
                    client.restore(key, left - gone, value, replace=True)


def _command(server: EnginePart, *words: str) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.execute_command(*words)


def _limit(server: EnginePart, memory: str) -> None:
    _command(server, "CONFIG", "SET", "maxmemory", memory)


def _heal_broken(road: Any) -> None:
    """Heal a road on which something was lost: whoever waits for it on a connection would wait for ever."""
    road.break_connections()
    road.heal()


def _end_backends(cinema: Cinema) -> None:
    with contextlib.suppress(psycopg.Error):
        cinema.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")


def _reconcile(cinema: Cinema) -> None:
    with contextlib.suppress(AssertionError):
        cinema.manage("reconcile")


def _nothing() -> None:
    """It has no duration: there is nothing to put right."""


MIXES: dict[str, Callable[[Fault], bool]] = {
    "all": lambda _fault: True,
    "redis": lambda fault: fault.area in {LOCKS, LAYER, BROKER},
    "database": lambda fault: fault.area == DATABASE,
    "processes": lambda fault: fault.area in {WEB, OTHERS},
    "provider": lambda fault: fault.area == PROVIDER,
    "none": lambda _fault: False,
}
"""What FAULTS chooses from."""
