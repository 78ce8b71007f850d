"""What the sessions of a core share: its configuration, policy, runs and books."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..audit import Entry
from ..config import Config
from ..policy import Policy
from ..runs.registry import Registry

if TYPE_CHECKING:
    from ..auth.login import Authenticator
    from .session import ServerSession


class Core(Protocol):
    """What a session needs of the service."""

    @property
    def config(self) -> Config:
        """The configuration in force."""

    @property
    def policy(self) -> Policy:
        """The policy in force."""

    @property
    def registry(self) -> Registry:
        """All runs."""

    @property
    def authenticator(self) -> Authenticator | None:
        """Judges logins by key; None where no host key, and so no edge, is there."""

    @property
    def sessions(self) -> set[ServerSession]:
        """All sessions; each adds and removes itself."""

    def note(self, entry: Entry) -> None:
        """Put an event into the audit log, soon."""
