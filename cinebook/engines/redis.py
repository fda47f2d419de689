"""The embedded Redis. It only accelerates, so it keeps nothing: each start is an empty one."""

from __future__ import annotations

import socket
from urllib.parse import quote

from cinebook.engines.binaries import redis_server
from cinebook.engines.data_folder import DataFolder
from cinebook.engines.process import Command, Engine

SOCKET = "redis.sock"
MEMORY = "256mb"


class Redis(Engine):
    """The server of one data folder, at a Unix socket that only we can reach."""

    def __init__(self, folder: DataFolder, *, databases: int = 16) -> None:
        """Lay out its folders in `folder`, for that many numbered `databases`. Raises Refusal if there is no Redis."""
        home = folder.socket_folder("redis", SOCKET)
        self._socket = home / SOCKET
        self.url = f"unix://{quote(str(self._socket))}?db=0"
        server = redis_server()
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(home),
            "save": "",
            "appendonly": "no",
            "databases": str(databases),
            "maxmemory": MEMORY,
            # A lock that vanishes because memory is short would be a lie. An error is not.
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        argv = [str(server), *(part for name, value in options.items() for part in (f"--{name}", value))]
        command = Command(argv, {"LC_ALL": "C"}, home)
        super().__init__("Redis", command, log=folder.log("redis"), children_file=folder.children_file, grace=5.0)

    def is_ready(self) -> bool:
        """Return whether it answers a PING."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            try:
                client.connect(str(self._socket))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
            except OSError:
                return False
