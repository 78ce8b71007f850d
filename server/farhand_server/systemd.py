"""What systemd and a service say to each other: readiness, the watchdog, and sockets handed over.

Each of these is a few lines by their manual pages, sd_notify(3), sd_watchdog_enabled(3) and
sd_listen_fds(3); libsystemd and its bindings would be a dependency that few machines have installed.
"""

import asyncio
import os
import socket
import time
from collections.abc import MutableMapping
from typing import NamedTuple

FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START."""


class Notifier:
    """Tells the service manager about our state; without one, every method does nothing.

    A message that cannot be delivered is not an error of ours: methods return whether it was sent.
    """

    def __init__(self, address: str | None = None, watchdog: float | None = None) -> None:
        """*address* is NOTIFY_SOCKET's value: a path, or `@` and an abstract name; *watchdog* is in seconds."""
        self.watchdog_timeout = watchdog
        """Seconds of silence after which the service manager restarts us; None where it does not watch."""
        self._socket: socket.socket | None = None
        if address is not None:
            self._address = "\0" + address[1:] if address.startswith("@") else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> "Notifier":
        """What the environment asks for. The variables are taken out, so that no child speaks in our name.

        WATCHDOG_PID, where set, must be ours (sd_watchdog_enabled(3)). A value that is no number is ignored.
        """
        address = environ.pop("NOTIFY_SOCKET", None)
        microseconds = environ.pop("WATCHDOG_USEC", "")
        watched = environ.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        known = address if address is not None and address[:1] in ("/", "@") else None
        watchdog = int(microseconds) / 1e6 if watched and microseconds.isascii() and microseconds.isdigit() else 0
        return cls(known, watchdog or None)

    def ready(self, status: str) -> bool:
        """Started, or reloaded: requests are served from now on."""
        return self._send("READY=1", _status(status))

    def reloading(self) -> bool:
        """The configuration is being read again; `ready` must follow, also where it is refused.

        MONOTONIC_USEC lets systemd 253 and later (Type=notify-reload) tell this reload from an earlier one.
        """
        return self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str) -> bool:
        """No new work is taken."""
        return self._send("STOPPING=1", _status(status))

    def status(self, status: str) -> bool:
        """One line for `systemctl status`."""
        return self._send(_status(status))

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds between two signs of life: half the timeout, as sd_watchdog_enabled(3) advises."""
        return None if self.watchdog_timeout is None else self.watchdog_timeout / 2

    async def keep_watchdog(self) -> None:
        """Says WATCHDOG=1 at every `watchdog_interval`, until cancelled.

        Run it in the event loop whose life it vouches for. Returns at once where nobody watches.
        """
        while self._socket is not None and self.watchdog_interval is not None:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_interval)

    def environment(self) -> dict[str, str]:
        """What `from_environment` has taken out, for a program that takes our place in this process."""
        if self._socket is None:
            return {}
        told = {"NOTIFY_SOCKET": self._address.replace("\0", "@", 1)}
        if self.watchdog_timeout is not None:
            told["WATCHDOG_USEC"] = str(round(self.watchdog_timeout * 1e6))
            told["WATCHDOG_PID"] = str(os.getpid())
        return told

    def close(self) -> None:
        """Says nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *assignments: str) -> bool:
        if self._socket is None:
            return False
        try:
            # A full queue means a service manager that has stopped reading; waiting for it would stop us too.
            message = "\n".join(assignments).encode(errors="replace")
            self._socket.sendto(message, socket.MSG_DONTWAIT, self._address)
        except OSError:
            return False
        return True


def _status(text: str) -> str:
    # Assignments are separated by newlines: one within the text would begin another.
    return "STATUS=" + " ".join(text.split())


class ListenSocket(NamedTuple):
    """A listening socket from a .socket unit, and its FileDescriptorName (by default the unit's name)."""

    name: str
    socket: socket.socket


def listen_sockets(environ: MutableMapping[str, str] = os.environ) -> list[ListenSocket]:
    """The listening sockets that systemd started us with; empty where it did not.

    They arrive inheritable and are made CLOEXEC here; the variables are taken out. Call it once, before
    anything else opens a descriptor or starts a process.

    Raises ValueError where the variables name something that is not a listening stream socket.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()):
        return []
    if not (count.isascii() and count.isdigit()):
        raise ValueError(f"LISTEN_FDS is not a number: {count[:20]!r}")
    found = []
    for number in range(int(count)):
        descriptor = FIRST_DESCRIPTOR + number
        try:
            os.set_inheritable(descriptor, False)
            handed = socket.socket(fileno=descriptor)
        except OSError as error:
            raise ValueError(f"LISTEN_FDS: descriptor {descriptor}: {error.strerror}") from None
        if handed.type != socket.SOCK_STREAM or not handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            handed.detach()
            raise ValueError(f"LISTEN_FDS: descriptor {descriptor} is not a listening stream socket")
        handed.setblocking(False)
        found.append(ListenSocket(names[number] if number < len(names) else "unknown", handed))
    return found
