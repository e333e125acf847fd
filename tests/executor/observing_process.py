"""A process of its own between clients and the server's socket; see observed.py.

Blocking reads, a thread for each direction, so that what one write has sent is read at once.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from contextlib import suppress

# Of the frontend/backend protocol 3.0.
CANCEL_REQUEST = 80_877_102
SYNC = ord("S")
CHUNK = 1 << 20
SLOW_CHUNK = 1 << 16


class Observer:
    def __init__(self, server: str, seen: str, bytes_per_second: int) -> None:
        self._server = server
        self._bytes_per_second = bytes_per_second
        self._seen = open(seen, "a", buffering=1)  # noqa: PTH123, SIM115
        self._lock = threading.Lock()

    def connect(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._server)
        threading.Thread(target=self._to_server, args=(client, server), daemon=True).start()
        threading.Thread(target=self._to_client, args=(server, client), daemon=True).start()

    def _tell(self, event: str, number: int) -> None:
        with self._lock:
            self._seen.write(json.dumps({event: number}) + "\n")

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        rest, started = b"", False
        with suppress(OSError):
            while chunk := client.recv(CHUNK):
                rest += chunk
                syncs = 0
                # The first message is a length without a kind; the others begin with a byte of it.
                while len(rest) >= 5 and len(rest) >= (end := self._end(rest, started)):
                    if started:
                        syncs += rest[0] == SYNC
                    elif int.from_bytes(rest[4:8]) == CANCEL_REQUEST:
                        self._tell("cancel", 1)
                    else:
                        self._tell("startup", 1)
                    started, rest = True, rest[end:]
                # Before the server has it, so that the test finds it when the answer is there.
                if syncs:
                    self._tell("syncs", syncs)
                server.sendall(chunk)
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    @staticmethod
    def _end(message: bytes, started: bool) -> int:
        return int.from_bytes(message[1:5]) + 1 if started else int.from_bytes(message[:4])

    def _to_client(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while chunk := server.recv(SLOW_CHUNK if self._bytes_per_second else CHUNK):
                if self._bytes_per_second:
                    time.sleep(len(chunk) / self._bytes_per_second)
                client.sendall(chunk)
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)


def main(listening: str, server: str, seen: str, bytes_per_second: str) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(listening)
    listener.listen(128)
    observer = Observer(server, seen, int(bytes_per_second))
    print("ready", flush=True)  # noqa: T201
    while True:
        observer.connect(listener.accept()[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
