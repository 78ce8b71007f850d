"""What ssh's configuration says about one host: where it is, as whom to log in there, and with which keys."""

from __future__ import annotations

import os

from .forms import SshConfigError
from .matching import MatchedHost
from .places import place_from
from .settings import Settings
from .tokens import TokenError, connection_tokens, local_user, with_home, with_tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from .reading import ConfigFiles

SSH_PORT: Final = 22
"""The port of sshd, which says nothing about where Farhand's service is."""


class SshHost:
    """What is known about `original`, the host as given, from the values of the configuration."""

    def __init__(self, original: str, host: MatchedHost, values: dict[str, Any]) -> None:
        self.original: Final = original
        self.named: Final = host.named
        """Whether a section is for this host, and not for all."""
        self.values: Final = values
        self.host: Final = host.name
        """The name or address to connect to."""
        self.port: Final[int] = values.get("port") or SSH_PORT
        self.user: Final[str | None] = values.get("user")
        self._tokens: dict[str, str] | None = None

    @property
    def tokens(self) -> dict[str, str]:
        """What each token means, the letter after its percent sign."""
        if self._tokens is None:
            self._tokens = connection_tokens(
                host=self.host,
                original=self.original,
                port=str(self.port),
                user=self.user or local_user(),
                alias=self.values.get("hostkeyalias", self.original),
                jump=self._jump_host(),
            )
        return self._tokens

    def _jump_host(self) -> str:
        jump: str | None = self.values.get("proxyjump")
        if jump is None:
            return ""
        place = place_from(jump.rpartition(",")[2])
        return jump if place is None else place[1]

    def path(self, value: str) -> str:
        """Return a path in the configuration with its tokens replaced. Raises SshConfigError."""
        try:
            path = with_home(value)
            return with_tokens(path, self.tokens, variables=True) if "%" in path or "$" in path else path
        except TokenError as error:
            raise SshConfigError(str(error)) from None

    @property
    def identities(self) -> list[str]:
        """The files of the keys to log in with, as far as they are there. Raises SshConfigError."""
        paths = [self.path(path) for path in self.values.get("identityfile", ()) if path.lower() != "none"]
        return [path for path in paths if os.path.exists(path) or os.path.exists(f"{path}.pub")]

    @property
    def only_identities(self) -> bool:
        """Whether no other keys are to be tried, such as those of the agent."""
        return bool(self.values.get("identitiesonly") == "yes")

    @property
    def agent(self) -> str | None:
        """The socket of the ssh-agent, empty for none; None if it is the usual one. Raises SshConfigError."""
        written: str | None = self.values.get("identityagent")
        if written is None or written == "SSH_AUTH_SOCK":
            return None
        if written.lower() == "none":
            return ""
        if written.startswith("$") and not written.startswith("${"):
            return os.environ.get(written[1:], "")
        return self.path(written)

    @property
    def jumps(self) -> tuple[str, ...]:
        """The hosts on the way, the nearest first, each as `[user@]host[:port]`."""
        jump = self.values.get("proxyjump", "none")
        return () if jump == "none" else tuple(jump.split(","))


def look_up(original: str, files: ConfigFiles, settings: Settings | None = None) -> SshHost:
    """Return what is known about a host. `settings` are those of the command line, to which the files add theirs.

    Raises SshConfigError.
    """
    if settings is None:
        settings = Settings()
    values = settings.values
    host = MatchedHost(original)
    files.read(host, settings, final=False)
    try:
        if "hostname" in values:
            host.name = values["hostname"] = with_tokens(values["hostname"], {"h": host.name})
    except TokenError as error:
        raise SshConfigError(str(error)) from None
    if ":" not in host.name:
        host.name = host.name.lower()
    if host.wants_final or values.get("canonicalizehostname", "no") != "no":
        values["hostname"] = host.name
        files.read(host, settings, final=True)
    return SshHost(original, host, values)
