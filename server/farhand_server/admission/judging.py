"""Requests that are being judged, while a worker looks at files on which the judgement depends.

Such a request has reserved its id: the same request, on whatever connection, waits for the same judgement, so it
becomes one run. It is forgotten when nobody waits for it any more, and nothing has happened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

_Judgement = TypeVar("_Judgement")


class Judging(Generic[_Judgement]):
    """One request that is being judged. `owner` has sent it, logged in with `key`."""

    def __init__(self, run_id: str, *, owner: str, key: str | None, fingerprint: bytes) -> None:
        self.run_id: Final = run_id
        self.owner: Final = owner
        self.key: Final = key
        self.fingerprint: Final = fingerprint
        self.on_abandon: Callable[[], object] = lambda: None
        """Called when nobody waits any more."""
        self._waiting: list[Awaited[_Judgement]] = []
        self.over = False
        """Whether it is judged, or abandoned."""

    def wait(self) -> Awaited[_Judgement]:
        """Return a new place among those who wait."""
        place = Awaited(self)
        self._waiting.append(place)
        return place

    def leave(self, place: Awaited[_Judgement]) -> None:
        """Give up a place. When the last one is given up, the request is abandoned."""
        if place in self._waiting:
            self._waiting.remove(place)
            if not self._waiting and not self.over:
                self.over = True
                self.on_abandon()

    def fail(self, error: Exception) -> None:
        """Tell everybody who waits that an error in the service prevents the judgement."""
        self.over = True
        waiting, self._waiting = self._waiting, []
        for place in waiting:
            place.failed(error)

    def finish(self, first: _Judgement, others: _Judgement) -> None:
        """Tell everybody who waits: `first` to the one who has waited longest, `others` to the rest."""
        self.over = True
        waiting, self._waiting = self._waiting, []
        for number, place in enumerate(waiting):
            place.judged(others if number else first)


class Awaited(Generic[_Judgement]):
    """The judgement of a request, for one client that waits for it."""

    def __init__(self, judging: Judging[_Judgement]) -> None:
        self._judging = judging
        self._then: Callable[[_Judgement], object] = lambda judgement: None
        self._otherwise: Callable[[Exception], object] = lambda error: None

    def then(self, call: Callable[[_Judgement], object], otherwise: Callable[[Exception], object]) -> None:
        """Call `call` with the judgement, or `otherwise` with an error in the service, in a later turn of the loop."""
        self._then, self._otherwise = call, otherwise

    def abandon(self) -> None:
        """Wait no longer: nothing is called any more."""
        self.then(lambda judgement: None, lambda error: None)
        self._judging.leave(self)

    def judged(self, judgement: _Judgement) -> None:
        """Pass the judgement on."""
        self._then(judgement)

    def failed(self, error: Exception) -> None:
        """Pass an error on."""
        self._otherwise(error)
