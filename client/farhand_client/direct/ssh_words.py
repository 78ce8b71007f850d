"""The words of `farhand rsh`, where they ask for a command without a terminal, and for nothing besides."""

from __future__ import annotations

import os

from farhand_client.errors import AddressError
from farhand_client.ids import new_key, uuid7
from farhand_client.sshconfig.command_line import SshCommandLine, parse_command_line
from farhand_client.sshconfig.session import SshSession
from farhand_client.times import COMMAND_KILL_AFTER, CONNECT_TIMEOUT, KEEPALIVE_INTERVAL

from .deadline import NotDirectError
from .route import find_route
from .words import DirectCommand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .route import Route


def plain_session(arguments: Sequence[str]) -> tuple[DirectCommand, Route]:
    """Return the command that `arguments`, the words after `farhand rsh`, request, and where. Raises NotDirectError."""
    if "--help" in arguments[:1]:
        raise NotDirectError
    try:
        line = parse_command_line(arguments)
        if _is_special(line):
            raise NotDirectError
        session = SshSession(line)
        session.check()
        if _is_more_than_a_command(session):
            raise NotDirectError
        environment = session.environment
    except AddressError:
        raise NotDirectError from None  # the command says what is wrong
    request: dict[str, Any] = {"type": "run", "id": uuid7(), "attachment": new_key()}
    if session.is_subsystem:
        request["argv"] = tuple(session.sftp)
    elif session.command:
        request["shell"] = os.fsencode(session.command)
    else:
        request["login"] = True
    if environment:
        request["env"] = tuple(environment.items())
    if session.has_stdin or not session.command:
        request["stdin"] = True
    if "login" not in request:
        request["kill_after"] = COMMAND_KILL_AFTER
    request["leave_processes"] = True
    request["ssh_variables"] = True
    command = DirectCommand(session.target, request)
    command.identities = session.identities
    command.says_unread = False
    command.as_ssh = True
    command.keepalive = session.keepalive(KEEPALIVE_INTERVAL)
    command.mux = command.keepalive >= KEEPALIVE_INTERVAL
    command.connect_timeout = session.timeout(CONNECT_TIMEOUT)
    return command, find_route(command.host, session)


def _is_special(line: SshCommandLine) -> bool:
    return (
        line.version
        or line.print_config
        or line.syslog
        or any(each is not None for each in (line.query, line.control, line.log_file, line.stdio_forward))
    )


def _is_more_than_a_command(session: SshSession) -> bool:
    terminal, instead = session.wants_terminal(stdin_is_terminal=os.isatty(0))
    return (
        terminal
        or bool(instead)
        or session.background
        or session.without_command
        or bool(session.forwards())
        or session.agent_to_forward is not None
        or "loglevel" in session.values
        or bool(session.warnings())
        or (not session.command and not session.has_stdin)
    )
