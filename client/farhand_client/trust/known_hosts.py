"""The known_hosts file: the keys of services, looked up and recorded. Its lines are read by `host_lines`."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from farhand_client.trust import KnownHostsError
from farhand_client.trust.files import read_small_file
from farhand_client.trust.host_lines import (
    MAX_KNOWN_HOSTS_SIZE,
    NOT_IN_A_NAME,
    HostKeyState,
    host_lines,
    look_up,
    names_service,
    service_names,
)
from farhand_protocol import sshformat
from farhand_protocol.sshformat import PublicKey


class HostKeyCheck(NamedTuple):
    """The result of looking up a key."""

    state: HostKeyState
    name: str
    """The name of the service in the file: `name`, or `[name]:port`."""
    path: Path
    line: int | None = None
    """The number of the decisive line, from 1; None for an unknown service."""
    stored: str | None = None
    """For a changed key the fingerprint on that line; None if its key cannot be read."""
    problem: str = ""
    """Why that line's key cannot be read."""


class KnownHosts:
    """A known_hosts file, read again at every call; it need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self, host: str, port: int, key: PublicKey) -> HostKeyCheck:
        """Look up a service's key.

        Any line for the service with the key makes it known, unless a @revoked line has the key, too. A line for the
        service whose key or marker is invalid counts as one with another key. Raises KnownHostsError if the file cannot
        be read or is larger than MAX_KNOWN_HOSTS_SIZE.
        """
        return self._check(self._read(), host, port, key)

    def add(
        self,
        host: str,
        port: int,
        key: PublicKey,
        *,
        replace: bool = False,
        given_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """Record a key for a service, unless it is already known.

        With `replace`, the service's other keys are removed. Several processes may do this at once: each waits for the
        others, and if `given_up` returns true after that, nothing is recorded. Raises KnownHostsError for a changed key
        without `replace`, for a revoked key, for a name that would mean something else in the file, and if the file
        cannot be written. The file is created with mode 0600, its directory with 0700.
        """
        names = service_names(host, port)
        try:
            with self._locked():
                if given_up():
                    return
                data = self._read()
                found = self._check(data, host, port, key)
                if found.state == "known":
                    return
                where = f"{found.path}:{found.line}"
                if found.state == "revoked":
                    raise KnownHostsError(f"{where}: the key {key.fingerprint} of {names[0]} is revoked")
                if found.state == "changed" and not replace:
                    raise KnownHostsError(f"{where} has another key for {names[0]}; remove that line first")
                line = f"{names[0]} {sshformat.format_public_key_line(key)}\n".encode()
                if found.state == "unknown":
                    self._append(data, line)
                else:
                    self._rewrite(self._without(data, names), line)
        except OSError as error:
            raise KnownHostsError(f"cannot write {self.path}: {error.strerror}") from None

    def forget(self, host: str, port: int) -> bool:
        """Remove the keys of a service, and return whether there were any. An empty file is removed.

        Raises KnownHostsError if the file cannot be written, or names the service by a pattern.
        """
        names = service_names(host, port)
        try:
            if not self.path.exists():
                return False
            with self._locked():
                data = self._read()
                left = self._without(data, names)
                if left == data:
                    return False
                if left:
                    self._rewrite(left, b"")
                else:
                    self.path.unlink()
        except OSError as error:
            raise KnownHostsError(f"cannot write {self.path}: {error.strerror}") from None
        return True

    def names(self) -> list[str]:
        """Return the names of services that can be read from the file: no hashes, no patterns. None on an error."""
        try:
            entries = list(host_lines(self._read()))
        except KnownHostsError:
            return []
        names = [name for entry in entries if not entry.marker for name in entry.hosts.split(",")]
        names = [name[1:].partition("]")[0] if name.startswith("[") else name for name in names]
        return [name for name in names if NOT_IN_A_NAME.isdisjoint(name)]

    def _read(self) -> bytes:
        try:
            return read_small_file(self.path, MAX_KNOWN_HOSTS_SIZE) or b""
        except ValueError as error:
            raise KnownHostsError(str(error)) from None

    def _check(self, data: bytes, host: str, port: int, key: PublicKey) -> HostKeyCheck:
        names = service_names(host, port)
        state, entry = look_up(data, names, key)
        if entry is None:
            return HostKeyCheck(state, names[0], self.path)
        if state != "changed":
            return HostKeyCheck(state, names[0], self.path, entry.line)
        stored = None if entry.key is None else entry.key.fingerprint
        return HostKeyCheck(state, names[0], self.path, entry.line, stored, entry.problem)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # Lock the directory, not the file: the file may be replaced while we wait for its lock.
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)

    def _append(self, data: bytes, line: bytes) -> None:
        if data and not data.endswith(b"\n"):
            line = b"\n" + line
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        try:
            if os.write(descriptor, line) != len(line):
                os.ftruncate(descriptor, len(data))
                raise KnownHostsError(f"cannot write {self.path}: the disk is full")
        finally:
            os.close(descriptor)

    def _rewrite(self, data: bytes, line: bytes) -> None:
        real = Path(os.path.realpath(self.path))
        new = real.with_name(f"{real.name}.{os.getpid()}.new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data + line)
                file.flush()
                os.fsync(descriptor)
            new.replace(real)
        except BaseException:
            new.unlink(missing_ok=True)
            raise

    def _without(self, data: bytes, names: tuple[str, ...]) -> bytes:
        """Return the file without these names; other names on the same line are kept."""
        lines = data.splitlines(keepends=True)
        for entry in host_lines(data):
            if entry.marker or not names_service(entry.hosts, names):
                continue
            if entry.hosts.startswith("|"):
                lines[entry.line - 1] = b""
                continue
            items = entry.hosts.split(",")
            left = [item for item in items if item.lower() not in names]
            if left and names_service(",".join(left), names):
                raise KnownHostsError(
                    f"{self.path}:{entry.line} has another key for {names[0]} by a pattern; edit that line first"
                )
            old, new = entry.hosts.encode(errors="surrogateescape"), ",".join(left).encode(errors="surrogateescape")
            lines[entry.line - 1] = lines[entry.line - 1].replace(old, new, 1) if left else b""
        kept = b"".join(lines)
        return kept if not kept or kept.endswith(b"\n") else kept + b"\n"
