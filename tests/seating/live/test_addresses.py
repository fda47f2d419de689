"""One machine cannot take all the sockets of a process."""

from __future__ import annotations

import contextlib

import pytest
from pytest_django import Settings

from seating.live import addresses
from seating.models import Showtime
from tests.seating.live.sockets import Refused, in_loop, socket, until

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_address_has_so_many_and_others_are_free(showtime: Showtime, settings: Settings) -> None:
    settings.SOCKETS_PER_ADDRESS = 2

    @in_loop
    async def scene() -> None:
        async with socket(client="192.0.2.1", join=showtime.pk):
            async with socket(client="192.0.2.1"), socket(client="192.0.2.2"):
                with pytest.raises(Refused) as refused:
                    async with socket(client="192.0.2.1"):
                        pass
                assert refused.value.status == 429
                assert refused.value.headers[b"retry-after"] == b"10"
            # Who leaves makes room.
            await until(lambda: addresses._open["192.0.2.1"] == 1)
            async with socket(client="192.0.2.1"):
                pass
        await until(lambda: not addresses._open)

    scene()


def test_a_household_counts_as_one(settings: Settings) -> None:
    settings.SOCKETS_PER_ADDRESS = 1

    @in_loop
    async def scene() -> None:
        async with socket(client="2001:db8:0:1::1"), socket(client="2001:db8:0:2::1"):
            with pytest.raises(Refused):
                async with socket(client="2001:db8:0:1:ffff::2"):
                    pass

    scene()


@pytest.mark.parametrize("client", [None, "not:an:address", "fe80::1%eth0"])
def test_what_is_no_address_does_no_harm(client: str | None) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(client=client):
            pass

    scene()


def test_a_line_without_an_address_is_not_limited(settings: Settings) -> None:
    """Behind a Unix socket nobody knows it."""
    settings.SOCKETS_PER_ADDRESS = 1

    @in_loop
    async def scene() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(socket())

    scene()


def test_limits_can_be_off_for_benchmarks(settings: Settings) -> None:
    settings.SOCKETS_PER_ADDRESS = 1
    settings.RATE_LIMITS = False

    @in_loop
    async def scene() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(socket(client="192.0.2.1"))

    scene()


def test_whoever_is_refused_does_not_count() -> None:
    @in_loop
    async def scene() -> None:
        for _ in range(3):
            with pytest.raises(Refused):
                async with socket("no token", client="192.0.2.1"):
                    pass
        await until(lambda: not addresses._open)

    scene()
