"""`farhand rsh`: ssh's command line over Farhand, for people's fingers and for programs that run ssh."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from farhand_client.sshconfig.command_line import SSH_USAGE, SshCommandLine, UsageError, parse_command_line
from farhand_client.sshconfig.forms import SshConfigError
from farhand_client.times import CONNECT_TIMEOUT, KEEPALIVE_INTERVAL
from farhand_client.ui.exitcodes import EXIT_FAILURE
from farhand_client.ui.printing import print_message, print_usage

if TYPE_CHECKING:
    from farhand_client.client import Client
    from farhand_client.connection.reconnecting import OutageCallback
    from farhand_client.options import RunOptions
    from farhand_client.pending import Pending
    from farhand_client.terminal.local import LocalTerminal

    from .execute import RemoteCommand

SSH_VERSION: Final = "OpenSSH_9.2p1 (farhand rsh)"
"""What `-V` prints, for programs that look for a version: that of the ssh whose options and words these are."""

SFTP_SERVERS: Final = (
    "/usr/lib/openssh/sftp-server",  # Debian, Ubuntu
    "/usr/libexec/openssh/sftp-server",  # Fedora, RHEL
    "/usr/lib/ssh/sftp-server",  # Alpine, Arch, SUSE
    "/usr/libexec/sftp-server",  # macOS, the BSDs
    "/usr/local/libexec/sftp-server",
    "/run/current-system/sw/libexec/sftp-server",  # NixOS
)
"""Where sshd_config of each system has the subsystem sftp."""

_SFTP: Final = f"""\
for server in {" ".join(SFTP_SERVERS)}; do [ -x "$server" ] && exec "$server"; done
echo "farhand: no sftp-server on this machine; install OpenSSH's (Debian: openssh-sftp-server), or use farhand cp" >&2
exit 127
"""


def rsh_command(arguments: Sequence[str]) -> int:
    """Run `farhand rsh` and return the exit code."""
    if list(arguments[:1]) == ["--help"]:
        from farhand_client.ui.printing import print_output

        print_output(f"{SSH_USAGE}\n\n{_HELP}")
        raise SystemExit(0)
    try:
        line = parse_command_line(arguments)
        return _run(line)
    except UsageError as error:
        if str(error):
            print_usage(str(error))
        print_usage(SSH_USAGE)
    except SshConfigError as error:
        print_usage(str(error))
    except UnicodeError:
        raise  # is no mistake of the user
    except ValueError as error:
        print_message(str(error))
    return EXIT_FAILURE


def _run(line: SshCommandLine) -> int:
    from .execute import execute
    from .loop import run_attended, run_loop

    if line.version:
        print_usage(SSH_VERSION)
        return 0
    values = line.settings.values
    for note in line.notes:
        print_usage(note)
    command = line.command
    wants = values.get("requesttty", "auto")
    terminal = wants in ("yes", "force") or (not line.words and wants == "auto")
    no_stdin = values.get("stdinnull") == "yes"
    if terminal and wants != "force" and (no_stdin or not os.isatty(0)):
        if values.get("loglevel") != "QUIET":
            print_usage("Pseudo-terminal will not be allocated because stdin is not a terminal.")
        terminal = False
    if terminal and os.isatty(0) and os.isatty(1) and not no_stdin:
        from farhand_client.terminal.local import LocalTerminal

        with LocalTerminal() as here:
            return run_attended(execute(*_open_and_command(line, command, here, terminal=True)))
    return run_loop(execute(*_open_and_command(line, command, None, terminal=terminal)))


def _open_and_command(
    line: SshCommandLine, command: str, here: LocalTerminal | None, *, terminal: bool
) -> tuple[Callable[[], Pending[Client]], RemoteCommand, None, Any]:
    from farhand_client.ui.outages import ATTENDED_KEEPALIVE, ATTENDED_RECONNECT, OutageNotice

    from .execute import RemoteCommand

    values = line.settings.values
    outage = OutageNotice(line.host)
    view = None
    reconnect, keepalive = 120.0, values.get("serveraliveinterval", 0) or KEEPALIVE_INTERVAL
    if here is not None:
        from .terminal_view import TerminalView

        code = values.get("escapechar", ord("~"))
        reconnect, keepalive = ATTENDED_RECONNECT, ATTENDED_KEEPALIVE
        stops = frozenset({signal.SIGTERM}) if command else frozenset()
        view = TerminalView(here, line.host, outage, None if code < 0 else code, stops)
    request: Any = os.fsencode(command) if command else None
    options = _options(line, here, terminal=terminal)
    if values.get("sessiontype") == "subsystem":
        if command != "sftp":
            raise ValueError(f"there is no subsystem {command!r}; Farhand has sftp only")
        request, options = ["/bin/sh", "-c", _SFTP], options.changed(shell=False)
    remote = RemoteCommand(
        request,
        options,
        stdin=values.get("stdinnull") != "yes",
        view=view,
        leave_option=None,
        as_ssh=True,
    )
    return partial(_open, line, outage, reconnect, keepalive), remote, None, outage


def _options(line: SshCommandLine, here: LocalTerminal | None, *, terminal: bool) -> RunOptions:
    from farhand_client.options import RunOptions

    env: dict[Any, Any] = {}
    request = None
    if terminal:
        from farhand_client.ui.terminal_request import locale_variables, terminal_request

        request = terminal_request(here)
        env = dict(locale_variables())
    env |= line.settings.values.get("setenv", {})
    return RunOptions.of(shell=bool(line.words), terminal=request, env=env, leave_processes=True)


def _open(line: SshCommandLine, outage: OutageCallback, reconnect: float, keepalive: float) -> Pending[Client]:
    from farhand_client.connector import connect
    from farhand_client.ui.prompts import ask_passphrase, confirm_host_key

    values = line.settings.values
    checking = values.get("stricthostkeychecking", "ask")
    batch = values.get("batchmode") == "yes"
    host = values.get("hostname", line.host)
    host = f"[{host}]" if host.count(":") > 1 and not host.startswith(("[", "unix:")) else host
    port = values.get("port")
    seconds = values.get("connecttimeout", -1)
    return connect(
        host,
        user=values.get("user"),
        port=None if port == 22 else port,
        identities=values.get("identityfile", ()),
        accept_new=checking in ("no", "accept-new"),
        confirm=confirm_host_key if checking == "ask" and not batch else None,
        passphrase=None if batch else ask_passphrase,
        touch=getattr(outage, "touch", None),
        timeout=seconds if seconds > 0 else CONNECT_TIMEOUT,
        keepalive=keepalive,
        reconnect=reconnect,
        watch=outage,
        helper=keepalive >= KEEPALIVE_INTERVAL,
    )


_HELP: Final = """\
Run a command, or a login shell, on another machine with the options of ssh(1), for rsync, git, scp and other programs
that run ssh.

  rsync -a -e 'farhand rsh' src/ web:src/
  GIT_SSH_COMMAND='farhand rsh' git clone web:project.git

The words of the command are joined with spaces and run by your shell there, as ssh does. Exit code: the command's; 255
if a signal ended it, and for every failure of farhand itself."""
