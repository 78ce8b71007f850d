"""Answers the requests of a `farhand up` at the other end of the connection, one after the other.

A request is a line of JSON, `{"do": NAME, …}`, behind which the bytes may follow that it announces. Each is answered by
a line of JSON behind the word that the other side has chosen: whatever else is printed here, such as the greeting of a
shell, is not taken for an answer.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final

from farhand_client.up.there import keeping
from farhand_client.up.there.installation import (
    AnnouncedBytes,
    ArrivingWheel,
    current_name,
    forget_old,
    install,
    installations,
    switch,
)
from farhand_client.up.there.places import FarPlaces
from farhand_client.up.there.record import Record, locked
from farhand_client.up.there.settings import ServiceSettings, authorize, configure, host_key
from farhand_client.up.there.trouble import FarSideError, output_of, reported

MANNER: Final = "manner"
"""In the record: how the service was started (`keeping.Manner`)."""

RUNNING: Final = "running"
"""In the record: the installation from which the service runs."""

SERVED_CONFIG: Final = "served"
"""In the record: the digest of the configuration with which it was started, if farhand up has written that."""

PORT: Final = "port"
"""In the record: the port under which this service's key is known."""

SOCKET: Final = "socket"
"""In the record: the service's Unix socket."""

ACCOUNT: Final = "account"
"""In the record: the account that was made for the edge."""

SYSTEM_UNITS: Final = ("farhand-edge.socket", "farhand-edge.service", "farhandd.service", "farhand-host-key.service")


