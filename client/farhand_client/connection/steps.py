"""What a `connect` is doing, for the error that says what took too long."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


class ConnectSteps:
    """The step that is under way, out of those that have `seconds` in all."""

    def __init__(self, seconds: float) -> None:
        self.seconds: Final = seconds
        self._what = "the connection was not ready"
        self._where = ""

    @property
    def message(self) -> str:
        """What an error about the deadline says."""
        unit = "second" if self.seconds == 1 else "seconds"
        return f"{self._what} within {self.seconds:g} {unit}{self._where}"

    def step(self, what: str, where: str = "") -> None:
        """Note the step that begins: the error is `what`, "within … seconds", and `where`."""
        self._what = what
        self._where = where

    def resolving(self, host: str) -> None:
        """Note that the name `host` is looked up."""
        self.step(f"the name {host} was not resolved", "; its name server may be unreachable")

    def connecting(self, name: str) -> None:
        """Note that `name` is being connected to."""
        self.step(f"{name} did not answer", "; it may be down or behind a firewall")

    def shaking_hands(self, name: str) -> None:
        """Note that the TLS handshake with `name` is under way."""
        self.step(f"{name} did not answer", " during the TLS handshake; is it a Farhand service?")

    def logging_in(self, name: str) -> None:
        """Note that an answer of `name` during the login is awaited."""
        self.step(f"{name} did not answer", " during the login")

    def signing(self, description: str) -> None:
        """Note that the key `description` is to sign."""
        self.step(f"{description} did not sign", "; its agent may be waiting for a touch or a confirmation")
