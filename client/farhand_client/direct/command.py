"""The direct path of one `farhand run`, from its arguments to its exit code."""

from __future__ import annotations

import os

from farhand_client.directories import STATE_DIRECTORY, directory, home
from farhand_client.errors import ConnectError
from farhand_client.times import KEEPALIVE_INTERVAL
from farhand_client.ui.exitcodes import EXIT_FAILURE
from farhand_client.ui.printing import LocalError, print_message, require_stdin, require_stdout
from farhand_client.ui.unread_stdin import UNREAD, UnreadStdin

from .deadline import DirectDeadline, InterruptedBySignal, NotDirectError
from .route import config_directory, default_host, expanded_path, find_route
from .signals import CollectedSignals
from .words import plain_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from farhand_client.handover import Handover

    from .keys import LoginKey
    from .route import Route
    from .words import DirectCommand


def run_directly(arguments: Sequence[str]) -> int | Handover | None:
    """Run the command that `arguments` of `farhand run` request, and return the exit code of this process.

    Returns a `Handover` if the asyncio client has to go on with the run, and None if it has to do all of it: then
    nothing was requested, and nothing read from stdin.
    """
    try:
        command = plain_command(arguments, default_host)
        route = find_route(command.host)
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
            return 128 + interrupted.number
        except ConnectError as error:
            print_message(str(error))
            return EXIT_FAILURE
        if not isinstance(result, int):
            result.release_signals = signals.release
            signals.keep()
        return result


def _run(command: DirectCommand, route: Route, signals: CollectedSignals) -> int | Handover:
    from .dialling import dial_directly
    from .logging_in import log_in_directly
    from .running import DirectRun

    unread = UnreadStdin(None if command.stdin or not command.says_unread else UNREAD)
    deadline = DirectDeadline(command.connect_timeout, signals)
    if route.socket is not None:
        dialled = dial_directly(route, "", None, deadline)
        user, ticket_path = route.user, None
    else:
        from farhand_client.connection.ticket_file import read_ticket, ticket_file

        user = route.user or _local_user()
        ticket_path = ticket_file(directory(STATE_DIRECTORY, home()) or os.devnull, route.host, route.port, user)
        known_hosts = f"{config_directory()}/known_hosts"
        dialled = dial_directly(route, known_hosts, read_ticket(ticket_path), deadline)
    wire = dialled.wire
    try:

        def keys() -> Iterator[LoginKey]:
            from .keys import login_keys

            named = [expanded_path(path) for path in command.identities] or route.identities
            return login_keys(named, config_directory(), home(), deadline)

        welcome, accepted = log_in_directly(dialled, route, user, keys, deadline)
        if command.request.get("leave_processes") and "left-processes" not in welcome.get("features", ()):
            raise NotDirectError
        keepalive = None if route.socket is not None else KEEPALIVE_INTERVAL
        try:
            run = DirectRun(wire, welcome, accepted, command, signals, unread, keepalive)
        except OSError:
            raise NotDirectError from None
        try:
            run.request()
            if ticket_path is not None:
                _keep_ticket(ticket_path, accepted)  # while the service starts the run
            return run.go()
        finally:
            run.close()
    finally:
        wire.close()


def _local_user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise NotDirectError from None


def _keep_ticket(path: str, accepted: dict[str, object]) -> None:
    from farhand_client.connection.ticket_file import write_ticket
    from farhand_protocol.tickets import IssuedTicket

    ticket, secret = accepted.get("ticket"), accepted.get("ticket_secret")
    if isinstance(ticket, bytes) and isinstance(secret, bytes):
        write_ticket(path, IssuedTicket(ticket, secret))
