"""Lines of JSON between the supervisor and one of its processes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

CHUNK = 65536
BACKLOG = 1 << 20
"""Bytes kept for a process that does not read; beyond them a message is refused."""


class Channel:
    """One end of a socket pair. Neither `send` nor `receive` ever waits; used by one thread."""

    def __init__(self, control: socket.socket) -> None:
        control.setblocking(False)
        self._socket = control
        self._incoming = b""
        self._outgoing = bytearray()
        self.ended = False
        """Whether the other side is gone: nothing more will come."""

    def fileno(self) -> int:
        """For selectors; -1 once closed."""
        return self._socket.fileno()

    @property
    def pending(self) -> bool:
        """Whether something waits for `flush`."""
        return bool(self._outgoing)

    def send(self, message: Mapping[str, Any]) -> bool:
        """Hand over a message, now or by a later `flush`; False if the other side is gone or has not read for long."""
        if self.ended or len(self._outgoing) > BACKLOG:
            return False
        self._outgoing += json.dumps(message).encode() + b"\n"
        self.flush()
        return not self.ended

    def flush(self) -> None:
        """Write what fits."""
        try:
            while self._outgoing:
                del self._outgoing[: self._socket.send(self._outgoing)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._outgoing.clear()
            self.ended = True

    def receive(self) -> list[dict[str, Any]]:
        """The messages that have come whole."""
        try:
            while chunk := self._socket.recv(CHUNK):
                self._incoming += chunk
            self.ended = True
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.ended = True
        *lines, self._incoming = self._incoming.split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Let go of the socket. Twice is fine."""
        self._socket.close()
