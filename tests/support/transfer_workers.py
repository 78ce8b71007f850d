"""Transfer workers of the service, and the client's side of the handshake with one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from farhand_files import wire
from farhand_files.events import Totals
from farhand_files.options import TransferOptions, parse_object
from farhand_files.stream import read_exactly_one
from farhand_server.files.order import OrderFile, TransferOrder, TransferReport
from farhand_server.files.program import worker_argv
from farhand_server.programs.command import own_environment


class StartedWorker:
    """A worker that runs, and the pipes to it. Its frames are read one by one, and nothing beyond."""

    def __init__(self, process: subprocess.Popen[bytes], order_file: OrderFile) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._order_file = order_file
        self._stdin, self._stdout = process.stdin, process.stdout

    def readinto(self, buffer: memoryview) -> int:
        return os.readv(self._stdout.fileno(), [buffer])

    def write(self, data: bytes | memoryview) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._stdin.fileno(), left) :]

    def send(self, *frames: wire.Frame) -> None:
        for frame in frames:
            self.write(wire.encode(frame))

    def offer(self, options: TransferOptions) -> wire.Frame:
        """Send options, and return what the worker says."""
        self.send(wire.OptionsFrame(options.to_json()))
        return self.receive()

    def receive(self) -> wire.Frame:
        return read_exactly_one(self)

    def totals(self) -> Totals:
        """Read frames up to the summary."""
        while not isinstance(frame := self.receive(), wire.Summary):
            pass
        return Totals.from_json(parse_object(frame.text, "summary"))

    def wait(self) -> int:
        """Wait for the end; return the exit code, or minus the signal."""
        self._stdin.close()
        return self.process.wait(30)

    @property
    def stderr(self) -> bytes:
        """What it has written to stderr. Call this at its end."""
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def report(self) -> TransferReport:
        return self._order_file.report()


_IMPORT = "from farhand_server.files import worker; "


@contextmanager
def transfer_worker(order: TransferOrder, change: str = "") -> Iterator[StartedWorker]:
    """Start a worker with this order; kill it at the end of the block. `change` is code that changes the program, whose
    module is `worker`."""
    argv = [each.replace(b"main()", f"{_IMPORT}{change}; main()".encode()) for each in worker_argv()]
    order_file = OrderFile.create(order)
    try:
        with subprocess.Popen(
            argv if change else worker_argv(),
            env=own_environment(order_file.fd),
            pass_fds=(order_file.fd,),
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
        ) as process:
            try:
                yield StartedWorker(process, order_file)
            finally:
                process.kill()
    finally:
        order_file.close()
