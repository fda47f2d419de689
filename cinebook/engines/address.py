"""Where the web listens: whether the place is free, and whether CineBook answers there."""

from __future__ import annotations

import errno
import http.client
import socket
from dataclasses import dataclass

from cinebook.engines.console import FAILED, MISUSED, Refusal

HEALTH = "/api/v1/health"
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - it is what the person asked for.
"""Hosts that stand for all addresses, and the one by which this machine reaches itself."""


@dataclass(frozen=True)
class Address:
    """A host, as a name or an IP address without brackets, and a port."""

    host: str
    port: int

    @property
    def reachable_host(self) -> str:
        """The host for connections from this machine."""
        return EVERYWHERE.get(self.host, self.host)

    @property
    def url(self) -> str:
        """The address for a browser on this machine, without a slash at its end."""
        host = f"[{self.reachable_host}]" if ":" in self.reachable_host else self.reachable_host
        return f"http://{host}:{self.port}"

    @property
    def is_everywhere(self) -> bool:
        """Whether other machines can reach it by any address of this one."""
        return self.host in EVERYWHERE

    def refuse_if_taken(self) -> None:
        """Raise Refusal if the web could not listen here, with the reason."""
        try:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            found = socket.getaddrinfo(self.host, self.port, family, socket.SOCK_STREAM)
            with socket.socket(family, socket.SOCK_STREAM) as trial:
                # As servers do: a port whose connections of before only linger is free.
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind(found[0][4])
                trial.listen(1)
        except OSError as error:
            raise self._refusal(error) from error

    def health(self) -> int | None:
        """Return the HTTP status of the health check, or None if there is no answer within two seconds."""
        connection = http.client.HTTPConnection(self.reachable_host, self.port, timeout=2.0)
        try:
            connection.request("GET", HEALTH)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _refusal(self, error: OSError) -> Refusal:
        if error.errno == errno.EADDRINUSE:
            return Refusal(
                f"Port {self.port} on {self.host} is already in use. Stop what runs there, or choose another: "
                f"PORT={self.port + 1 if self.port + 1 < 2**16 else 8000} make run",
                status=FAILED,
            )
        if error.errno == errno.EACCES:
            return Refusal(f"Port {self.port} is only for root. Choose one from 1024 on: PORT=8000", status=MISUSED)
        return Refusal(
            f"CineBook cannot listen on HOST={self.host}, PORT={self.port}: {error.strerror}.", status=MISUSED
        )
