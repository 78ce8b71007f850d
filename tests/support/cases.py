"""One test with many cases: all are run, and the failure names each case that failed."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import pytest


class Cases:
    """Collects the failures of cases. Leaving the outer `with` fails the test if any case failed.

    ```
    with Cases() as cases:
        for phase in Phase:
            with cases.case(phase):
                assert ...
    ```
    """

    def __init__(self) -> None:
        self._count = 0
        self._failures: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is not None:
            return
        assert self._count, "the table has no cases"
        if self._failures:
            pytest.fail(
                f"{len(self._failures)} of {self._count} cases failed:\n" + "\n".join(self._failures), pytrace=False
            )

    @contextlib.contextmanager
    def case(self, *name: object) -> Iterator[None]:
        """Run one case, named by `name`."""
        self._count += 1
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001  # every failure is reported at the end
            frames = traceback.extract_tb(error.__traceback__)
            frame = [frame for frame in frames if frame.filename != __file__ and "/tests/" in frame.filename][-1]
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            self._failures.append(f"  {' / '.join(map(str, name))}: {reason} (line {frame.lineno}: {frame.line})")