class FarSide:
    """This machine, as far as `farhand up` is concerned. Each public method does one kind of request."""

    def __init__(self, places: FarPlaces, environ: dict[str, str], umask: int, stdin: IO[bytes]) -> None:
        self._places = places
        self._environ = environ
        self._umask = umask
        self._stdin = stdin

    def look(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is here. Changes nothing."""
        places = self._places
        record = Record.load(places.record_file)
        manner, why = keeping.manager(places, self._environ)
        socket = record.facts.get(SOCKET)
        libc, version = platform.libc_ver()
        return {
            "user": places.user,
            "root": os.getuid() == 0,
            "host": platform.node(),
            "system": sys.platform,
            "machine": platform.machine(),
            "libc": [libc, version] if libc == "glibc" else ["musl", ""] if _has_musl() else [libc, version],
            "python": list(sys.version_info[:3]),
            "interpreter": os.path.realpath(sys.executable),
            "base": str(places.base),
            "installed": installations(places),
            "current": current_name(places),
            "manner": record.facts.get(MANNER) or manner,
            "why_detached": why,
            "lingers": places.system or keeping.lingers(places.user),
            "pid": keeping.service_pid(Path(socket)) if socket else None,
            "recorded": record.exists,
            "port": record.facts.get(PORT),
            "ipv6": Path("/proc/net/if_inet6").exists(),
            "others": _other_installation(places),
        }

    def install(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Receive and unpack wheels, if they are not here, and make them the installation in use."""
        name = str(request["name"])
        wheels = [ArrivingWheel(str(n), int(size), str(digest)) for n, size, digest in request["wheels"]]
        announced = AnnouncedBytes(self._stdin, sum(wheel.size for wheel in wheels))
        with announced, locked(self._places) as record:
            if wheels:
                install(self._places, record, name, wheels, announced, int(request["unpacked"]))
            before = current_name(self._places)
            switch(self._places, record, name)
            commands = [
                str(self._places.commands / program)
                for program in ("farhand", "farhandd")
                if record.symlink(self._places.commands / program, str(self._places.current / "bin" / program))
            ]
        return {"before": before, "commands": commands}

    def authorize(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Write the configuration and add keys; return the host key and what applies."""
        by_systemd = bool(request["by_systemd"])
        with locked(self._places) as record:
            if by_systemd:
                self._write_system_units(record, dict(request["units"]))
            settings = configure(self._places, record, list(request["listen"]), by_systemd=by_systemd)
            before = record.facts.get(PORT)
            record.facts |= {SOCKET: str(settings.socket), PORT: str(request["port"])}
            record.save()
            added = authorize(settings.key_file, record, list(request["keys"]))
            key = host_key(self._places, record)
        return {
            "added": added,
            "key_file": str(settings.key_file),
            "host_key": key,
            "port_before": int(before) if before else None,
            "config": str(self._places.config_file),
            "config_ours": settings.ours,
            "config_changed": settings.changed,
            "listen": settings.listen,
            "socket": str(settings.socket),
        }

    def start(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Start the service, or have a running one replace its program."""
        places = self._places
        with locked(places) as record:
            socket = Path(record.facts[SOCKET])
            name = current_name(places)
            pid = keeping.service_pid(socket)
            done = "started"
            served = self._served(record)
            if pid is not None and MANNER not in record.facts:
                raise FarSideError(
                    f"a service that farhand up has not started runs here (pid {pid}, {socket})", "stop it first"
                )
            if pid is None:
                self._start(record)
            elif record.facts.get(SERVED_CONFIG) != served and (request["force"] or self._runs() == 0):
                self._stop(record)
                self._start(record)
                done = "restarted"
            elif record.facts.get(RUNNING) != name:
                self.upgrade(record)
                if record.facts[MANNER] == "systemd":  # there, the edge is a unit of its own
                    keeping.systemctl(places, "try-restart", "farhand-edge.service", environ=self._environ)
                served = record.facts.get(SERVED_CONFIG, served)
                done = "upgraded"
            else:
                done = "restart needed" if record.facts.get(SERVED_CONFIG) != served else "running"
                served = record.facts.get(SERVED_CONFIG, served)
            record.facts |= {RUNNING: str(name), SERVED_CONFIG: served}
            record.save()
            pid = keeping.service_pid(socket)
            if pid is None:
                raise FarSideError(f"the service has started, but does not listen on {socket}", self._advice(record))
            forgotten = forget_old(places, record)
            manner, command = record.facts[MANNER], keeping.serve_words(places)
            return {"done": done, "pid": pid, "manner": manner, "command": command, "forgotten": forgotten}

    def remove(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Stop the service and take back what was made."""
        places = self._places
        if not Record.load(places.record_file).exists:
            return {"removed": False, "kept": [], "port": None}
        with locked(places) as record:
            runs = self._runs() if SOCKET in record.facts else 0
            if runs and not request["force"]:
                raise FarSideError(
                    f"{runs} run{'s' if runs > 1 else ''} still going on here", "wait for the end, or use --force"
                )
            self._stop(record)
            kept = record.take_back()
            if record.facts.get(MANNER, "detached") != "detached":
                keeping.systemctl(places, "daemon-reload", environ=self._environ, check=False)
            if ACCOUNT in record.facts and shutil.which("userdel"):
                output_of(["userdel", record.facts[ACCOUNT]], check=False)
            port = record.facts.get(PORT)
        return {"removed": True, "kept": kept, "port": int(port) if port else None}

    def upgrade(self, record: Record) -> None:
        """Have the running service replace its program; if it refuses, everything is as before."""
        try:
            output_of([str(self._places.farhandd), "upgrade", *self._options()], self._environ)
        except FarSideError as error:
            before = record.facts.get(RUNNING)
            if before in installations(self._places):
                switch(self._places, record, str(before))
            raise FarSideError(
                f"the service goes on with the old version: {error}", "--remove and up again start it anew"
            ) from None

    def _served(self, record: Record) -> str:
        """Return digests of what a service reads at its start, as far as farhand up has written it."""
        files = (self._places.config_file, self._places.units / "farhand-edge.socket")
        return " ".join(filter(None, map(record.digest, files)))

    def _start(self, record: Record) -> None:
        places, environ = self._places, self._environ
        manner, _ = keeping.manager(places, environ)
        record.facts[MANNER] = manner
        record.save()
        if manner == "detached":
            if places.system:
                record.directory(Path(record.facts[SOCKET]).parent)
            keeping.start_detached(places, record, environ, self._umask)
            return
        if manner == "systemd":
            names = ["farhandd.service", "farhand-edge.socket"]
        else:
            record.file(places.units / keeping.USER_UNIT, keeping.user_unit(places, environ).encode())
            names = [keeping.USER_UNIT]
        keeping.systemctl(places, "daemon-reload", environ=environ)
        try:
            keeping.systemctl(places, "enable", "--now", *names, environ=environ)
        except FarSideError as error:
            raise FarSideError(str(error), self._advice(record)) from None

    def _write_system_units(self, record: Record, units: dict[str, str]) -> None:
        record.directory(Path("/run/farhand"))
        for name, text in units.items():
            directory = {
                "sysusers.conf": Path("/etc/sysusers.d/farhand.conf"),
                "tmpfiles.conf": Path("/etc/tmpfiles.d/farhand.conf"),
            }.get(name, self._places.units / name)
            record.file(directory, text.encode())
        if not any(line.startswith("farhand-edge:") for line in Path("/etc/passwd").read_text().splitlines()):
            record.facts[ACCOUNT] = "farhand-edge"
            record.save()
        output_of(["systemd-sysusers", "/etc/sysusers.d/farhand.conf"])
        output_of(["systemd-tmpfiles", "--create", "/etc/tmpfiles.d/farhand.conf"])

    def _stop(self, record: Record) -> None:
        manner = record.facts.get(MANNER)
        if manner is None:
            return
        names = SYSTEM_UNITS if manner == "systemd" else (keeping.USER_UNIT,)
        if manner != "detached":
            keeping.systemctl(self._places, "disable", "--now", *names, environ=self._environ, check=False)
        pid = keeping.service_pid(Path(record.facts[SOCKET]))
        if pid is not None:
            keeping.stop_detached(pid)

    def _runs(self) -> int:
        """Return how many runs the service has; none if it does not answer."""
        try:
            printed = output_of([str(self._places.farhandd), "status", *self._options()], self._environ, check=False)
        except FarSideError:
            return 0
        found = re.search(r"(\d+) runs?,", printed)
        return int(found[1]) if found else 0

    def _options(self) -> list[str]:
        state = [] if self._places.system else ["--state-dir", str(self._places.state)]
        return ["--config", str(self._places.config_file), *state]

    def _advice(self, record: Record) -> str:
        manner = record.facts.get(MANNER)
        if manner == "systemd":
            return "journalctl -u farhandd says more there"
        return "journalctl --user -u farhandd says more there" if manner else ""


def answer(side: FarSide, request: Mapping[str, Any]) -> dict[str, Any]:
    """Do what a request asks for, and return the answer."""
    methods: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
        "look": side.look,
        "install": side.install,
        "authorize": side.authorize,
        "start": side.start,
        "remove": side.remove,
    }
    try:
        with reported("do that"):
            return {"ok": methods[str(request["do"])](request)}
    except FarSideError as error:
        return {"failed": str(error), "advice": error.advice}


def main(mark: str) -> None:
    """Answer requests from stdin until it ends."""
    answers = os.dup(1)
    os.set_inheritable(answers, False)
    os.dup2(2, 1)
    umask = os.umask(0o022)
    # What this side starts and stops must not end with the connection halfway.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    environ = dict(os.environ)
    side = FarSide(FarPlaces.of(system=os.getuid() == 0, environ=environ), environ, umask, sys.stdin.buffer)
    while line := sys.stdin.buffer.readline():
        text = f"{mark} {json.dumps(answer(side, json.loads(line)))}\n"
        os.write(answers, text.encode())


def _has_musl() -> bool:
    return any(Path("/lib").glob("ld-musl-*"))


def _other_installation(places: FarPlaces) -> str | None:
    """Return where deploy/install has installed a service of the system; None if it has not."""
    other = Path("/usr/local/lib/farhand")
    return str(other) if places.system and other.exists() else None


__all__ = ["FarSide", "ServiceSettings", "answer", "main"]
