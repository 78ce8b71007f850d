"""The transfer worker: a process that becomes the user, and then is one side of a transfer.

    order -> becomes the user -> OPTIONS -> READY -> Receiver (put) or Sender (get) -> exit code
                              -> sweep (`sweeping`) -> exit code

The frames come in on stdin and go out on stdout. Whatever goes wrong with the user's files or options is said to the
client in frames; stderr is for what ends the transfer in the middle, such as a limit on memory, since a frame may then
be half written. Exit code: 0 if all was done, 1 if something was not, 2 if the options were refused, 70 for an error in
this program (EX_SOFTWARE, sysexits.h).

Everything is imported before the process becomes the user, who may be unable to read it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias

from farhand_files import delta, wire
from farhand_files.events import Finished, Removed, Skipped, Totals, Trouble
from farhand_files.opening import Area
from farhand_files.options import Ready, TransferOptions
from farhand_files.rows import Happened, Report, RowEvents
from farhand_files.selection import Selection
from farhand_files.stream import ByteStream, Cancelled, StreamEnded, read_exactly_one
from farhand_server.programs.start import become, readable_by_all, run_and_exit

from .order import OrderFile, TransferOrder, TransferReport

ALL_DONE: Final = 0
NOT_ALL_DONE: Final = 1
OPTIONS_REFUSED: Final = 2

_STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _Work(Protocol):
    """What `Receiver` and `Sender` have in common."""

    def run(self) -> Totals:
        """Do the whole transfer, once, and return what was done."""

    def cancel(self) -> None:
        """Let `run` raise `Cancelled` soon."""


MakeWork: TypeAlias = Callable[[TransferOptions, Area, ByteStream, Report], _Work]


class _Refused(Exception):
    """The options are not accepted. The text says why."""


def main() -> None:
    """Be a worker: the descriptor of its order is in the environment."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python would raise an error; there is nothing yet to clean up
    order_file = OrderFile(OrderFile.inherited())
    run_and_exit(lambda: _serve(order_file))


def _serve(order_file: OrderFile) -> int:
    order = order_file.order()
    serve = _server_of(order.access)
    if order.user is not None:
        load_what_others_cannot(sys.path)
    become(order.user)
    return serve(order, order_file)


def _server_of(access: str) -> Callable[[TransferOrder, OrderFile], int]:
    """Return what carries out an order, with everything loaded that it needs."""
    if access == "sweep":
        from .sweeping import serve_sweep

        return serve_sweep
    mover_of(access)
    return lambda order, order_file: TransferWorker(order, order_file, PipeStream()).serve()


def mover_of(access: str) -> MakeWork:
    """Return what makes a `Receiver` or a `Sender`. Loading the other one, too, would take a tenth of the start."""
    if access == "write":
        from farhand_files.receiver import Receiver

        return lambda options, area, stream, report: Receiver(options.paths[0], options, area, stream, report)
    from farhand_files.sender import Sender

    return lambda options, area, stream, report: Sender(options.paths, options, area, stream, report, expand=True)


def load_what_others_cannot(directories: Sequence[str]) -> None:
    """Import what is otherwise only imported when it is needed, if not every user can read it then."""
    if not readable_by_all(directories):
        delta.available()
        with contextlib.suppress(wire.WireError):
            Selection(TransferOptions("get", (b"/",), excludes=("x",)))


class PipeStream:
    """The frames' way in and out: stdin and stdout. `end` ends calls that wait."""

    def __init__(self, reading: int = 0, writing: int = 1) -> None:
        self._reading = reading
        self._writing = writing
        self._ended = os.eventfd(0, os.EFD_CLOEXEC)
        os.set_blocking(writing, False)  # the pipe's other end is another open file, which this does not concern

    def readinto(self, buffer: memoryview) -> int:
        self._wait(self._reading, select.POLLIN)
        return os.readv(self._reading, [buffer])

    def write(self, data: bytes | memoryview) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._writing, left) :]
            except BlockingIOError:
                self._wait(self._writing, select.POLLOUT)

    def end(self) -> None:
        """Let every call that waits, now or later, raise OSError."""
        os.eventfd_write(self._ended, 1)

    def _wait(self, fd: int, event: int) -> None:
        poll = select.poll()
        poll.register(fd, event)
        poll.register(self._ended, select.POLLIN)
        for ready, _ in poll.poll():
            if ready == self._ended:
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))


