"""What a command line of ssh asks for, once the configuration of its host is known."""

from __future__ import annotations

import os

from farhand_protocol.wildcards import matches_pattern

from .command_line import SshCommandLine
from .line import SshConfigError
from .lookup import SshHost, SshSource, look_up
from .matching import MatchedHost
from .quick import SSH_CONFIG_VARIABLE, SSH_PORT
from .reading import ConfigFiles
from .tokens import TokenError, with_tokens
from .uses import refusals, warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal

SFTP_SERVERS: Final = (
    "/usr/lib/openssh/sftp-server",  # Debian, Ubuntu
    "/usr/libexec/openssh/sftp-server",  # Fedora, RHEL
    "/usr/lib/ssh/sftp-server",  # Alpine, Arch, SUSE
    "/usr/libexec/sftp-server",  # macOS, the BSDs
    "/usr/local/libexec/sftp-server",
    "/run/current-system/sw/libexec/sftp-server",  # NixOS
)
"""Where the sshd_config of each system has the subsystem sftp."""

_SFTP_SCRIPT: Final = f"""\
for server in {" ".join(SFTP_SERVERS)}; do [ -x "$server" ] && exec "$server"; done
echo "farhand: no sftp-server on this machine; install OpenSSH's (Debian: openssh-sftp-server), or use farhand cp" >&2
exit 127
"""

_WAY: Final[tuple[str, ...]] = ("addressfamily", "proxycommand", "proxyjump")
"""The keywords about the way to a host. Of a command line, they are for every host, whatever file names it."""

KEEPALIVES: Final = 3
"""Intervals of silence after which a connection of Farhand counts as lost."""


