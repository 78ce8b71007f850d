"""The processes that `farhandd serve` runs beside its core to face the network: an edge, a web process, or both."""

from __future__ import annotations

import asyncio

from .edge_child import EdgeChild


class FacingChildren:
    """Keeps these processes running. Each method does for both what `EdgeChild` does for one."""

    def __init__(self, edge: EdgeChild | None, web: EdgeChild | None) -> None:
        self.edge = edge
        self.web = web
        self._both = tuple(child for child in (edge, web) if child is not None)

    async def start(self) -> None:
        """Start both, wait until they are ready, and keep them running. Raises `EdgeFailed`."""
        for child in self._both:
            await child.start()

    async def start_again(self) -> None:
        """Start both to replace the previous program's."""
        await asyncio.gather(*(child.start_again() for child in self._both))

    def keep_running(self) -> None:
        """From now on, restart each whenever it exits."""
        for child in self._both:
            child.keep_running()

    async def stop_restarting(self) -> None:
        """Stop restarting them. `keep_running` undoes this."""
        for child in self._both:
            await child.stop_restarting()

    def reload(self) -> None:
        """Tell both to reload their configuration."""
        for child in self._both:
            child.reload()

    async def stop(self) -> None:
        """Stop both, wait until they have exited, and close the sockets."""
        await asyncio.gather(*(child.stop() for child in self._both))
