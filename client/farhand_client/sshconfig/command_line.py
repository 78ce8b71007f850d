"""The words after `ssh`, as OpenSSH 9 reads them: options before and after the host, several in one word."""

from __future__ import annotations

import os
from itertools import pairwise

from .forms import escape_from, tunnel_from
from .line import SshConfigError
from .places import checked_jump, forward_from, port_from, uri_place
from .settings import Settings, keyword_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

SSH_FLAGS: Final = "1246ACGKMNTVXYafgknqstvxy"
"""The options without a value. `-Z`, for OpenSSH's own tests, is not among them."""

SSH_VALUED: Final = "BDEFIJLOPQRSWbceilmopw"
"""The options that take a value, the rest of their word or the next one."""

SSH_USAGE: Final = """\
usage: farhand rsh [-46AaCfGgKkMNnqsTtVvXxYy] [-B bind_interface] [-b bind_address]
           [-c cipher_spec] [-D [bind_address:]port] [-E log_file]
           [-e escape_char] [-F configfile] [-I pkcs11] [-i identity_file]
           [-J destination] [-L address] [-l login_name] [-m mac_spec]
           [-O ctl_cmd] [-o option] [-P tag] [-p port] [-Q query_option]
           [-R address] [-S ctl_path] [-W host:port]
           [-w local_tun[:remote_tun]] destination [command [argument ...]]"""

CONTROL_COMMANDS: Final = frozenset(("check", "forward", "exit", "stop", "cancel", "proxy", "conninfo", "channels"))

_LEVELS: Final = ("INFO", "VERBOSE", "DEBUG", "DEBUG2", "DEBUG3")

_SIMPLE: Final = {
    "4": ("addressfamily", "inet"),
    "6": ("addressfamily", "inet6"),
    "n": ("stdinnull", "yes"),
    "x": ("forwardx11", "no"),
    "X": ("forwardx11", "yes"),
    "a": ("forwardagent", "no"),
    "A": ("forwardagent", "yes"),
    "g": ("gatewayports", "yes"),
    "k": ("gssapidelegatecredentials", "no"),
    "C": ("compression", "yes"),
    "T": ("requesttty", "no"),
    "q": ("loglevel", "QUIET"),
    "I": ("pkcs11provider", ""),
    "S": ("controlpath", ""),
    "b": ("bindaddress", ""),
    "B": ("bindinterface", ""),
    "c": ("ciphers", ""),
    "m": ("macs", ""),
}
"""Options that set a keyword, whatever it was before; an empty value stands for the option's."""

_FORWARDS: Final = {
    "L": ("localforward", "local"),
    "R": ("remoteforward", "remote"),
    "D": ("dynamicforward", "dynamic"),
}


class UsageError(SshConfigError):
    """The words make no command line; ssh prints how it is used."""


class SshCommandLine:
    """What a command line says."""

    def __init__(self) -> None:
        self.settings: Final = Settings()
        """What it sets; nothing in the files comes before that."""
        self.host = ""
        """The host as written; empty for the few uses without one."""
        self.words: list[str] = []
        """The words of the command."""
        self.config: str | None = None
        """The file to read instead of the user's and the system's; `none` for none."""
        self.log_file: str | None = None
        self.syslog = False
        self.print_config = False
        self.version = False
        self.query: str | None = None
        self.control: str | None = None
        """What `-O` asks of a connection that is shared."""
        self.stdio_forward: str | None = None
        self.notes: Final[list[str]] = []
        """Warnings, such as for an identity that is not there."""

    @property
    def command(self) -> str:
        """The command, its words joined as ssh joins them."""
        return " ".join(self.words)


def parse_command_line(words: Sequence[str]) -> SshCommandLine:
    """Return what `words`, those after `ssh`, say. Raises SshConfigError, and UsageError where ssh shows its usage."""
    line = SshCommandLine()
    rest = list(words)
    while True:
        ended = _take_options(line, rest)
        if line.version or line.query is not None or not rest or line.host:
            break
        _take_host(line, rest.pop(0))
        if not rest or ended:
            break
    line.words = rest
    if not line.host and not (line.version or line.query is not None):
        raise UsageError("")
    if line.host:
        _check_names(line)
    if line.syslog and line.log_file is not None:
        raise SshConfigError("Can't specify both -y and -E")
    values = line.settings.values
    if values.get("sessiontype") == "subsystem" and not line.words and line.host:
        raise UsageError("You must specify a subsystem to invoke.")
    return line


def _take_options(line: SshCommandLine, rest: list[str]) -> bool:
    """Take the options at the beginning of `rest`, as getopt(3) does; return whether `--` ended them."""
    while rest:
        word = rest[0]
        if not word.startswith("-") or word == "-":
            return False
        del rest[0]
        if word == "--":
            return True
        at = 1
        while at < len(word):
            letter = word[at]
            at += 1
            if letter in SSH_FLAGS:
                _take_flag(line, letter)
                continue
            if letter not in SSH_VALUED:
                raise UsageError(f"unknown option -- {letter}")
            value = word[at:]
            if not value:
                if not rest:
                    raise UsageError(f"option requires an argument -- {letter}")
                value = rest.pop(0)
            _take_value(line, letter, value)
            break
        if line.version or line.query is not None:
            return False
    return False


def _take_host(line: SshCommandLine, word: str) -> None:
    user: str | None
    if word.startswith("ssh://"):
        place = uri_place(word)
        if place is None:
            raise UsageError("")
        user, line.host, port = place
        if port is not None:
            line.settings.put("port", port)
    else:
        user, at, line.host = word.rpartition("@")
        if at and not user:
            raise UsageError("")
    if user:
        line.settings.put("user", user)
    if not line.host:
        raise UsageError("")


