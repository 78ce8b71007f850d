"""What ssh's configuration says about one host: where it is, as whom to log in there, and with which keys."""

from __future__ import annotations

import os

from .line import SshConfigError
from .matching import MatchedHost
from .places import place_from
from .quick import SSH_CONFIG_VARIABLE, SSH_PORT, names_hosts
from .reading import ConfigFiles
from .settings import Settings
from .tokens import TokenError, connection_tokens, local_user, with_home, with_tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final


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
    def family(self) -> int:
        """The only address family to be used, as in `socket`; 0 for any."""
        wanted = self.values.get("addressfamily", "any")
        if wanted == "any":
            return 0
        import socket

        return int(socket.AF_INET if wanted == "inet" else socket.AF_INET6)

    @property
    def jumps(self) -> tuple[str, ...]:
        """The hosts on the way, the nearest first, each as Farhand's HOST: ssh's own port is not written."""
        jump = self.values.get("proxyjump", "none")
        return () if jump == "none" else tuple(map(_hop, jump.split(",")))

    @property
    def command(self) -> str | None:
        """The command that has to make the connection, the only way to the host; None if there is none."""
        command: str = self.values.get("proxycommand", "none")
        return None if command.lower() == "none" else command


def _hop(text: str) -> str:
    user, name, port = place_from(text) or (None, text, None)
    name = f"[{name}]" if ":" in name else name
    return f"{f'{user}@' if user else ''}{name}{f':{port}' if port not in (None, SSH_PORT) else ''}"


class SshSource:
    """Where to look hosts up: ssh's files, or what was `found` in them before.

    Unless it is `whole`, sections for all hosts alone say nothing about one: for commands that are not ssh, a `Host *`
    of ssh is no reason to do anything else than before.
    """

    def __init__(
        self,
        files: ConfigFiles,
        found: SshHost | None = None,
        *,
        whole: bool = False,
        identities: Sequence[str] = (),
        typed: SshHost | None = None,
    ) -> None:
        self.identities: Final = tuple(identities)
        """Key files of a command line, which are tried first also for a host of `config.toml`."""
        self.typed: Final = typed
        """What a command line says about the way, which is valid for a host of `config.toml`, too; None if nothing."""
        self._files = files
        self._found = found
        self._whole = whole

    @classmethod
    def usual(cls) -> SshSource | None:
        """Return the files that ssh reads, or the one that FARHAND_SSH_CONFIG names; None if they name no host."""
        return cls(ConfigFiles(os.environ.get(SSH_CONFIG_VARIABLE) or None, lenient=True)) if names_hosts() else None

    def look_up(self, original: str, user: str | None, port: int | None) -> SshHost | None:
        """Return what is known about a host, with the user and port that are given beside it.

        Returns None if no section is for it. Raises SshConfigError.
        """
        if self._found is not None:
            return self._found
        settings = Settings()
        if user is not None:
            settings.put("user", user)
        if port is not None:
            settings.put("port", port)
        found = look_up(original, self._files, settings)
        return found if found.named or self._whole else None

    def for_hop(self) -> SshSource:
        """Return where hosts on the way are looked up: options of a command line are not for them."""
        return SshSource(self._files, whole=self._whole)


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
