"""Login work for tests under a virtual clock, which threads do not know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any

from farhand_server.auth.work import LoginWork


class WorkAtOnce(LoginWork):
    """Does each step at once."""

    def of(self, source: Hashable) -> Callable[[Callable[[], Any]], asyncio.Future[Any]]:
        def run(step: Callable[[], Any]) -> asyncio.Future[Any]:
            done = asyncio.get_running_loop().create_future()
            try:
                done.set_result(step())
            except Exception as error:  # noqa: BLE001  # whoever waits for the step handles it
                done.set_exception(error)
            return done

        return run
