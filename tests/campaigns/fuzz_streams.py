"""The functions to be fuzzed that read what goes through a transfer or a tunnel, and their first inputs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

Check = Callable[[bytes], None]
"""Takes any bytes, and raises only for a finding."""


def transfer_frames() -> Check:
    from farhand_files import wire
    from farhand_files.names import check_path
    from farhand_files.rows import FileRows

    def check(data: bytes) -> None:
        with contextlib.suppress(wire.WireError):
            size, kind = wire.check_header(data[:5].ljust(5, b"\0"))
            assert size <= wire.MAX_TRANSFER_PAYLOAD
            frame = wire.decode(kind, memoryview(data)[5:])
            assert wire.encode(frame)[5:] == data[5:]
            if isinstance(frame, wire.Entry):
                wire.unpack_xattrs(frame.xattrs)
            elif isinstance(frame, wire.FileTable):
                rows = FileRows.of(frame)
                assert rows.table() == frame
                if rows.plain and not rows.directory:
                    assert all(check_path(rows.path(row)) for row in range(len(rows)))

    return check


def transfer_options() -> Check:
    from farhand_files.events import Totals
    from farhand_files.options import Ready, TransferOptions, parse_object
    from farhand_files.wire import WireError

    def check(data: bytes) -> None:
        with contextlib.suppress(WireError):
            options = TransferOptions.from_json(data)
            assert TransferOptions.from_json(options.to_json()) == options
        with contextlib.suppress(WireError):
            Ready.from_json(data)
        with contextlib.suppress(ValueError):  # also WireError
            Totals.from_json(parse_object(data, "totals"))

    return check


def entry_paths() -> Check:
    from farhand_files.names import BadName, check_path

    def check(data: bytes) -> None:
        with contextlib.suppress(BadName):
            joined = os.path.normpath(b"/".join((b"/top", *check_path(data))))
            assert joined == b"/top" + (b"/" + data if data else b"")

    return check


def excludes() -> Check:
    from farhand_files.options import TransferOptions
    from farhand_files.selection import Selection
    from farhand_files.wire import WireError

    def check(data: bytes) -> None:
        lines, _, path = data.rpartition(b"\0")
        excludes = tuple(line.decode(errors="surrogateescape") for line in lines.split(b"\n"))
        with contextlib.suppress(WireError):
            Selection(TransferOptions("put", (b"x",), excludes=excludes)).takes(path, False)

    return check


def transfer_frame_examples() -> list[bytes]:
    from farhand_files import wire

    return [
        wire.encode(wire.Entry(0, wire.REGULAR, 0o644, 0, 0, 1, 2, b"a/b", b"", wire.pack_xattrs([(b"user.a", b"b")]))),
        wire.encode(wire.Want(0, wire.BASIS, 1, wire.pack_chunks([(5, bytes(32))]))),
        wire.encode(wire.FileEnd(0, 1, 2, 3, bytes(32))),
        wire.encode(wire.Data(0, 1, b"data")),
        wire.encode(wire.FileTable(1, b"d", b"\x01\xa4" * 2, bytes(16), bytes(16), b"a\0b")),
    ]


def transfer_option_examples() -> list[bytes]:
    from farhand_files.options import Ready, TransferOptions

    return [TransferOptions("put", (b"a", b"\xff"), mode=0o644, excludes=("*.o",)).to_json(), Ready(True).to_json()]


def tunnel_frames() -> Check:
    """A side of a tunnel accepts what comes, or refuses it as the specification says, however it is cut."""
    from farhand_forwards.flow_events import FlowData
    from farhand_forwards.mux import Mux
    from farhand_forwards.wire import ForwardWireError, encode_hello

    def events(parts: list[bytes]) -> list[str]:
        mux, found = Mux(client=False), list[str]()
        with contextlib.suppress(ForwardWireError):
            for part in parts:
                for event in mux.receive_data(part):
                    if not isinstance(event, FlowData):  # its pieces are those of the parts
                        found.append(repr(event))
        return found

    def check(data: bytes) -> None:
        data = encode_hello(1 << 16) + data
        middle = len(data) // 2
        assert events([data]) == events([data[:middle], data[middle:]])

    return check


def tunnel_frame_examples() -> list[bytes]:
    """Frames of a client."""
    from farhand_forwards import wire
    from farhand_forwards.targets import InetTarget, UnixTarget

    opened = wire.encode_open(1, wire.Opening(InetTarget("web", 80), "here", 0))
    listening = wire.encode_listen(3, UnixTarget(b"/run/s"))
    data = wire.encode_forward(wire.ForwardFrame.DATA, 1, b"data")
    end = wire.encode_forward(wire.ForwardFrame.EOF, 1)
    return [opened + data + end, listening, opened + wire.encode_credit(1, 100)]
