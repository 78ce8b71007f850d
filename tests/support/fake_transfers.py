"""A client whose transfers report what a test wants, for the commands that show them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from typing import Any

from farhand_client.transferred import Transferred
from farhand_files.events import Event


class FakeTransferClient:
    """Its transfers report `events`, and then return `transferred`, raise `error`, or go on for ever.

    `calls` are the names and the arguments of the methods that were called, and their options that are not the default;
    `hosts` are those to which a connection was wanted.
    """

    def __init__(self, *events: Event) -> None:
        self.events: Sequence[Event] = events
        self.transferred = Transferred()
        self.error: Exception | None = None
        self.endless = False
        self.on_endless: Callable[[], object] | None = None
        self.hosts: list[str] = []
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def put(self, *arguments: Any, progress: Callable[[Event], None], check: bool, **options: Any) -> FakeTransfer:
        """Do what the test wants, as `Client.put` would: it must not raise for what failed."""
        assert not check
        return FakeTransfer(self, "put", arguments, progress, options)

    def get(self, *arguments: Any, progress: Callable[[Event], None], check: bool, **options: Any) -> FakeTransfer:
        """The same for `Client.get`."""
        assert not check
        return FakeTransfer(self, "get", arguments, progress, options)

    def sync(self, *arguments: Any, progress: Callable[[Event], None], check: bool, **options: Any) -> FakeTransfer:
        """The same for `Client.sync`."""
        assert not check
        return FakeTransfer(self, "sync", arguments, progress, options)

    async def transfer(
        self, name: str, arguments: tuple[Any, ...], progress: Callable[[Event], None], options: dict[str, Any]
    ) -> Transferred:
        """Do what the test wants."""
        defaults = {"times": True, "sync": True}
        given = {key: value for key, value in options.items() if value != defaults.get(key, False) and value}
        given |= {key: value for key, value in options.items() if key in defaults and value is False}
        self.calls.append((name, arguments, given))
        for event in self.events:
            progress(event)
        if self.endless:
            if self.on_endless is not None:
                self.on_endless()
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return self.transferred


class FakeTransfer:
    """What `Client.put` returns: to be awaited."""

    def __init__(
        self,
        client: FakeTransferClient,
        name: str,
        arguments: tuple[Any, ...],
        progress: Callable[[Event], None],
        options: dict[str, Any],
    ) -> None:
        self._client = client
        self._call = (name, arguments)
        self._progress = progress
        self._options = options
        self._kinds: tuple[type[Event], ...] | None = None

    def only(self, *kinds: type[Event]) -> None:
        """Leave out events of other kinds."""
        self._kinds = kinds

    def __await__(self) -> Generator[Any, None, Transferred]:
        return self._client.transfer(*self._call, self._note, self._options).__await__()

    def _note(self, event: Event) -> None:
        if self._kinds is None or type(event) in self._kinds:
            self._progress(event)
