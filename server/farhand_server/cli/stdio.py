"""`farhandd stdio`: joins stdin and stdout to the socket of this machine's service, for whatever carries the bytes.

A client starts it through ssh for each connection, so that it must be quick: it imports neither argparse nor pydantic,
and reads the configuration only for where the socket is. It ends when the service has closed the connection, when
nobody reads stdout any more, or by a signal.
"""

from __future__ import annotations

import os
import sys

from farhand_protocol.stdio import NO_SERVICE, STDIO_READY

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import socket
    from collections.abc import Mapping, Sequence
    from typing import Final

COPY_SIZE: Final = 1 << 18
"""Bytes that are copied at once, each way: what a socket holds by default (net.core.wmem_default), and a little
more."""

USAGE: Final = 2

_F_SETPIPE_SZ = 1031  # fcntl(2)
_SYSTEM_CONFIG = "/etc/farhand/farhandd.toml"
_MAX_CONFIG_FILE = 1 << 20  # as in `config.load`
_NAME = "farhand/farhandd.sock"


def stdio(options: argparse.Namespace) -> int:
    """Run the command with parsed options."""
    return join(options.socket)


def plain_socket(arguments: Sequence[str]) -> tuple[bool, str | None]:
    """Return whether these arguments need no parser, and the value of `--socket`."""
    match list(arguments):
        case ["stdio"]:
            return True, None
        case ["stdio", "--socket", path] if not path.startswith("-"):
            return True, path
        case ["stdio", word] if word.startswith("--socket="):
            return True, word.removeprefix("--socket=")
        case _:
            return False, None


def join(path: str | None) -> int:
    """Join stdin and stdout to the socket at `path`, or to the service's that is found; return the exit code."""
    import signal

    # However this process was started, a signal ends it; a write to nobody is an error.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    candidates = [path] if path is not None else socket_paths(os.environ, os.geteuid())
    service, failures = _connected(candidates)
    if service is None:
        _say(_nobody_answers(failures))
        return NO_SERVICE
    try:
        _write_all(1, STDIO_READY)
    except OSError as error:
        _say(f"cannot write to stdout: {error.strerror}")
        return 255
    _copy(service)
    return 0


def socket_paths(environ: Mapping[str, str], uid: int) -> list[str]:
    """Return where the service of the account `uid` listens, the likeliest first, and then the system's.

    A login by ssh need not have the XDG_RUNTIME_DIR of the session in which the service was started.
    """
    home = environ.get("HOME") or _home(uid)
    root = uid == 0

    def base(variable: str, default: str) -> str:
        value = environ.get(variable, "")
        return value if value.startswith("/") else default

    state = base("XDG_STATE_HOME", "/var/lib" if root else f"{home}/.local/state")
    runtime = base("XDG_RUNTIME_DIR", "/run" if root else state)
    config = f"{base('XDG_CONFIG_HOME', f'{home}/.config')}/farhand"
    file = _SYSTEM_CONFIG if root and not environ.get("XDG_CONFIG_HOME") else f"{config}/farhandd.toml"
    directories = {"~": home, "{config}": config, "{state}": f"{state}/farhand", "{runtime}": f"{runtime}/farhand"}
    found = [_configured(file, directories), f"{runtime}/{_NAME}", f"/run/user/{uid}/{_NAME}", f"{state}/{_NAME}"]
    found.append(f"/run/{_NAME}")
    return list(dict.fromkeys(each for each in found if each is not None))


def _configured(file: str, directories: dict[str, str]) -> str | None:
    """Return the socket's path in a configuration file; None if it has none, or `farhandd check` would refuse it."""
    try:
        with open(file, "rb") as stream:
            text = stream.read(_MAX_CONFIG_FILE + 1)
    except OSError:
        return None
    if b"socket" not in text and b"state_dir" not in text:
        return None
    import tomllib

    try:
        data = tomllib.loads(text.decode())
    except (ValueError, RecursionError):
        return None
    for key, name in (("state_dir", "{state}"), ("socket", "{socket}")):
        value = data.get(key)
        if isinstance(value, str):
            first, slash, rest = value.partition("/")
            if first and first not in directories:
                return None
            if key == "state_dir" and directories["{runtime}"] == directories["{state}"]:
                directories["{runtime}"] = f"{directories.get(first, '')}{slash}{rest}"
            directories[name] = f"{directories.get(first, '')}{slash}{rest}"
    return os.path.normpath(directories.get("{socket}") or f"{directories['{runtime}']}/farhandd.sock")


def _home(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return os.devnull


def _connected(paths: Sequence[str]) -> tuple[socket.socket | None, list[tuple[str, OSError]]]:
    """Return a connection to the first socket at which somebody answers; why the others could not be used."""
    import socket

    failures: list[tuple[str, OSError]] = []
    for path in paths:
        service = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            service.connect(path)
        except OSError as error:  # also for a path that is too long
            service.close()
            failures.append((path, error))
        else:
            return service, failures
    return None, failures


def _nobody_answers(failures: list[tuple[str, OSError]]) -> str:
    refused = [f"{path}: {error.strerror or error}" for path, error in failures if not isinstance(error, _ABSENT)]
    if refused:
        return f"cannot connect to the service's socket {'; '.join(refused)}"
    places = " or ".join(path for path, _ in failures)
    unit = "systemctl start farhandd" if os.geteuid() == 0 else "systemctl --user start farhandd"
    return f"no service answers on {places}; start one: farhandd serve, or where systemd starts it: {unit}"


_ABSENT = (FileNotFoundError, ConnectionRefusedError, NotADirectoryError)


def _copy(service: socket.socket) -> None:
    """Copy both ways until the service has closed the connection, or nobody reads stdout any more."""
    import _thread

    for fd in (0, 1):
        os.set_blocking(fd, True)
    _thread.start_new_thread(_copy_stdin, (service,))
    try:  # noqa: SIM105  # contextlib takes longer to import
        _copy_one_way(service.fileno(), 1)
    except OSError:
        pass  # one of the two is gone, and the other learns it by the end of this process


def _copy_stdin(service: socket.socket) -> None:
    import socket

    try:  # noqa: SIM105  # as above
        _copy_one_way(0, service.fileno())
    except OSError:
        pass  # either way, nothing more will come
    try:  # noqa: SIM105  # as above
        service.shutdown(socket.SHUT_WR)  # what the service still has to say arrives
    except OSError:
        pass


def _copy_one_way(source: int, sink: int) -> None:
    """Copy until the end of `source`. Raises OSError."""
    import errno
    import fcntl

    reading, writing = os.pipe()
    try:  # noqa: SIM105  # as above
        fcntl.fcntl(writing, _F_SETPIPE_SZ, COPY_SIZE)
    except OSError:
        pass  # this user has too many large ones
    try:
        # Between a pipe and a socket the kernel hands over pages: that takes 0.4 of the time of reading and writing.
        while count := os.splice(source, writing, COPY_SIZE):
            while count:
                count -= os.splice(reading, sink, count)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    else:
        return
    # A terminal, or a file that is appended to. What is in the pipe came first; nothing is, if `source` was at fault.
    os.close(writing)
    while data := os.read(reading, COPY_SIZE):
        _write_all(sink, data)
    while data := os.read(source, COPY_SIZE):
        _write_all(sink, data)


def _write_all(fd: int, data: bytes | memoryview) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _say(sentence: str) -> None:
    sys.stderr.write(f"farhandd: {sentence.encode('utf-8', 'backslashreplace').decode()}\n")
    sys.stderr.flush()
