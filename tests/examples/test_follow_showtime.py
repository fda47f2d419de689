"""The example client in a real house of two processes, on a line that breaks."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from examples.follow_showtime import Refused, Showtime, Status
from tests.browser.house import House
from tests.support.cinema import CHECKOUT
from tests.support.ports import free_port
from tests.support.proxy import Proxy, running_proxy

PROGRAM = CHECKOUT / "examples" / "follow_showtime.py"
SECONDS = 30.0


@pytest.fixture
def line(house: House) -> Iterator[Proxy]:
    """What lies between a client and the house."""
    with running_proxy(house.address.removeprefix("http://")) as proxy:
        yield proxy


async def comes_to(changes: AsyncIterator[dict[str, Status]], **wanted: Status) -> None:
    """Return as soon as the seats have been seen to stand so."""
    seen: dict[str, Status] = {}
    while not wanted.items() <= seen.items():
        seen |= await anext(changes)


def test_one_socket_holds_extends_buys_and_follows(house: House) -> None:
    number = house.showtime()
    token = house.guest()

    async def buy() -> None:
        async with (
            asyncio.timeout(SECONDS),
            Showtime(house.address, number, token) as buyer,
            Showtime(house.address, number) as stranger,
        ):
            mine, theirs = buyer.changes(), stranger.changes()
            first, second, third = [code for code, status in (await anext(mine)).items() if status == "available"][:3]

            held = await buyer.hold(first, second)
            assert (held["seats"], held["expires_in"] > 0, "hold_token" in held) == ([first, second], True, True)
            await comes_to(mine, **{first: "selected", second: "selected"})
            await comes_to(theirs, **{first: "locked", second: "locked", third: "available"})

            extended = await buyer.extend()
            assert (extended["hold_id"], extended["expires_at"] > held["expires_at"]) == (held["hold_id"], True)
            assert await buyer.release(second) == [second]
            await comes_to(theirs, **{second: "available"})

            booking = await buyer.buy(first, name="Ada Example", email="ada@example.org")
            assert (booking["status"], booking["seats"]) == ("CONFIRMED", [first])
            again = await buyer.buy(first, name="Ada Example", email="ada@example.org")
            assert again["reference"] == booking["reference"]
            await comes_to(mine, **{first: "occupied"})
            await comes_to(theirs, **{first: "occupied"})
            assert buyer.map.hold is None
            with pytest.raises(Refused) as refused:
                await stranger.hold(third)
            assert refused.value.code == "not_authenticated"

    asyncio.run(buy())


def test_who_was_cut_off_comes_back_to_what_is_true_and_has_what_was_asked(house: House, line: Proxy) -> None:
    number = house.showtime()
    token, rival = house.guest(), house.guest()

    async def be_cut_off() -> None:
        address = f"http://127.0.0.1:{line.port}"
        async with asyncio.timeout(SECONDS), Showtime(address, number, token) as showtime:
            changes = showtime.changes()
            first, second = [code for code, status in (await anext(changes)).items() if status == "available"][:2]

            # The order goes out, and its answer does not come back.
            line.drop()
            holding = asyncio.ensure_future(showtime.hold(first))
            await asyncio.to_thread(wait_until_held, house, number, first)
            house.hold(rival, number, second)
            line.refuse()
            await comes_to_be_cut_off(showtime)
            line.heal()

            held = await holding
            assert (held["seats"], "hold_token" in held) == ([first], False)
            await comes_to(changes, **{first: "selected", second: "locked"})
            everything = await asyncio.to_thread(house.status, number)
            assert {**showtime.map.seats(), first: "locked"} == everything

    asyncio.run(be_cut_off())


def wait_until_held(house: House, number: int, code: str) -> None:
    while house.status(number)[code] == "available":
        pass


async def comes_to_be_cut_off(showtime: Showtime) -> None:
    while showtime.live:
        await showtime._news.wait()


def run_program(house: House, *words: str | int, token: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), "--address", house.address, *map(str, words)]
    environment = {**os.environ, "CINEBOOK_TOKEN": token}
    return subprocess.run(
        command, cwd=Path("/"), env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_program_holds_and_buys_or_says_what_else_is_free(house: House) -> None:
    number = house.showtime()
    code = next(code for code, status in house.status(number).items() if status == "available")

    bought = run_program(house, number, "hold", code, "--keep", "0.1", "--buy", token=house.guest())
    assert bought.returncode == 0, bought.stderr
    assert re.search(rf"held {code} for \d+ s: .*\nbooking BK-\w+ is CONFIRMED", bought.stdout)

    refused = run_program(house, number, "hold", code, token=house.guest())
    assert refused.returncode == 1
    assert re.match(rf"seat_booked: {code}: Already sold.*Free: ", refused.stderr)


def test_the_program_says_so_where_no_house_is() -> None:
    command = [sys.executable, str(PROGRAM), "--address", f"http://127.0.0.1:{free_port()}", "7", "follow"]
    environment = {name: value for name, value in os.environ.items() if name != "CINEBOOK_TOKEN"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "Is CineBook running there?" in ended.stderr
    assert "Traceback" not in ended.stderr
