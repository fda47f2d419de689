"""The network of our own: each kind of weather, and back."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.proxy import DOWN, UP, Proxy, running_proxy


def _echo_always(listener: socket.socket) -> None:
    def echo(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while said := connection.recv(4096):
                connection.sendall(said)

    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=echo, args=[listener.accept()[0]], daemon=True).start()


@pytest.fixture(params=["port", "socket"])
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Proxy]:
    family = socket.AF_UNIX if request.param == "socket" else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind(str(tmp_path / "echo") if request.param == "socket" else ("127.0.0.1", 0))
        listener.listen()
        threading.Thread(target=_echo_always, args=[listener], daemon=True).start()
        target = listener.getsockname()
        with running_proxy(target if isinstance(target, str) else f"{target[0]}:{target[1]}") as proxy:
            yield proxy
        with contextlib.suppress(OSError):  # a Unix socket cannot be shut down while it listens
            listener.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def connection_to(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection:
        yield connection


def ask(connection: socket.socket, words: bytes) -> bytes:
    connection.sendall(words)
    heard = b""
    while len(heard) < len(words) and (piece := connection.recv(4096)):
        heard += piece
    return heard


def is_silent(connection: socket.socket) -> bool:
    connection.settimeout(0.15)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(5)
    return False


def test_it_passes_and_counts(proxy: Proxy) -> None:
    with connection_to(proxy) as one, connection_to(proxy) as two:
        assert ask(one, b"1" * 300_000) == b"1" * 300_000
        assert ask(two, b"two") == b"two"
        assert (proxy.open_connections, proxy.accepted_connections) == (2, 2)


def test_it_delays(proxy: Proxy) -> None:
    with connection_to(proxy) as connection:
        proxy.delay(0.1)
        began = time.monotonic()
        assert ask(connection, b"slow") == b"slow"
        assert time.monotonic() - began >= 0.2


def test_it_stalls_and_what_was_said_is_not_lost(proxy: Proxy) -> None:
    with connection_to(proxy) as connection:
        assert ask(connection, b"hello") == b"hello"
        proxy.stall()
        connection.sendall(b"later")
        with connection_to(proxy) as other:
            other.sendall(b"too")
            assert is_silent(connection)
            assert is_silent(other)
            proxy.heal()
            assert connection.recv(10) == b"later"
            assert other.recv(10) == b"too"


def test_it_resets_what_is_open_and_what_comes(proxy: Proxy) -> None:
    with connection_to(proxy) as connection:
        ask(connection, b"hello")
        proxy.reset()
        with pytest.raises(ConnectionError):
            connection.recv(1)
        with pytest.raises(ConnectionError), connection_to(proxy) as other:
            ask(other, b"hello")
    proxy.heal()
    with connection_to(proxy) as connection:
        assert ask(connection, b"again") == b"again"


def test_it_refuses_and_keeps_its_port(proxy: Proxy) -> None:
    with connection_to(proxy) as connection:
        ask(connection, b"hello")
        proxy.refuse()
        with pytest.raises(ConnectionError):
            connection.recv(1)
    with pytest.raises(ConnectionRefusedError), connection_to(proxy):
        pass
    proxy.heal()
    with connection_to(proxy) as connection:
        assert ask(connection, b"again") == b"again"


def test_it_cuts_a_connection_after_some_bytes(proxy: Proxy) -> None:
    with connection_to(proxy) as connection:
        proxy.cut(8)
        assert ask(connection, b"four") == b"four"
        with pytest.raises(ConnectionError):
            ask(connection, b"four")


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_it_loses_what_goes_in_one_direction(proxy: Proxy, direction: str) -> None:
    with connection_to(proxy) as connection:
        proxy.drop(direction)
        connection.sendall(b"lost")
        assert is_silent(connection)
        proxy.heal()
        assert ask(connection, b"found") == b"found"


def test_it_breaks_connections_once(proxy: Proxy) -> None:
    with connection_to(proxy) as connection:
        ask(connection, b"hello")
        proxy.break_connections()
        with pytest.raises(ConnectionError):
            connection.recv(1)
    with connection_to(proxy) as connection:
        assert ask(connection, b"again") == b"again"
