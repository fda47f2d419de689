"""The bridge between the ASGI server and Django's WSGI application."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from cinebook.wsgi_in_threads import MAX_BODY, WsgiInThreads

SCOPE = {
    "type": "http",
    "http_version": "1.1",
    "method": "POST",
    "path": "/a b",
    "query_string": b"x=1",
    "headers": [(b"host", b"cinema.example"), (b"x-twice", b"a"), (b"x-twice", b"b")],
    "server": ("127.0.0.1", 80),
    "client": ("192.0.2.1", 5),
}


async def answer(
    bridge: WsgiInThreads, scope: dict[str, Any], sent: list[dict[str, Any]], *incoming: dict[str, Any]
) -> None:
    """Answer one request, whose body comes in these messages."""
    waiting = [*incoming] or [{"type": "http.request", "body": b""}]

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await bridge(scope, receive, send)


def ask(application: Callable[..., Iterable[bytes]], *incoming: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what is sent for a request whose body comes in these messages."""
    sent: list[dict[str, Any]] = []
    asyncio.run(answer(WsgiInThreads(application, threads=1), SCOPE, sent, *incoming))
    return sent


def test_a_body_in_pieces_arrives_whole_with_its_length() -> None:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ, body=environ["wsgi.input"].read())
        start_response("201 Created", [("X-One", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        return [b"a", b"b"]

    sent = ask(
        application,
        {"type": "http.request", "body": b"one ", "more_body": True},
        {"type": "http.request", "body": b"two"},
    )

    assert (seen["body"], seen["CONTENT_LENGTH"]) == (b"one two", "7")
    assert (seen["PATH_INFO"], seen["QUERY_STRING"], seen["REMOTE_ADDR"]) == ("/a b", "x=1", "192.0.2.1")
    assert seen["HTTP_X_TWICE"] == "a,b"
    assert sent == [
        {
            "type": "http.response.start",
            "status": 201,
            "headers": [(b"x-one", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")],
        },
        {"type": "http.response.body", "body": b"ab"},
    ]


def test_a_response_is_closed_in_the_thread_that_made_it_even_if_it_fails() -> None:
    threads: list[int] = []

    class Breaking:
        def __iter__(self) -> Iterator[bytes]:
            raise RuntimeError("on the way")

        def close(self) -> None:
            threads.append(threading.get_ident())

    def application(environ: dict[str, Any], start_response: Any) -> Breaking:
        threads.append(threading.get_ident())
        start_response("200 OK", [])
        return Breaking()

    with pytest.raises(RuntimeError, match="on the way"):
        ask(application, {"type": "http.request", "body": b""})

    assert len(threads) == 2
    assert threads[0] == threads[1] != threading.get_ident()


def test_an_endless_body_is_refused_before_it_is_read() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise AssertionError("nobody asks Django")

    sent = ask(application, {"type": "http.request", "body": b"x" * (MAX_BODY + 1), "more_body": True})

    assert sent[0]["status"] == 413
    assert json.loads(sent[1]["body"])["code"] == "payload_too_large"


def test_what_is_apart_waits_for_nobody_else() -> None:
    told = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/apart":
            told.set()
        else:
            assert told.wait(10), "it waited behind us"
        start_response("200 OK", [])
        return []

    async def both() -> None:
        bridge = WsgiInThreads(application, threads=1, apart={"/apart"})
        await asyncio.gather(*(answer(bridge, {**SCOPE, "path": path}, []) for path in ("/one", "/apart")))

    asyncio.run(both())


def test_who_leaves_while_sending_gets_nothing_done() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise AssertionError("half a request is none")

    sent = ask(application, {"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"})

    assert sent[0]["status"] == 413
