"""The direct path of one `farhand run`, from its arguments to its exit code."""

from __future__ import annotations

import os
from functools import partial

from farhand_client.directories import STATE_DIRECTORY, directory, home
from farhand_client.errors import ConnectError
from farhand_client.mux.place import helper_place, mux_allowed
from farhand_client.ui.exitcodes import EXIT_FAILURE
from farhand_client.ui.printing import LocalError, print_message, require_stdin, require_stdout
from farhand_client.ui.unread_stdin import UNREAD, UnreadStdin
from farhand_protocol.features import SSH_VARIABLES
from farhand_protocol.records import NamedTuple

from .deadline import DirectDeadline, InterruptedBySignal, NotDirectError
from .route import config_directory, default_host, expanded_path, find_route
from .signals import CollectedSignals
from .words import plain_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from farhand_client.handover import Handover

    from .keys import LoginKey
    from .route import Route
    from .wire import Wire
    from .words import DirectCommand


def run_directly(arguments: Sequence[str]) -> int | Handover | None:
    """Run the command that `arguments` of `farhand run` request, and return the exit code of this process.

    Returns a `Handover` if the asyncio client has to go on with the run, and None if it has to do all of it: then
    nothing was requested, and nothing read from stdin.
    """
    return _directly(partial(_plain_run, arguments))


def rsh_directly(arguments: Sequence[str]) -> int | Handover | None:
    """As `run_directly`, for the command that the words after `farhand rsh` request."""
    from .ssh_words import plain_session

    return _directly(partial(plain_session, arguments))


def _plain_run(arguments: Sequence[str]) -> tuple[DirectCommand, Route]:
    command = plain_command(arguments, default_host)
    return command, find_route(command.host)


def _directly(read: Callable[[], tuple[DirectCommand, Route]]) -> int | Handover | None:
    try:
        command, route = read()
        require_stdout("the output of the command would be lost")
        if command.stdin:
            require_stdin()
    except (NotDirectError, LocalError):
        return None
    signals = CollectedSignals()
    with signals:
        try:
            result = _run(command, route, signals)
        except NotDirectError:
            return None
        except InterruptedBySignal as interrupted:
            return EXIT_FAILURE if command.as_ssh else 128 + interrupted.number
        except ConnectError as error:
            print_message(str(error))
            return EXIT_FAILURE
        if not isinstance(result, int):
            result.release_signals = signals.release
            signals.keep()
        return result


def _run(command: DirectCommand, route: Route, signals: CollectedSignals) -> int | Handover:
    from .running import DirectRun

    unread = UnreadStdin(None if command.stdin or not command.says_unread else UNREAD)
    deadline = DirectDeadline(command.connect_timeout, signals)
    connect = _local if route.socket is not None else _borrowed_or_made
    connected = connect(command, route, deadline)
    wire, welcome, accepted = connected.wire, connected.welcome, connected.accepted
    try:
        if command.request.get("leave_processes") and "left-processes" not in welcome.get("features", ()):
            raise NotDirectError
        if SSH_VARIABLES not in welcome.get("features", ()):
            command.request.pop("ssh_variables", None)
        keepalive = None if route.socket is not None else command.keepalive
        try:
            run = DirectRun(wire, welcome, accepted, command, signals, unread, keepalive)
        except OSError:
            raise NotDirectError from None
        try:
            run.request()
            connected.meanwhile()
            result = run.go()
        finally:
            run.close()
    finally:
        wire.close()
    if not isinstance(result, int):
        result.borrowed = connected.borrowed
    return result


class _Connected(NamedTuple):
    """A connection that is logged in. `meanwhile` does what is left to do while the service starts the run."""

    wire: Wire
    welcome: dict[str, Any]
    accepted: dict[str, Any]
    meanwhile: Callable[[], None]
    borrowed: bool = False


def _local(command: DirectCommand, route: Route, deadline: DirectDeadline) -> _Connected:
    from .dialling import dial_directly
    from .logging_in import log_in_directly

    dialled = dial_directly(route, "", None, deadline)
    try:
        answers = log_in_directly(dialled, route, route.user, lambda: iter(()), deadline)
    except BaseException:
        dialled.wire.close()
        raise

    def meanwhile() -> None:
        if command.mux and mux_allowed(None) and (place := helper_place()) is not None:
            from farhand_client.mux.start import start_if_none

            start_if_none(place, _helper_configured)

    return _Connected(dialled.wire, answers.welcome, answers.accepted, meanwhile)


def _helper_configured() -> bool:
    from farhand_client.config import helper_configured

    return helper_configured()


def _borrowed_or_made(command: DirectCommand, route: Route, deadline: DirectDeadline) -> _Connected:
    """Return a connection over TLS: the helper's, or one of our own."""
    from .borrowing import HelperUse

    user, config, where = route.user or _local_user(), config_directory(), home()
    named = [expanded_path(path) for path in command.identities] or route.identities
    helper = HelperUse(route, user, named, config, where, wanted=command.mux)
    lent = helper.borrow()
    if lent is not None:
        return _Connected(*lent, lambda: None, borrowed=True)

    from farhand_client.connection.ticket_file import read_ticket, ticket_file

    from .dialling import dial_directly
    from .logging_in import log_in_directly

    ticket = ticket_file(directory(STATE_DIRECTORY, where) or os.devnull, route.host, route.port, user)
    dialled = dial_directly(route, f"{config}/known_hosts", read_ticket(ticket), deadline)
    try:

        def keys() -> Iterator[LoginKey]:
            from .keys import login_keys

            return login_keys(named, config, where, deadline, route.preferred, route.agent)

        answers = log_in_directly(dialled, route, user, keys, deadline)
    except BaseException:
        dialled.wire.close()
        raise

    def meanwhile() -> None:
        _keep_ticket(ticket, answers.accepted)
        helper.offer(answers.offered)

    return _Connected(dialled.wire, answers.welcome, answers.accepted, meanwhile)


_user_names: dict[int, str] = {}
"""By uid, of which a process has one. A child of the helper, which does many commands, looks its name up once."""


def _local_user() -> str:
    import pwd

    uid = os.getuid()
    if uid not in _user_names:
        try:
            _user_names[uid] = pwd.getpwuid(uid).pw_name
        except KeyError:
            raise NotDirectError from None
    return _user_names[uid]


def _keep_ticket(path: str, accepted: dict[str, object]) -> None:
    from farhand_client.connection.ticket_file import write_ticket
    from farhand_protocol.tickets import IssuedTicket

    ticket, secret = accepted.get("ticket"), accepted.get("ticket_secret")
    if isinstance(ticket, bytes) and isinstance(secret, bytes):
        write_ticket(path, IssuedTicket(ticket, secret))
