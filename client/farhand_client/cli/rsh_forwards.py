"""What a command line of ssh forwards: `-L`, `-R`, `-D`, `-A`, and `-W` and `-N`, which run no command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from farhand_client.errors import ConnectionLost, FarhandError
from farhand_client.forwards.specs import ForwardFlag, ForwardSpec, parse_spec, parse_stdio
from farhand_client.ui.exitcodes import EXIT_FAILURE
from farhand_client.ui.failures import unforeseen
from farhand_client.ui.interrupts import SignalHandler
from farhand_client.ui.printing import print_message, print_usage
from farhand_forwards.targets import InetTarget, UnixTarget

from .forwarding import RequestedForwards, asks_for_any_port, print_chosen_port, print_refused

if TYPE_CHECKING:
    from farhand_client.client import Client
    from farhand_client.forwards.forward import Forward
    from farhand_client.pending import Pending
    from farhand_client.sshconfig.session import SshSession
    from farhand_client.ui.outages import OutageNotice


def ssh_forwards(session: SshSession) -> RequestedForwards:
    """Return what the session forwards beside its command. Raises ValueError."""
    everywhere = session.values.get("gatewayports", "no") == "yes"
    specs = tuple(_spec(flag, text, everywhere=everywhere) for flag, text in session.forwards())
    agent = None if session.without_command else session.agent_to_forward
    say = (lambda forward: None) if session.quiet else _print_allocated_port
    return RequestedForwards(specs, agent, agent_is_needed=False, listening=say)


def _print_allocated_port(forward: Forward) -> None:
    """Say which port was chosen for `-R 0:…`, in the words of ssh, which programs look for."""
    if not asks_for_any_port(forward.spec):
        return
    match forward.spec.connect:
        case None:
            where = "socks:0"
        case InetTarget(host, port):
            where = f"{host}:{port}"
        case UnixTarget() as path:
            where = f"{path}:-2"
    print_usage(f"Allocated port {forward.port} for remote forward to {where}")


def _spec(flag: ForwardFlag, text: str, *, everywhere: bool) -> ForwardSpec:
    """With `everywhere`, a port here that has no address to be bound to is open on all of them (`-g`)."""
    spec = parse_spec(flag, text)
    listen = spec.listen
    opens = everywhere and flag != "-R" and isinstance(listen, InetTarget) and not listen.host
    if opens and isinstance(listen, InetTarget) and not text.startswith("localhost:"):
        return spec._replace(listen=listen._replace(host="*"))
    return spec


async def hold_session(
    session: SshSession,
    open_client: Callable[[], Pending[Client]],
    started: Callable[[], None] | None,
    outage: OutageNotice,
) -> int:
    """Forward without running a command until the connection or this process ends; return the exit code.

    `started` is called once everything is there.
    """
    signals = SignalHandler()
    try:
        with signals, signals.interrupts_to(signals.end):
            async with open_client() as client:
                await _act(session, client, started)
    except asyncio.CancelledError:
        if signals.ended_by is None:
            raise
        return EXIT_FAILURE
    except BrokenPipeError:
        raise  # nobody reads stdout any more
    except (FarhandError, OSError) as error:
        outage.close()
        print_message(str(unforeseen(error)))
        return EXIT_FAILURE
    finally:
        outage.close()
    return 0


async def _act(session: SshSession, client: Client, started: Callable[[], None] | None) -> None:
    from farhand_client.forwards.connection_end import ConnectionEnd

    if session.line.stdio_forward is not None:
        from .stdio import join_stdio

        await join_stdio(client, parse_stdio(session.line.stdio_forward))
        return
    requested = ssh_forwards(session)
    async with requested.opened(client, print_refused, requested.listening or print_chosen_port):
        if started is not None:
            started()
        end = ConnectionEnd(client.tunnel().connection)
        try:
            raise ConnectionLost(str(await end.ended))
        finally:
            end.forget()
