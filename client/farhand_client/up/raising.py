"""The steps of `farhand up HOST`. Each says what it did, or that there was nothing to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from farhand_client.config import config_directory, home_directory
from farhand_client.connection.address import Address, resolve
from farhand_client.connection.deadline import connect_deadline
from farhand_client.connection.dial import fetch_key
from farhand_client.connection.ssh_program import find_ssh
from farhand_client.connector import connect
from farhand_client.directories import DEFAULT_PORT
from farhand_client.errors import ConnectError, FarhandError
from farhand_client.trust import KnownHostsError
from farhand_client.trust.known_hosts import KnownHosts
from farhand_client.ui.printing import print_message
from farhand_client.ui.prompts import ask_passphrase, lend_terminal
from farhand_protocol import sshformat
from farhand_protocol.sentences import counted, printable, shell_quoted
from farhand_protocol.sshformat import PublicKey

from .conversation import FarConversation, UpFailed, facts_text
from .fitting import FarPlatform
from .host_section import changed_file, not_by_ssh, section_of, sections_of, with_host
from .offered_keys import fingerprint_of, offered_keys
from .ssh import SshDestination, destination
from .system_units import system_units
from .wheelhouse import Wheelhouse, downloaded, wheelhouse

REACH_TIMEOUT: Final = 5.0
"""Seconds in which the port must answer. A firewall that drops packets looks like silence; a slow network does not need
half of it."""

NO_LISTENING: Final = "none"
"""The value of --listen with which the service has no port of its own."""

ShowStep = Callable[..., None]
"""Shows a step: its name, a sentence, and whether it has changed anything; further values are for programs."""


@dataclass(frozen=True, slots=True)
class UpRequest:
    """What the user wants."""

    host: str
    name: str | None = None
    port: int = DEFAULT_PORT
    listen: tuple[str, ...] = ()
    python: str | None = None
    system: bool = False
    identities: tuple[Path, ...] = ()
    dry_run: bool = False
    force: bool = False


def raise_host(request: UpRequest, show: ShowStep) -> str:
    """Install, start and name the service. Return the name under which it can be used. Raises `FarhandError`."""
    ssh = find_ssh()
    path = config_directory() / "config.toml"
    section = section_of(path, request.host)
    made_for = section and section.made_for
    target = destination(ssh, made_for or request.host)
    name = request.name or (request.host if made_for else target.name)
    _check_name_free(name, request.host)
    keys = asyncio.run(offered_keys(request.identities))
    with FarConversation(ssh, target, system=request.system, python=request.python) as far:
        far.begin()
        try:
            facts = far.ask("look")
        except ConnectError as error:
            raise not_by_ssh(error, section, path) from None
        _check(facts, request)
        show("connect", f"{target.text}: {facts_text(facts)}", changed=False, facts=facts)
        platform = FarPlatform.of(facts)
        house = wheelhouse(platform)
        if request.dry_run:
            _plan(request, target, name, facts, house, keys, show)
            return name
        _install(far, facts, house, platform, show)
        listen = _listen(request, facts)
        by_systemd = facts["manner"] == "systemd"
        units = system_units(request.port, request.listen) if by_systemd else {}
        settings = far.ask("authorize", listen=listen, keys=keys, by_systemd=by_systemd, units=units, port=request.port)
        listening = bool(listen if by_systemd else settings["listen"])
        listens = " and ".join(listen if by_systemd else settings["listen"]) or "no port of its own"
        _show_settings(settings, keys, listens, show)
        started = far.ask("start", force=request.force)
        _show_started(started, facts, show)
    if settings["port_before"] not in (None, request.port):
        _unpin(target.host, settings["port_before"])
    address = _reached(request, target, facts, settings["host_key"], listening, show)
    _name_host(name, address, target, show)
    asyncio.run(_run_true(name, request))
    show("run", "true has run there", changed=False)
    return name


def _check_name_free(name: str, host: str) -> None:
    """Fail before anything is changed anywhere. Raises `AddressError`."""
    path = config_directory() / "config.toml"
    resolve(name)  # what is no name for a host is none for a section
    text = path.read_text(errors="replace") if path.exists() else ""
    for section in sections_of(text):
        if section.name == name and section.made_for is None:
            # The same address is no conflict, but which one it will be is only known later.
            with_host(text, name, section.address, host)


def _check(facts: dict[str, Any], request: UpRequest) -> None:
    if facts["system"] != "linux":
        raise UpFailed(f"{facts['host']} runs {facts['system']}; the service needs Linux")
    if facts["others"]:
        raise UpFailed(
            f"on {facts['host']}, deploy/install has installed Farhand in {facts['others']}; "
            "update it in the same way, or run deploy/install --uninstall there first"
        )


def _install(
    far: FarConversation, facts: dict[str, Any], house: Wheelhouse, platform: FarPlatform, show: ShowStep
) -> None:
    there = house.name in facts["installed"]
    wheels: list[tuple[str, bytes]] = []
    if not there:
        if house.missing:
            wheels += downloaded(house.missing, platform, lambda text: show("fetch", text, changed=False))
        wheels += house.built()
    import hashlib

    announced = [(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in wheels]
    size = sum(len(data) for _, data in wheels)
    unpacked = house.unpacked() + 4 * sum(len(data) for _, data in wheels[: len(wheels) - len(house.wheels)])
    done = far.ask(
        "install", [data for _, data in wheels], name=house.name, wheels=announced, unpacked=unpacked if wheels else 0
    )
    where = f"{facts['base']}/{house.name}"
    if there and done["before"] == house.name:
        show("install", f"{where} was there", changed=False)
    else:
        sent = f" ({counted(len(wheels), 'wheel')}, {size / (1 << 20):.1f} MiB)" if wheels else ""
        before = f", instead of {done['before']}" if done["before"] not in (None, house.name) else ""
        show("install", f"{where}{sent}{before}", changed=True)
        if done["commands"]:
            show("install", f"{' and '.join(done['commands'])} lead to it", changed=True)


def _listen(request: UpRequest, facts: dict[str, Any]) -> list[str]:
    if request.listen == (NO_LISTENING,):
        return []
    # As sshd: what is reachable by ssh is meant to be reached, and only keys that were authorized log in.
    hosts = request.listen or (("0.0.0.0", "::") if facts["ipv6"] else ("0.0.0.0",))  # nosec B104
    return [f"[{host}]:{request.port}" if ":" in host else f"{host}:{request.port}" for host in hosts]


def _show_settings(settings: dict[str, Any], keys: Sequence[str], listen: str, show: ShowStep) -> None:
    if settings["config_ours"]:
        show("configure", f"{settings['config']}: it listens on {listen}", changed=settings["config_changed"])
    else:
        show(
            "configure",
            f"{settings['config']} is not from farhand up, and stays as it is: it listens on {listen}",
            changed=False,
        )
    for line in keys:
        new = line in settings["added"]
        show("authorize", f"{fingerprint_of(line)} in {settings['key_file']}{'' if new else ' was there'}", changed=new)


def _show_started(started: dict[str, Any], facts: dict[str, Any], show: ShowStep) -> None:
    pid, manner, user = started["pid"], started["manner"], facts["user"]
    how = {"systemd": "by systemd", "systemd --user": "by systemd --user"}.get(manner, "on its own")
    sentences = {
        "started": f"started {how}, pid {pid}",
        "restarted": f"started again {how} with its new configuration, pid {pid}",
        "upgraded": f"pid {pid} now runs the new version; its runs continue",
        "running": f"runs {how}, pid {pid}",
        "restart needed": f"runs with its old configuration, pid {pid}, because runs are going on; "
        "--force starts it again, which stops them",
    }
    done = started["done"]
    show("start", sentences[done], changed=done not in ("running", "restart needed"), pid=pid, manner=manner)
    for name in started["forgotten"]:
        show("start", f"removed the old installation {name}", changed=True)
    if manner == "detached":
        why = facts["why_detached"]
        command = shell_quoted(started["command"])
        show(
            "keep",
            f"it will not survive a restart of that machine{f': {why}' if why else ''}. To keep it, add this line "
            f"there with crontab -e:\n@reboot {command} >/dev/null 2>&1",
            changed=False,
        )
    elif manner == "systemd --user" and not facts["lingers"]:
        show(
            "keep",
            f"it ends with the last login session of {user}, and starts with the first. To keep it: "
            f"ssh there and run loginctl enable-linger {user}",
            changed=False,
        )


def _reached(
    request: UpRequest,
    target: SshDestination,
    facts: dict[str, Any],
    host_key: str,
    listening: bool,
    show: ShowStep,
) -> str:
    """Pin the key, and return the address at which the service answers with it: by itself, or carried by ssh."""
    why = "it listens on no port"
    if listening:
        key = sshformat.parse_public_key_line(host_key)[0]
        _pin(target.host, request.port, key, show)
        host = f"[{target.host}]" if ":" in target.host else target.host
        place = host if request.port == DEFAULT_PORT else f"{host}:{request.port}"
        try:
            answering = asyncio.run(_answering_key(Address(host=target.host, port=request.port)))
        except ConnectError as error:
            why = str(error)
        else:
            if answering.blob == key.blob:
                address = f"{facts['user']}@{place}"
                show("reach", f"{place} answers", changed=False, address=address)
                return address
            why = f"at {place} another service answers, with the key {answering.fingerprint}"
    address = f"ssh:{target.text}"
    show("reach", f"{printable(why)}. So ssh is to carry the connection: {address}", changed=False, address=address)
    return address


async def _answering_key(address: Address) -> PublicKey:
    async with connect_deadline(REACH_TIMEOUT) as deadline:
        return await fetch_key(address, deadline)


def _pin(host: str, port: int, key: PublicKey, show: ShowStep) -> None:
    known_hosts = KnownHosts(config_directory() / "known_hosts")
    try:
        before = known_hosts.check(host, port, key).state
        known_hosts.add(host, port, key, replace=True)
    except KnownHostsError as error:
        raise FarhandError(f"the host key is not recorded here: {error}") from None
    ending = {"known": " was there", "changed": ", instead of another one"}.get(before, "")
    place = f"{host}:{port}" if port != DEFAULT_PORT else host
    show("pin", f"{key.fingerprint} for {place} in {known_hosts.path}{ending}", changed=before != "known")


def _unpin(host: str, port: int) -> None:
    """Forget the key under the port that the service had before."""
    try:
        KnownHosts(config_directory() / "known_hosts").forget(host, port)
    except KnownHostsError as error:
        raise FarhandError(f"the host key is still recorded for the old port: {error}") from None


async def _run_true(name: str, request: UpRequest) -> None:
    async with connect(
        name,
        identities=request.identities,
        passphrase=ask_passphrase,
        touch=print_message,
        reconnect=None,
        lend_terminal=lend_terminal,
    ) as client:
        await client.run(["true"], check=True)


def _name_host(name: str, address: str, target: SshDestination, show: ShowStep) -> None:
    path = config_directory() / "config.toml"
    with changed_file(path) as texts:
        before = texts[0]
        texts[0] = with_host(before, name, address, target.text)
    changed = texts[0] != before
    show("name", f"{name} is {address} in {_short(path)}{'' if changed else ', as before'}", changed=changed)


def _plan(
    request: UpRequest,
    target: SshDestination,
    name: str,
    facts: dict[str, Any],
    house: Wheelhouse,
    keys: Sequence[str],
    show: ShowStep,
) -> None:
    """Show the steps that would follow."""
    where = f"{facts['base']}/{house.name}"
    there = house.name in facts["installed"]
    if there:
        show("install", f"{where} is there", changed=False)
    else:
        fetched = f", of which pip would fetch {', '.join(house.missing)}" if house.missing else ""
        show(
            "install",
            f"would install {len(house.wheels) + len(house.missing)} wheels into {where}{fetched}",
            changed=True,
        )
    listen = " and ".join(_listen(request, facts)) or "no port"
    show("configure", f"would have the service listen on {listen}", changed=True)
    for line in keys:
        show("authorize", f"would let {fingerprint_of(line)} log in as {facts['user']}", changed=True)
    how = {"detached": f"without systemd ({facts['why_detached']})"}.get(facts["manner"], f"by {facts['manner']}")
    show("start", f"would start it {how}" if facts["pid"] is None else f"runs, pid {facts['pid']}", changed=True)
    show("pin", f"would record its host key for {target.host} in {config_directory() / 'known_hosts'}", changed=True)
    show("name", f"would name it {name} in {config_directory() / 'config.toml'}", changed=True)


def _short(path: Path) -> str:
    home = home_directory()
    return f"~/{path.relative_to(home)}" if home is not None and path.is_relative_to(home) else str(path)
