"""`farhand rsh`: ssh's command line over Farhand, for people's fingers and for programs that run ssh."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from farhand_client.sshconfig.command_line import SSH_USAGE, SshCommandLine, UsageError, parse_command_line
from farhand_client.sshconfig.line import SshConfigError
from farhand_client.sshconfig.session import SshSession
from farhand_client.ui.exitcodes import EXIT_FAILURE
from farhand_client.ui.printing import print_message, print_output, print_usage

if TYPE_CHECKING:
    from farhand_client.handover import Handover

SSH_VERSION: Final = "OpenSSH_9.2p1 farhand-rsh"
"""What `-V` prints, for programs that look for a version: that of the ssh whose options and words these are."""

_QUERIES: Final = {
    "cipher": "TLS_AES_256_GCM_SHA384\nTLS_CHACHA20_POLY1305_SHA256\nTLS_AES_128_GCM_SHA256",
    "key": "ssh-ed25519\necdsa-sha2-nistp256\necdsa-sha2-nistp384\necdsa-sha2-nistp521\nssh-rsa\n"
    "sk-ssh-ed25519@openssh.com\nsk-ecdsa-sha2-nistp256@openssh.com",
    "compression": "none",
    "protocol-version": "2",
    "help": "cipher\ncompression\nkey\nprotocol-version",
}
"""What `-Q` prints."""

_HELP: Final = """\
Run a command, or a login shell, on another machine with the options of ssh(1), for rsync, git, scp and other programs
that run ssh.

  rsync -a -e 'farhand rsh' src/ web:src/
  GIT_SSH_COMMAND='farhand rsh' git clone web:project.git

The words of the command are joined with spaces and run by your shell there, as ssh does. The files of ssh_config(5) are
read for destination, and [hosts.NAME] of config.toml comes first. ssh's own port, 22, stands for Farhand's.

Exit code: the command's; 255 if a signal ended it, and for every failure of farhand itself."""


def rsh_command(arguments: Sequence[str], handover: Handover | None = None) -> int:
    """Run `farhand rsh` and return the exit code. `handover` is the run, if the direct path has requested it before."""
    if list(arguments[:1]) == ["--help"]:
        print_output(f"{SSH_USAGE}\n\n{_HELP}")
        raise SystemExit(0)
    try:
        line = parse_command_line(arguments)
        if line.version or line.query is not None:
            return _about(line)
        return _act(SshSession(line), handover)
    except UsageError as error:
        print_usage(f"{error}\n{SSH_USAGE}" if str(error) else SSH_USAGE)
    except SshConfigError as error:
        print_usage(str(error))
    except UnicodeError:
        raise  # is no mistake of the user
    except ValueError as error:
        print_message(str(error))
    return EXIT_FAILURE


def _about(line: SshCommandLine) -> int:
    if line.version:
        print_usage(SSH_VERSION)
        return 0
    answer = _QUERIES.get(line.query or "")
    if answer is None:
        raise SshConfigError(f'Unsupported query "{line.query}"')
    print_output(answer)
    return 0


def _act(session: SshSession, handover: Handover | None) -> int:
    if session.line.print_config:
        from farhand_client.sshconfig.dump import printed_config

        print_output("\n".join(printed_config(session.host)))
        return 0
    session.check()
    if session.line.control is not None:
        # There is no connection that one command could ask another about: what keeps them ready is the helper.
        raise SshConfigError(f"Control socket connect({session.control_path}): No such file or directory")
    _redirect_messages(session)
    if not session.quiet:
        for warning in session.warnings():
            print_usage(warning)
    terminal, instead = session.wants_terminal(stdin_is_terminal=os.isatty(0))
    if instead and not session.quiet:
        print_usage(instead)
    from .rsh_session import run_session

    return run_session(session, terminal, handover)


def _redirect_messages(session: SshSession) -> None:
    """Let messages go where the options say; what the command writes to its stderr is not among them."""
    if session.line.log_file is not None:
        try:
            # Open until the process ends; for its user alone, as ssh makes it.
            descriptor = os.open(session.line.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            sys.stderr = open(descriptor, "a", buffering=1, errors="backslashreplace")  # noqa: SIM115, PTH123  # as said
        except OSError as error:
            raise SshConfigError(f"Couldn't open logfile {session.line.log_file}: {error.strerror}") from None
    elif session.line.syslog:
        sys.stderr = _SystemLog(session.values.get("syslogfacility", "USER"))
    elif session.values.get("loglevel") == "QUIET":
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  # as above


class _SystemLog:
    """Messages go to syslog(3), a line each."""

    def __init__(self, facility: str) -> None:
        import syslog

        self._write = syslog.syslog
        syslog.openlog("farhand rsh", syslog.LOG_PID, getattr(syslog, f"LOG_{facility}", syslog.LOG_USER))

    def write(self, text: str) -> int:
        for line in text.splitlines():
            self._write(line)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""