class TransferWorker:
    """One transfer, by an order of the core."""

    def __init__(self, order: TransferOrder, order_file: OrderFile, stream: PipeStream) -> None:
        self._order = order
        self._order_file = order_file
        self._stream = stream
        self._report = TransferReport()
        self._agreed = False
        self._lock = threading.Lock()

    def serve(self) -> int:
        """Agree with the client on the options, transfer, and return the exit code."""
        try:
            options = self._agreed_options()
            try:
                work = self._work(options)
            except wire.WireError as error:
                raise _Refused(str(error)) from None
            self._agreed = True
            self._stream.write(wire.encode(wire.ReadyFrame(Ready(options.delta).to_json())))
            totals = self._until_stopped(work)
        except _Refused as refused:
            return self._refuse(str(refused), OPTIONS_REFUSED)
        except wire.WireError as error:
            return self._refuse(f"the client has sent what no transfer allows: {error}", NOT_ALL_DONE)
        except StreamEnded:
            return NOT_ALL_DONE
        except (MemoryError, RuntimeError) as error:  # Python has no other error for a thread that cannot be started
            if isinstance(error, RuntimeError) and "thread" not in str(error):
                raise
            return self._refuse("a limit on memory or processes is too low for a transfer", NOT_ALL_DONE)
        except OSError as error:
            return self._refuse(error.strerror or str(error), NOT_ALL_DONE, error)
        self._order_file.write_report(_report_of(totals))
        return NOT_ALL_DONE if totals.failed else ALL_DONE

    def _agreed_options(self) -> TransferOptions:
        frame = read_exactly_one(self._stream)
        if not isinstance(frame, wire.OptionsFrame):
            raise wire.WireError("the first frame has no options")
        try:
            options = TransferOptions.from_json(frame.text)
        except wire.WireError as error:
            raise _Refused(str(error)) from None
        order = self._order
        if options.operation != ("get" if order.access == "read" else "put") or options.paths != order.paths:
            raise _Refused("the options are about other files than the request, which the policy has judged")
        if options.owner and os.geteuid() != 0:
            raise _Refused(f"only root can give files to another owner ({options.owner})")
        paths = tuple(map(order.located, options.paths))
        return options._replace(paths=paths, delta=options.delta and delta.available())

    def _work(self, options: TransferOptions) -> _Work:
        area = Area(self._order.roots, self._order.home, self._order.writable)
        return mover_of(self._order.access)(options, area, self._stream, self._happened)

    def _until_stopped(self, work: _Work) -> Totals:
        """Run, until it is over or a signal asks the process to end. Then clean up, and end by that signal."""
        stopped: list[int] = []

        def wait() -> None:
            stopped.append(signal.sigwait(_STOPS))
            work.cancel()
            self._stream.end()

        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        threading.Thread(target=wait, daemon=True).start()
        try:
            return work.run()
        except (Cancelled, OSError):
            if not stopped:
                raise
            signal.signal(stopped[0], signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
            os.kill(os.getpid(), stopped[0])
            raise

    def _refuse(self, sentence: str, code: int, error: OSError | None = None) -> int:
        """Tell the client why nothing more is done, as far as it still listens; return `code`."""
        self._order_file.write_report(self._report._replace(failed=self._report.failed + 1))
        if self._agreed:
            os.write(2, f"farhandd: {sentence}\n".encode(errors="replace"))
            return code
        number, path = (0, b"") if error is None else (error.errno or 0, os.fsencode(error.filename or b""))
        totals = Totals()
        totals.failed = 1
        told = sentence.encode(errors="replace")[: wire.MAX_SENTENCE_SIZE]
        with contextlib.suppress(OSError):  # it may be the stream that has failed
            self._stream.write(wire.encode(wire.Problem(number, path, told)))
            self._stream.write(wire.encode(wire.Summary(json.dumps(totals.to_json()).encode())))
        return code

    def _happened(self, event: Happened) -> None:
        """Note in the order's file what was done so far: the process may be killed at any time."""
        with self._lock:
            was = self._report
            match event:
                case Finished():
                    self._report = was._replace(
                        files=was.files + 1,
                        size=was.size + max(event.size, 0),
                        sent=was.sent + event.sent,
                        kept=was.kept + event.kept,
                        digest="" if was.files else event.blake3.hex(),
                    )
                case Skipped():
                    self._report = was._replace(skipped=was.skipped + 1)
                case RowEvents() if event.kind is Skipped:
                    self._report = was._replace(skipped=was.skipped + len(event))
                case Removed():
                    self._report = was._replace(deleted=was.deleted + 1)
                case Trouble():
                    self._report = was._replace(failed=was.failed + 1)
                case _:
                    return
            self._order_file.write_report(self._report)


def _report_of(totals: Totals) -> TransferReport:
    return TransferReport(
        complete=True,
        files=totals.files,
        size=totals.bytes,
        sent=totals.sent,
        kept=totals.kept,
        skipped=totals.skipped,
        others=totals.others,
        deleted=totals.deleted,
        failed=totals.failed,
        digest=totals.digest,
    )
