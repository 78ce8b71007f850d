"""The conditions of `Match` in ssh_config(5)."""

from __future__ import annotations

import os

from .line import SshConfigError
from .patterns import match_host, match_list
from .splitting import next_word
from .tokens import TokenError, connection_tokens, local_user, with_tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .settings import Settings

_NEWER: Final = frozenset(("localnetwork", "version", "sessiontype", "command"))
"""Criteria of later versions of OpenSSH, which never match here."""


class MatchedHost:
    """A host that sections of the configuration are for."""

    def __init__(self, original: str) -> None:
        self.original: Final = original
        """The name as given."""
        self.name = original
        """The name for patterns of `Host`; in a second pass the one that the first has found."""
        self.named = False
        """Whether a section matched that is for certain hosts, and not for all."""
        self.wants_final = False
        """Whether some section is for a second pass."""


class Conditions:
    """The conditions of one `Match`. With `runs` its commands are run."""

    def __init__(self, host: MatchedHost, settings: Settings, *, final: bool, runs: bool) -> None:
        self._host = host
        self._settings = settings
        self._final = final
        self._runs = runs
        values = settings.values
        self._port = str(values.get("port") or 22)
        self._user = values["user"] if "user" in values else local_user()
        if final:
            self._name = host.name
        elif "hostname" in values:
            self._name = with_tokens(values["hostname"], {"h": host.name})
        else:
            self._name = host.name

    def hold(self, text: str) -> tuple[bool, str | None]:
        """Return whether all conditions in `text` hold, and what could not be read of it. Raises SshConfigError."""
        rest: str | None = text
        result = True
        count = 0
        particular = False
        while True:
            written, rest = next_word(rest)
            if not written:
                break
            if written.startswith("#"):
                rest = None
                break
            negated = written.startswith("!")
            criterion = written[negated:].lower()
            if criterion == "all":
                following, after = next_word(rest)
                if count > 1 or (following and not following.startswith("#")):
                    raise SshConfigError(f"'{written}' cannot be combined with other Match attributes")
                rest = None if following else after
                return result and not negated, rest
            count += 1
            if criterion in ("canonical", "final"):
                self._host.wants_final = self._host.wants_final or criterion == "final"
                result = result and self._final != negated
                continue
            argument, rest = next_word(rest)
            if not argument or argument.startswith("#"):
                raise SshConfigError(f"Missing Match criteria for {written[negated:]}")
            particular = True
            if criterion in _NEWER:
                result = False
            elif criterion != "exec":
                result = (self._matches(criterion, argument, written[negated:]) != negated) and result
            elif result and self._runs:
                result = self._succeeds(argument) != negated
        if not count:
            raise SshConfigError("One or more attributes required for Match")
        if result and particular and self._runs:
            self._host.named = True
        return result, rest

    def _matches(self, criterion: str, patterns: str, written: str) -> bool:
        match criterion:
            case "host":
                return match_host(self._name, patterns)
            case "originalhost":
                return match_host(self._host.original, patterns)
            case "user":
                return match_list(self._user, patterns) == 1
            case "localuser":
                return match_list(local_user(), patterns) == 1
            case "tagged":
                return match_list(self._settings.values.get("tag", ""), patterns) == 1
            case _:
                raise SshConfigError(f"Unsupported Match attribute {written}")

    def _succeeds(self, command: str) -> bool:
        """Return whether a command of the user's shell exits with 0. Its stdin and stdout are empty."""
        tokens = connection_tokens(
            host=self._name,
            original=self._host.original,
            port=self._port,
            user=self._user,
            alias=self._settings.values.get("hostkeyalias", self._name),
            jump=self._settings.values.get("proxyjump", ""),
        )
        del tokens["T"]
        try:
            text = with_tokens(command, tokens)
        except TokenError as error:
            raise SshConfigError(str(error)) from None
        shell = os.environ.get("SHELL") or "/bin/sh"
        null = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0)
        try:
            # The defaults of a new process: none of the signals that are blocked or ignored here.
            pid = os.posix_spawn(
                shell,
                [shell, "-c", text],
                os.environ,
                file_actions=[null, (os.POSIX_SPAWN_DUP2, 0, 1)],
                setsigmask=(),
            )
            _, status = os.waitpid(pid, 0)
        except OSError as error:
            raise SshConfigError(f'Shell "{shell}" is not executable: {error.strerror}') from None
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            raise SshConfigError(f"match exec '{text}' error")
        return code == 0
