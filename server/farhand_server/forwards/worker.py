"""The forward worker: a process that becomes the user, and then is the service's side of one tunnel.

    order -> becomes the user -> Tunnel: frames on stdin and stdout, connections and listeners -> exit code

It ends when its stdin does: then its client is gone for good, since a client that is only cut off resumes the run.
Exit code: 0 at the end of stdin, 1 if the client has sent what no tunnel allows or memory has run out, 70 for an error
in this program (EX_SOFTWARE, sysexits.h). stderr says why it is not 0.

Everything is imported before the process becomes the user, who may be unable to read it.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
from typing import Final

from farhand_forwards.flow import FlowReport
from farhand_forwards.tunnel import Tunnel
from farhand_forwards.wire import ForwardWireError
from farhand_server.programs.start import become, load_lazy_modules, run_and_exit

from .judged import JudgedService
from .order import ForwardOrder, ForwardOrderFile, ForwardTotals
from .pipes import PipeFrames
from .records import FlowRecord, RecordWriter

STDIN_ENDED: Final = 0
NO_TUNNEL: Final = 1

LAST_RECORDS_TIMEOUT: Final = 1.0
"""Seconds for which a worker that ends waits until the core takes what it still has to say."""

_STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_LAZY: Final = ("encodings.idna", "concurrent.futures.thread", "tempfile")
"""What asyncio, `socket` and `listen_at` import only when they need it."""


def main() -> None:
    """Be a worker: the descriptor of its order is in the environment."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python would raise an error; there is nothing yet to clean up
    order_file = ForwardOrderFile(ForwardOrderFile.inherited())
    run_and_exit(lambda: _serve(order_file))


def _serve(order_file: ForwardOrderFile) -> int:
    order = order_file.order()
    os.set_inheritable(order.records, False)
    if order.user is not None:
        load_lazy_modules(_LAZY)
    become(order.user)
    os.environb[b"HOME"] = order.home
    os.environ["XDG_RUNTIME_DIR"] = f"/run/user/{os.getuid()}"  # if it is there (pam_systemd(8))
    allow_all_descriptors()
    # Not `asyncio.run`: it would wait for threads that ask a name server.
    return asyncio.new_event_loop().run_until_complete(ForwardWorker(order, order_file).serve())


def allow_all_descriptors() -> None:
    """Raise the limit on descriptors to what this process may have (RLIMIT_NOFILE, getrlimit(2)): each connection needs
    one, and the usual limit of 1,024 is for programs that use select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class ForwardWorker:
    """One tunnel, by an order of the core."""

    def __init__(self, order: ForwardOrder, order_file: ForwardOrderFile) -> None:
        self._order = order
        self._order_file = order_file
        self._totals = ForwardTotals()
        self._records = RecordWriter(socket.socket(fileno=order.records), self._dropped)

    async def serve(self) -> int:
        """Be the tunnel until its end, and return the exit code; or end by the signal that asks for that."""
        service = JudgedService(self._order.rules, self._listening)
        tunnel = Tunnel(PipeFrames(), client=False, service=service, closed=self._closed)
        stopped: list[signal.Signals] = []

        def stop(number: signal.Signals) -> None:
            stopped.append(number)
            tunnel.close()

        loop = asyncio.get_running_loop()
        for number in _STOPS:
            loop.add_signal_handler(number, stop, number)
        code = STDIN_ENDED
        try:
            await tunnel.run()
        except ForwardWireError as error:
            _say(f"the client has sent what no tunnel allows: {error}")
            code = NO_TUNNEL
        except OSError as error:
            _say(f"the tunnel has ended: {error.strerror}")
            code = NO_TUNNEL
        except MemoryError:
            _say("a limit on memory is too low for this tunnel")
            code = NO_TUNNEL
        self._records.finish(LAST_RECORDS_TIMEOUT)
        self._order_file.write_totals(self._totals)
        if stopped:
            signal.signal(stopped[0], signal.SIG_DFL)
            os.kill(os.getpid(), stopped[0])
        return code

    def _closed(self, report: FlowReport) -> None:
        """Note what became of a connection: the process may be killed at any time."""
        refused = bool(report.message)
        was = self._totals
        self._totals = was._replace(
            flows=was.flows + (not refused),
            refused=was.refused + refused,
            from_client=was.from_client + report.received,
            to_client=was.to_client + report.sent,
        )
        self._records.write(
            FlowRecord(
                kind="accept" if report.listener else "connect",
                target=str(report.target),
                address="" if report.address is None else str(report.address),
                origin=report.origin,
                from_client=report.received,
                to_client=report.sent,
                seconds=report.seconds,
                cause=report.cause,
                message=report.message,
            )
        )
        self._order_file.write_totals(self._totals)

    def _listening(self, record: FlowRecord) -> None:
        if record.cause == "listening":
            self._totals = self._totals._replace(listeners=self._totals.listeners + 1)
            self._order_file.write_totals(self._totals)
        self._records.write(record)

    def _dropped(self) -> None:
        self._totals = self._totals._replace(dropped=self._totals.dropped + 1)


def _say(sentence: str) -> None:
    os.write(2, f"farhandd: {sentence}\n".encode(errors="replace"))
