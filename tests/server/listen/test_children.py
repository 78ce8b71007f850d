"""An edge and a web process are started, reloaded, suspended and stopped together."""

from __future__ import annotations

import asyncio

from farhand_server.config import ListenAddress
from farhand_server.listen.children import FacingChildren
from farhand_server.listen.edge_child import EdgeChild, bind_tcp
from farhand_server.logs import Logger, LogSink
from farhand_server.runs.process.process import prepare_loop

CHILD = """
import signal, sys
signal.signal(signal.SIGHUP, lambda *_: sys.exit(3))
print("ready", flush=True)
signal.pause()
"""


def child() -> EdgeChild:
    return EdgeChild(("-c", CHILD), bind_tcp([ListenAddress("127.0.0.1", 0)]), Logger(LogSink(), {}))


async def test_both_are_kept_running_until_they_are_stopped() -> None:
    prepare_loop()
    children = FacingChildren(child(), child())
    await children.start()
    assert children.edge is not None
    assert children.web is not None
    pids = {children.edge.pid, children.web.pid}
    assert len(pids) == 2
    children.reload()  # which ends this child: it is started again
    async with asyncio.timeout(30):
        while {None, *pids} & {children.edge.pid, children.web.pid}:  # noqa: ASYNC110  # no event for a new pid
            await asyncio.sleep(0.01)
    await children.stop_restarting()
    children.keep_running()
    await children.stop()
    assert (children.edge.pid, children.web.pid) == (None, None)


async def test_one_may_be_missing_and_the_other_s_fails_to_start_again_quietly() -> None:
    prepare_loop()
    web = EdgeChild(("-c", ""), bind_tcp([ListenAddress("127.0.0.1", 0)]), Logger(LogSink(), {}))
    children = FacingChildren(None, web)
    await children.start_again()
    await children.stop()