class SshSession:
    """What is to be done. Making one reads ssh's configuration; it raises SshConfigError."""

    def __init__(self, line: SshCommandLine) -> None:
        self.line: Final = line
        files = ConfigFiles(line.config or os.environ.get(SSH_CONFIG_VARIABLE) or None)
        name, self.port_in_host = _split_host(line.host)
        if self.port_in_host is not None:
            line.settings.put("port", self.port_in_host)
        written = line.settings.values
        self.user: Final[str | None] = written.get("user")
        port = written.get("port")
        self.port: Final[int | None] = None if port == SSH_PORT else port
        self.own_identities: Final = list(written.get("identityfile", ()))
        """Files that the command line names."""
        way = {keyword: written[keyword] for keyword in _WAY if keyword in written}
        self.way: Final = SshHost(name, MatchedHost(name), way) if way else None
        """What the command line says about the way to the host; None if nothing."""
        self.host: Final = look_up(name, files, line.settings)
        self.values: Final = self.host.values
        self.source: Final = SshSource(files, self.host, whole=True, identities=self.own_identities, typed=self.way)
        self.command: Final = self._command()
        self.quiet: Final = self.values.get("loglevel") in ("QUIET", "FATAL", "ERROR")
        """Whether warnings are not printed."""

    @property
    def target(self) -> str:
        """The HOST of the connection, to be looked up in `source`."""
        name = self.host.original
        return f"[{name}]" if name.count(":") > 1 and not name.startswith("unix:") else name

    def check(self) -> None:
        """Raise SshConfigError if something is asked for that is not done."""
        for sentence in refusals(self.values):
            raise SshConfigError(f"farhand: {sentence}")
        if self.background and not self.command and not self.without_command:
            raise SshConfigError("Cannot fork into background without a command to execute.")
        if self.is_subsystem and self.command != "sftp":
            raise SshConfigError(f"farhand: there is no subsystem {self.command!r}; Farhand has sftp only")

    def warnings(self) -> list[str]:
        """Return what is to be said on stderr, unless `quiet`."""
        return [*self.line.notes, *warnings(self.values, os.environ.get("DISPLAY", ""))]

    def _command(self) -> str:
        remote = self.values.get("remotecommand", "none")
        if remote.lower() == "none":
            return self.line.command
        if self.line.words:
            raise SshConfigError("Cannot execute command-line and remote command.")
        try:
            return with_tokens(remote, self.host.tokens)
        except TokenError as error:
            raise SshConfigError(str(error)) from None

    # What runs

    @property
    def is_subsystem(self) -> bool:
        """Whether the command is the name of a subsystem."""
        return bool(self.values.get("sessiontype") == "subsystem")

    @property
    def without_command(self) -> bool:
        """Whether nothing is run, but for forwards."""
        return bool(self.values.get("sessiontype") == "none")

    @property
    def sftp(self) -> list[bytes]:
        """The program that is the subsystem sftp, with its arguments."""
        return [b"/bin/sh", b"-c", _SFTP_SCRIPT.encode()]

    @property
    def environment(self) -> dict[bytes, bytes]:
        """The variables that are passed on or set."""
        patterns = self.values.get("sendenv", ())
        passed = {
            name: value
            for name, value in os.environb.items()
            if any(matches_pattern(os.fsdecode(name), pattern) for pattern in patterns)
        }
        try:
            set_here = {
                os.fsencode(name): os.fsencode(with_tokens(value, self.host.tokens, variables=True))
                for name, value in self.values.get("setenv", {}).items()
            }
        except TokenError as error:
            raise SshConfigError(str(error)) from None
        return passed | set_here

    # Terminal, input, and where messages go

    @property
    def has_stdin(self) -> bool:
        """Whether stdin is passed on."""
        return bool(self.values.get("stdinnull", "no") != "yes")

    def wants_terminal(self, *, stdin_is_terminal: bool) -> tuple[bool, str]:
        """Return whether the command runs on a terminal, and what is said if it does not although it should."""
        wanted = self.values.get("requesttty", "auto")
        if wanted == "no" or self.without_command:
            return False, ""
        terminal = wanted in ("yes", "force") or not self.command
        if terminal and wanted != "force" and not (stdin_is_terminal and self.has_stdin):
            return False, "Pseudo-terminal will not be allocated because stdin is not a terminal."
        return terminal, ""

    @property
    def escape(self) -> int | None:
        """The code of the escape character; None for none."""
        code: int = self.values.get("escapechar", ord("~"))
        return None if code < 0 else code

    @property
    def background(self) -> bool:
        """Whether this process goes to the background once the command has started."""
        return bool(self.values.get("forkafterauthentication") == "yes")

    @property
    def control_path(self) -> str:
        """The socket of the connection that would be shared."""
        path = self.values.get("controlpath", "none")
        return "none" if path.lower() == "none" else self.host.path(path)

    @property
    def is_verbose(self) -> bool:
        """Whether to say what is done."""
        return str(self.values.get("loglevel", "")).startswith(("VERBOSE", "DEBUG"))

    # The connection

    @property
    def checking(self) -> str:
        """What happens to an unknown host key: `accept`, `ask` or `refuse`."""
        checking = self.values.get("stricthostkeychecking", "ask")
        if checking in ("no", "accept-new"):
            return "accept"
        return "refuse" if checking == "yes" or self.in_batch else "ask"

    @property
    def in_batch(self) -> bool:
        """Whether nobody may be asked anything."""
        return bool(self.values.get("batchmode") == "yes")

    def timeout(self, usual: float) -> float:
        """Return the seconds until the login must be done."""
        seconds: int = self.values.get("connecttimeout", -1)
        return float(seconds) if seconds > 0 else usual

    def keepalive(self, usual: float) -> float:
        """Return after how many seconds of silence the service is pinged."""
        interval: int = self.values.get("serveraliveinterval", 0)
        count: int = self.values.get("serveralivecountmax", KEEPALIVES)
        return max(1.0, interval * count / KEEPALIVES) if interval else usual

    @property
    def identities(self) -> list[str]:
        """Key files to log in with, and no others, beside what `source` says."""
        if self.values.get("identitiesonly") == "yes":
            return self.host.identities
        return []

    @property
    def agent_to_forward(self) -> str | None:
        """The socket of the agent that is forwarded; None for none. Raises SshConfigError."""
        wanted: str = self.values.get("forwardagent", "no")
        if wanted == "no":
            return None
        if wanted == "yes":
            agent = self.host.agent
            return (os.environ.get("SSH_AUTH_SOCK") if agent is None else agent) or None
        if wanted.startswith("$") and not wanted.startswith("${"):
            return os.environ.get(wanted[1:]) or None
        return self.host.path(wanted)

    def forwards(self) -> list[tuple[Literal["-L", "-R", "-D"], str]]:
        """Return the forwards as `-L`, `-R` or `-D`, and what follows it."""
        if self.values.get("clearallforwardings", "no") == "yes" or self.line.stdio_forward is not None:
            return []
        kinds: tuple[tuple[Literal["-L", "-R", "-D"], str], ...]
        kinds = (("-L", "localforward"), ("-R", "remoteforward"), ("-D", "dynamicforward"))
        return [(flag, text) for flag, keyword in kinds for text in self.values.get(keyword, ())]


def _split_host(host: str) -> tuple[str, int | None]:
    """Return the name and the port of a HOST as the other commands write it, name:port or [ADDRESS]:port."""
    if host.startswith("unix:"):
        return host, None
    name, colon, digits = host.rpartition(":")
    bracketed = name.startswith("[") and name.endswith("]")
    if colon and digits.isascii() and digits.isdecimal() and (bracketed or ":" not in name):
        return name.strip("[]"), int(digits)
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host, None
