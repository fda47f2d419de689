"""The comparison with the textbook, in small: so that it still runs when somebody needs its figures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import http_load
from bench.compare import ROOT, medians, ratios
from bench.http_load import Client, request
from bench.scenes import CLIENTS, Stage, Textbook


@contextlib.contextmanager
def server(*, closes: bool) -> Iterator[int]:
    """Serve an answer that says how many requests its connection has had; give the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            for number in range(1, 2 if closes else 1000):
                await reader.readuntil(b"\r\n\r\n")
                ending = b"Connection: close\r\n" if closes else b""
                writer.write(b'HTTP/1.1 200 OK\r\nETag: "x"\r\n' + ending + b"Content-Length: 1\r\n\r\n%d" % number)
                await writer.drain()
        writer.close()

    opened: queue.Queue[tuple[int, Callable[[], object]]] = queue.Queue()

    async def serve() -> None:
        stop = asyncio.Event()
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as serving:
            loop = asyncio.get_running_loop()
            opened.put((serving.sockets[0].getsockname()[1], lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    port, stop = opened.get()
    try:
        yield port
    finally:
        stop()
        thread.join()


@pytest.mark.parametrize(("closes", "heard"), [(False, ["1", "2", "3"]), (True, ["1", "1", "1"])])
def test_a_client_asks_one_thing_after_the_other(*, closes: bool, heard: list[str]) -> None:
    said: list[str] = []

    def client() -> Client:
        for number in range(3):
            reply = yield request("GET", "/", counted=number > 0)
            said.append(reply.content.decode())
            assert (reply.status, reply.etag) == (200, '"x"')

    with server(closes=closes) as port:
        replies = http_load.run(port, [client()], seconds=10)

    assert said == heard
    assert [reply.counted for reply in replies] == [True, True]
    assert all(reply.seconds > 0 for reply in replies)


def test_no_seat_is_wanted_by_two_clients() -> None:
    codes = [f"A{number}" for number in range(300)]
    nobody: Iterator[int] = iter(())
    tokens = [str(number) for number in range(150)]
    stage = Stage(Textbook(), nobody, codes, nobody, codes, tokens)

    wanted = [pair for number in range(CLIENTS) for pair in stage.pairs(codes, number)]

    assert sorted(code for _token, pair in wanted for code in pair) == sorted(codes)
    assert sorted(token for token, _pair in wanted) == sorted(tokens)


def test_figures_are_medians_and_ratios_of_them() -> None:
    rounds = [{"hold": {"per_second": value, "p99_ms": 10 * value}} for value in (3.0, 1.0, 2.0)]

    assert medians(rounds) == {"hold": {"per_second": 2.0, "p99_ms": 20.0}}
    assert ratios(medians(rounds), rounds[1]) == {"hold": {"throughput": 2.0, "p99": 2.0}}


def test_both_are_asked_the_same(tmp_path: Path) -> None:
    options = ["--rounds", "1", "--seconds", "0.3", "--only", "extend", "304", "--out", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "bench.compare", *options], cwd=ROOT, check=True, capture_output=True)

    told = json.loads((tmp_path / "compare.json").read_text())
    for kind in ("textbook", "cinebook"):
        for scene in ("extend", "status, 304"):
            assert told[kind][scene]["answers"] > 0
            assert told[kind][scene]["other_answers"] == 0
