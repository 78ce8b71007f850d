"""The steps of `farhand up --remove HOST`: back to how it was, there and here."""

from __future__ import annotations

import contextlib
from pathlib import Path

from farhand_client.config import config_directory, state_directory
from farhand_client.connection.ssh_program import find_ssh
from farhand_client.connection.ticket_file import ticket_file
from farhand_client.directories import DEFAULT_PORT
from farhand_client.errors import ConnectError, FarhandError
from farhand_client.trust import KnownHostsError
from farhand_client.trust.known_hosts import KnownHosts

from .conversation import FarConversation, facts_text
from .host_section import changed_file, not_by_ssh, section_of, sections_of, without_host
from .raising import ShowStep, UpRequest
from .ssh import SshDestination, destination


def take_down(request: UpRequest, show: ShowStep) -> None:
    """Stop the service, remove what was made there and here. Raises `FarhandError`.

    With `force`, runs that are still going on are stopped, and a machine that cannot be reached is forgotten here.
    """
    ssh = find_ssh()
    path = config_directory() / "config.toml"
    section = section_of(path, request.host)
    target = destination(ssh, (section and section.made_for) or request.host)
    user, port = target.user or "", DEFAULT_PORT
    try:
        with FarConversation(ssh, target, system=request.system, python=request.python) as far:
            far.begin()
            facts = far.ask("look")
            user, port = facts["user"], int(facts["port"] or DEFAULT_PORT)
            show("connect", f"{target.text}: {facts_text(facts)}", changed=False, facts=facts)
            if request.dry_run:
                there = (
                    f"would stop the service and remove {facts['base']}" if facts["recorded"] else "nothing is there"
                )
                show("remove", there, changed=facts["recorded"])
            else:
                done = far.ask("remove", force=request.force)
                what = "the service is stopped, and all that was made there is gone"
                show("remove", what if done["removed"] else "nothing of farhand up was there", changed=done["removed"])
                for kept in done["kept"]:
                    show("remove", f"{kept}, and stays", changed=False)
    except ConnectError as error:
        if not request.force or request.dry_run:
            raise not_by_ssh(error, section, path) from None
        show("remove", f"{error}; only what is here is removed", changed=False)
    _forget(target, user, port, request, show)


def _forget(target: SshDestination, user: str, port: int, request: UpRequest, show: ShowStep) -> None:
    config = config_directory()
    path = config / "config.toml"
    text = path.read_text(errors="replace") if path.exists() else ""
    names = [section.name for section in sections_of(text) if section.made_for == target.text]
    if request.dry_run:
        for name in names:
            show("forget", f"would remove {name} from {path}", changed=True)
        return
    for name in names:
        with changed_file(path) as texts:
            texts[0] = without_host(texts[0], name)
        show("forget", f"{name} is no longer in {path}", changed=True)
    known_hosts = KnownHosts(config / "known_hosts")
    try:
        if known_hosts.forget(target.host, port):
            show("forget", f"the key of {target.host} is no longer in {known_hosts.path}", changed=True)
    except KnownHostsError as error:
        raise FarhandError(f"the host key is still recorded here: {error}") from None
    tickets = Path(ticket_file(str(state_directory()), target.host, port, user))
    with contextlib.suppress(OSError):
        tickets.unlink()
    for directory in (tickets.parent, state_directory(), config):
        with contextlib.suppress(OSError):  # others have something in it
            directory.rmdir()
