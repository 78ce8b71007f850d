"""The interface between systemd and a service: readiness, the watchdog, and socket activation.

Each of these takes only a few lines, following the manual pages sd_notify(3), sd_watchdog_enabled(3) and
sd_listen_fds(3). libsystemd and its bindings would be a dependency that few machines have installed.
"""

import asyncio
import os
import socket
import time
from collections.abc import MutableMapping
from typing import NamedTuple

FIRST_DESCRIPTOR = 3
"""The first descriptor that systemd passes (SD_LISTEN_FDS_START, sd_listen_fds(3))."""


class Notifier:
    """Reports the service's state to the service manager. Without a service manager, every method does nothing.

    A message that cannot be delivered is not an error: methods return whether it was sent.
    """

    def __init__(self, address: str | None = None, watchdog: float | None = None) -> None:
        """Send messages to `address`, the value of NOTIFY_SOCKET: a path, or `@` and an abstract name. `watchdog` is
        the watchdog timeout in seconds."""
        self.watchdog_timeout = watchdog
        """Seconds of silence after which the service manager restarts the service; None without a watchdog."""
        self._socket: socket.socket | None = None
        if address is not None:
            self._address = "\0" + address[1:] if address.startswith("@") else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> "Notifier":
        """Return the notifier configured by the environment, and remove the variables, so that no child process uses
        them.

        WATCHDOG_PID, if set, must be our pid (sd_watchdog_enabled(3)). A value that is not a number is ignored.
        """
        address = environ.pop("NOTIFY_SOCKET", None)
        microseconds = environ.pop("WATCHDOG_USEC", "")
        watched = environ.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        known = address if address is not None and address[:1] in ("/", "@") else None
        watchdog = int(microseconds) / 1e6 if watched and microseconds.isascii() and microseconds.isdigit() else 0
        return cls(known, watchdog or None)

    def ready(self, status: str) -> bool:
        """Report that the service has started or reloaded and is serving requests."""
        return self._send("READY=1", _status(status))

    def reloading(self) -> bool:
        """Report that the configuration is being reloaded. Call `ready` afterwards, even if the reload is refused.

        systemd 253 and later (Type=notify-reload) uses MONOTONIC_USEC to tell this reload from an earlier one.
        """
        return self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str) -> bool:
        """Report that no new work is accepted."""
        return self._send("STOPPING=1", _status(status))

    def status(self, status: str) -> bool:
        """Set the line that `systemctl status` shows."""
        return self._send(_status(status))

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds between two watchdog messages: half the timeout, as sd_watchdog_enabled(3) advises."""
        return None if self.watchdog_timeout is None else self.watchdog_timeout / 2

    def watchdog(self) -> bool:
        """Report that this process works. Call this every `watchdog_interval` seconds."""
        return self._send("WATCHDOG=1")

    async def keep_watchdog(self) -> None:
        """Send WATCHDOG=1 every `watchdog_interval` seconds until cancelled.

        Run it in the event loop whose health it reports. Without a watchdog it returns at once.
        """
        while self._socket is not None and self.watchdog_interval is not None:
            self.watchdog()
            await asyncio.sleep(self.watchdog_interval)

    def environment(self) -> dict[str, str]:
        """Return the variables that `from_environment` removed, for a program that replaces this one in its process."""
        if self._socket is None:
            return {}
        variables = {"NOTIFY_SOCKET": self._address.replace("\0", "@", 1)}
        if self.watchdog_timeout is not None:
            variables["WATCHDOG_USEC"] = str(round(self.watchdog_timeout * 1e6))
            variables["WATCHDOG_PID"] = str(os.getpid())
        return variables

    def close(self) -> None:
        """Close the socket; no more messages are sent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *assignments: str) -> bool:
        if self._socket is None:
            return False
        try:
            # A full queue means that the service manager has stopped reading. Waiting for it would stop the service,
            # too.
            message = "\n".join(assignments).encode(errors="replace")
            self._socket.sendto(message, socket.MSG_DONTWAIT, self._address)
        except OSError:
            return False
        return True


def _status(text: str) -> str:
    # Assignments are separated by newlines, so a newline in the text would start another assignment.
    return "STATUS=" + " ".join(text.split())


class ListenSocket(NamedTuple):
    """A listening socket from a .socket unit, and its FileDescriptorName (default: the unit's name)."""

    name: str
    socket: socket.socket


def listen_sockets(environ: MutableMapping[str, str] = os.environ) -> list[ListenSocket]:
    """Return the listening sockets that systemd passed to this process; an empty list without socket activation.

    The sockets arrive inheritable; this sets CLOEXEC and removes the variables. Call this once, before anything else
    opens a descriptor or starts a process. Raises ValueError if the variables name anything but listening stream
    sockets.
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
            passed = socket.socket(fileno=descriptor)
        except OSError as error:
            raise ValueError(f"LISTEN_FDS: descriptor {descriptor}: {error.strerror}") from None
        if passed.type != socket.SOCK_STREAM or not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            passed.detach()
            raise ValueError(f"LISTEN_FDS: descriptor {descriptor} is not a listening stream socket")
        passed.setblocking(False)
        found.append(ListenSocket(names[number] if number < len(names) else "unknown", passed))
    return found
