"""Runs what a command line of ssh asks for: one command or shell, with its streams or terminal."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farhand_client.sshconfig.session import SshSession
from farhand_client.times import CONNECT_TIMEOUT, KEEPALIVE_INTERVAL
from farhand_client.ui.exitcodes import EXIT_FAILURE
from farhand_client.ui.outages import ATTENDED_KEEPALIVE, ATTENDED_RECONNECT, OutageNotice
from farhand_client.ui.printing import print_message, print_usage

from .execute import RemoteCommand, execute
from .loop import run_attended, run_loop
from .options import DEFAULT_RECONNECT

if TYPE_CHECKING:
    from farhand_client.client import Client
    from farhand_client.handover import Handover
    from farhand_client.options import RunOptions
    from farhand_client.pending import Pending
    from farhand_client.terminal.local import LocalTerminal

    from .forwarding import RequestedForwards


def run_session(session: SshSession, terminal: bool, handover: Handover | None) -> int:
    """Run the session and return the exit code. `terminal` says whether the command runs on one."""
    if terminal and session.has_stdin and os.isatty(0) and os.isatty(1):
        from farhand_client.terminal.local import LocalTerminal

        with LocalTerminal() as here:
            return _said(session, _Session(session, here, terminal=True).run())
    if session.background:
        return _in_background(lambda started: _Session(session, None, terminal=terminal, started=started).run())
    code = _Session(session, None, terminal=terminal).run(handover)
    return _said(session, code) if terminal else code


def _said(session: SshSession, code: int) -> int:
    """Say that the connection is closed, as ssh does after a terminal, unless its failure was told; return `code`."""
    if not session.quiet and code != EXIT_FAILURE:
        print_usage(f"Connection to {session.host.host} closed.")
    return code


class _Session:
    def __init__(
        self,
        session: SshSession,
        here: LocalTerminal | None,
        *,
        terminal: bool,
        started: Callable[[], None] | None = None,
    ) -> None:
        self._session = session
        self._here = here
        self._terminal = terminal
        self._outage = OutageNotice(session.host.original)
        self._started = started

    def run(self, handover: Handover | None = None) -> int:
        """Run it and return the exit code."""
        open_client: Callable[[], Pending[Client]] = self._open
        if self._session.without_command:
            from .rsh_forwards import hold_session

            return run_attended(hold_session(self._session, open_client, self._started, self._outage))
        command = self._command()
        if handover is not None:
            from dataclasses import replace

            from .resume import ResumedRun

            session = self._session
            options = argparse.Namespace(
                identity=[Path(path) for path in session.identities],
                connect_timeout=session.timeout(CONNECT_TIMEOUT),
            )
            resumed = ResumedRun(
                session.target,
                options,
                handover,
                self._outage,
                user=session.user,
                port=session.port,
                ssh=session.source,
                keepalive=session.keepalive(KEEPALIVE_INTERVAL),
            )
            command, open_client = replace(command, resumed=resumed), resumed.open_client(DEFAULT_RECONNECT)
        loop = run_loop if self._here is None else run_attended
        return loop(execute(open_client, command, outage=self._outage))

    def _open(self) -> Pending[Client]:
        from farhand_client.connector import connect
        from farhand_client.ui.prompts import ask_passphrase, confirm_host_key, lend_terminal

        session = self._session
        attended = self._here is not None
        keepalive = session.keepalive(ATTENDED_KEEPALIVE if attended else KEEPALIVE_INTERVAL)
        if session.is_verbose:
            print_message(f"connecting to {session.host.host} as {session.user or session.host.user or 'this user'}")
        return connect(
            session.target,
            user=session.user,
            port=session.port,
            identities=session.identities,
            accept_new=session.checking == "accept",
            confirm=confirm_host_key if session.checking == "ask" else None,
            passphrase=None if session.in_batch else ask_passphrase,
            touch=self._outage.touch,
            timeout=session.timeout(CONNECT_TIMEOUT),
            keepalive=keepalive,
            reconnect=ATTENDED_RECONNECT if attended else DEFAULT_RECONNECT,
            watch=self._outage,
            # Where somebody types it lends nothing: each key would take one step more.
            helper=True if not attended and keepalive >= KEEPALIVE_INTERVAL else "offer",
            ssh=session.source,
            lend_terminal=None if session.in_batch else lend_terminal,
        )

    def _command(self) -> RemoteCommand:
        session = self._session
        options = self._options()
        args: Any = os.fsencode(session.command) if session.command else None
        if session.is_subsystem:
            args, options = session.sftp, options.changed(shell=False)
        view = None
        if self._here is not None:
            from .terminal_view import TerminalView

            stops = frozenset({signal.SIGTERM}) if session.command else frozenset()
            view = TerminalView(self._here, session.host.original, self._outage, session.escape, stops, as_ssh=True)
        return RemoteCommand(
            args,
            options,
            stdin=session.has_stdin,
            view=view,
            leave_option=None,
            as_ssh=True,
            started=self._started,
            forwards=self._forwards(),
        )

    def _forwards(self) -> RequestedForwards | None:
        session = self._session
        if not session.forwards() and session.agent_to_forward is None:
            return None
        from .rsh_forwards import ssh_forwards

        return ssh_forwards(session)

    def _options(self) -> RunOptions:
        from farhand_client.options import RunOptions

        request = None
        if self._terminal:
            from farhand_client.ui.terminal_request import terminal_request

            request = terminal_request(self._here)
        session = self._session
        return RunOptions.of(
            shell=bool(session.command),
            terminal=request,
            env=session.environment,
            leave_processes=True,
            ssh_variables=True,
        )


def _in_background(act: Callable[[Callable[[], None]], int]) -> int:
    """Return 0 once `act` has called what it is called with, and leave it to another process; before that, its result.

    Nothing runs in this process yet but the main thread, so that it can be forked.
    """
    from farhand_client.caller import before_asking

    before_asking()  # the other process outlives this one: the helper's children do not
    told, telling = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)

        def started() -> None:
            os.setsid()
            os.write(telling, b"s")
            os.close(telling)

        return act(started)
    os.close(telling)
    with open(told, "rb", buffering=0) as pipe:  # noqa: PTH123  # a descriptor
        if pipe.read(1):
            return 0
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else EXIT_FAILURE