def _take_flag(line: SshCommandLine, letter: str) -> None:
    values = line.settings.values
    if letter in _SIMPLE:
        keyword, value = _SIMPLE[letter]
        values[keyword] = value
        return
    match letter:
        case "1":
            raise SshConfigError("SSH protocol v.1 is no longer supported")
        case "f":
            values["forkafterauthentication"] = values["stdinnull"] = "yes"
        case "Y":
            values["forwardx11"] = values["forwardx11trusted"] = "yes"
        case "K":
            values["gssapiauthentication"] = values["gssapidelegatecredentials"] = "yes"
        case "M":
            values["controlmaster"] = "ask" if values.get("controlmaster") == "yes" else "yes"
        case "t":
            values["requesttty"] = "force" if values.get("requesttty") == "yes" else "yes"
        case "v":
            level = values.get("loglevel")
            at = _LEVELS.index(level) + 1 if level in _LEVELS[2:] else 2
            values["loglevel"] = _LEVELS[min(at, len(_LEVELS) - 1)]
        case "N":
            _set_session_type(line, "none", "Cannot specify -N with -s/SessionType")
            values["requesttty"] = "no"
        case "s":
            _set_session_type(line, "subsystem", "Cannot specify -s with -N/SessionType")
        case "G":
            line.print_config = True
        case "V":
            line.version = True
        case "y":
            line.syslog = True


def _set_session_type(line: SshCommandLine, kind: str, conflict: str) -> None:
    if line.settings.values.setdefault("sessiontype", kind) != kind:
        raise SshConfigError(conflict)


def _take_value(line: SshCommandLine, letter: str, value: str) -> None:
    settings = line.settings
    if letter in _SIMPLE:
        settings.values[_SIMPLE[letter][0]] = value
        return
    if letter in _FORWARDS:
        keyword, kind = _FORWARDS[letter]
        good = (forward_from(value, dynamic=letter == "D", remote=letter == "R") is not None) or (
            letter == "R" and forward_from(value, dynamic=True, remote=True) is not None
        )
        if not good:
            raise SshConfigError(f"Bad {kind} forwarding specification '{value}'")
        found = settings.values.setdefault(keyword, [])
        if value not in found:
            found.append(value)
        return
    match letter:
        case "o":
            _take_line(settings, value)
        case "p":
            port = port_from(value)
            if not port and "port" not in settings.values:
                raise SshConfigError(f"Bad port '{value}'")
            settings.put("port", port)
        case "l":
            settings.put("user", value)
        case "i":
            _take_identity(line, value)
        case "F":
            line.config = value
        case "E":
            line.log_file = value
        case "P":
            settings.put("tag", value)
        case "Q":
            line.query = value
        case "e":
            code = escape_from(value)
            if code is None:
                raise SshConfigError(f"Bad escape character '{value}'.")
            settings.values["escapechar"] = code
        case "w":
            device = tunnel_from(value)
            if device is None:
                raise SshConfigError(f"Bad tun device '{value}'")
            settings.put("tunnel", "yes")
            settings.values["tunneldevice"] = device
        case "J" | "W" | "O":
            _take_once(line, letter, value)


def _take_once(line: SshCommandLine, letter: str, value: str) -> None:
    values = line.settings.values
    match letter:
        case "J":
            if "proxyjump" in values:
                raise SshConfigError("Only a single -J option is permitted (use commas to separate multiple jump hops)")
            if "proxycommand" in values:
                raise SshConfigError("Cannot specify -J with ProxyCommand")
            jump = checked_jump(value)
            if jump is None:
                raise SshConfigError("Invalid -J argument")
            values["proxyjump"] = jump
            if jump != "none":
                values["proxycommand"] = "none"
        case "W":
            if line.stdio_forward is not None:
                raise SshConfigError("stdio forward already specified")
            if line.control is not None:
                raise SshConfigError("Cannot specify stdio forward with -O")
            if forward_from(value, dynamic=True, remote=False) is None:
                raise SshConfigError(f"Bad stdio forwarding specification '{value}'")
            line.stdio_forward = value
            values["requesttty"], values["sessiontype"] = "no", "none"
        case "O":
            if line.stdio_forward is not None:
                raise SshConfigError("Cannot specify multiplexing command with -W")
            if line.control is not None:
                raise SshConfigError("Multiplexing command already specified")
            if value not in CONTROL_COMMANDS:
                raise SshConfigError("Invalid multiplex command.")
            line.control = value


def _take_line(settings: Settings, text: str) -> None:
    words = keyword_of(text, "command-line line 0")
    if words is not None:
        settings.take(*words, "command-line line 0")


def _take_identity(line: SshCommandLine, value: str) -> None:
    from .tokens import with_home

    path = with_home(value)
    try:
        os.stat(path)
    except OSError as error:
        line.notes.append(f"Warning: Identity file {path} not accessible: {error.strerror}.")
        return
    found = line.settings.values.setdefault("identityfile", [])
    if path not in found:
        found.append(path)


def _check_names(line: SshCommandLine) -> None:
    """Raise SshConfigError for names that would be dangerous where they replace tokens in a command."""
    user = line.settings.values.get("user")
    if user is not None and not _valid_user(user):
        raise SshConfigError("remote username contains invalid characters")
    if line.host.startswith("-") or any(
        character in "'`\"$\\;&<>|(){}" or character.isspace() or ord(character) < 32 for character in line.host
    ):
        raise SshConfigError("hostname contains invalid characters")


def _valid_user(user: str) -> bool:
    return not (
        user.startswith("-")
        or any(character in "'`\";&<>|(){}" or ord(character) < 32 or ord(character) == 127 for character in user)
        or user.endswith("\\")
        or any(first.isspace() and second == "-" for first, second in pairwise(user))
    )
