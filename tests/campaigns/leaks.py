"""Secrets that a run is given: in no command line, no log, and no message."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import farhand_client
from farhand_client import FarhandError

from .harness import Campaign, Figure, Setting, none_of
from .services import USER, network_service, port_of

SECRET: Final = "hunter2-" + "s3cr3t" * 3

NAMES: Final = (
    *("PASSWORD", "COMPOSE_PASSWORD", "HISTFILE", "HISTX", "COMP_X", "BASH_X", "BASH_ENV_X", "PS1", "PS4", "LD_X"),
    *("a.b", "1st", "with-dash", "IFS_X", "FUNCNAME", "DIRSTACK", "GROUPS", "SHELLOPTS_X", "_", "RANDOM"),
)
"""Names of variables: ordinary ones, such as shells keep for themselves, and such as are no identifiers."""


class Seen:
    """Where the secret was seen on command lines."""

    def __init__(self) -> None:
        self.scans = 0
        self.lines: set[str] = set()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look at all command lines, again and again, in a thread."""
        over = threading.Event()

        def watch() -> None:
            needle = SECRET.encode()
            while not over.is_set():
                for entry in Path("/proc").iterdir():
                    if entry.name.isdigit():
                        with contextlib.suppress(OSError):
                            line = (entry / "cmdline").read_bytes()
                            if needle in line:
                                self.lines.add(line[:200].decode(errors="replace"))
                self.scans += 1

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


async def measure(setting: Setting) -> Sequence[Figure]:
    """Start runs with the secret in their environment and stdin, as this account and as another one."""
    count = setting.size(60, 3000)
    directory = setting.subdirectory("service")
    seen, errors, started = Seen(), [], 0
    key = directory / "key"
    config = f'[login]\nauthorized_keys = ["{directory}/{{user}}.keys"]\n'
    users = [USER, *_others()]
    async with network_service(directory, config) as service:
        for user in users:
            allowed = directory / f"{user}.keys"
            allowed.write_text(key.with_name("key.pub").read_text())
            allowed.chmod(0o644)
        with seen.watching():
            for user in users:
                async with farhand_client.connect(
                    f"{user}@127.0.0.1:{port_of(service)}", identities=[key], known_hosts=directory / "known_hosts"
                ) as client:
                    for number in range(count):
                        name = NAMES[number % len(NAMES)]
                        text = number % 3 == 0 and user == USER  # the other account has no shell
                        args = "cat >/dev/null; exit 0" if text else ["sh", "-c", "cat >/dev/null"]
                        try:
                            done = await client.run(
                                args, env={name: SECRET}, input=SECRET.encode(), cwd="/", shell=text
                            )
                            started += done.returncode == 0
                        except FarhandError as error:
                            errors.append(str(error))
                        await asyncio.sleep(0)
    texts = {"the log": service.log, "an error": "\n".join(errors)}
    texts |= {str(path): path.read_text(errors="replace") for path in directory.rglob("audit*") if path.is_file()}
    texts |= {str(path): path.read_text(errors="replace") for path in directory.rglob("history*") if path.is_file()}
    told = [where for where, text in texts.items() if SECRET in text]
    return [
        none_of("command lines with a secret", len(seen.lines), seen.scans, note="; ".join(seen.lines)),
        none_of("logs, records and errors with a secret", len(told), len(texts), note=", ".join(told)),
        Figure("runs", f"{started:,} as {' and '.join(users)}, {len(errors)} refused; {seen.scans:,} looks at /proc"),
    ]


def _others() -> list[str]:
    """Return another account that may log in, if there is one: for it, the service must change the user."""
    if os.geteuid() != 0:
        return []
    shells = Path("/etc/shells").read_text().split()
    passwords = dict(line.split(":")[:2] for line in Path("/etc/shadow").read_text().splitlines())
    for account in pwd.getpwall():
        locked = passwords.get(account.pw_name, "!").startswith("!")
        if account.pw_uid and account.pw_shell in shells and not locked:
            return [account.pw_name]
    return []


CAMPAIGN = Campaign("leaks", "Secrets that runs are given.", measure, short=90, nightly=1800)
