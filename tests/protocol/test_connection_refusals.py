"""Everything the protocol refuses, each with its code, for any chunk boundaries and any bytes after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode
from farhand_protocol.events import ChannelFailed, ConnectionFailed, Event
from farhand_protocol.frames import Kind, encode_frame, encode_header
from farhand_protocol.limits import MAX_CHANNEL, MAX_PAYLOAD, MAX_WINDOW, MIN_DATA, MIN_MESSAGE, Limits
from farhand_protocol.outcome import Exited
from farhand_protocol.states import Phase, Side
from tests.support.cases import Cases
from tests.support.pairs import RUN_ID, hello, in_phase, message, run, sent, text

SMALL = Limits(message=MIN_MESSAGE, data=MIN_DATA, window=MIN_DATA, channels=2)
PING = message(0, m.Ping(id=99))
ENDED = m.Ended(outcome=Exited(code=0), stdout=0, stderr=0, duration=0)
CLOSED_CHANNEL = message(1, run()) + text(1, "{") + message(1, m.Close())


def json_run(rest: str) -> str:
    return f'{{"type":"run","id":"{RUN_ID}",{rest}}}'


def data(kind: Kind, channel: int, payload: bytes) -> bytes:
    return encode_frame(kind, channel, payload)


def nothing(connection: Connection) -> None:
    """Leave the connection unprepared."""


def open_one(connection: Connection) -> None:
    connection.open(run())
    connection.data_to_send()


def open_merged(connection: Connection) -> None:
    connection.open(run(merge_stderr=True))
    list(connection.receive_data(message(1, m.Started(pid=1))))
    connection.data_to_send()


def finish_one(connection: Connection) -> None:
    open_one(connection)
    list(connection.receive_data(message(1, ENDED)))
    connection.send(1, m.Close())
    connection.data_to_send()


class Refused(NamedTuple):
    """`bad` is refused with `code` after `before`; if `channel` is 0, the connection ends."""

    name: str
    bad: bytes
    code: ErrorCode
    channel: int = 0
    before: bytes = b""
    side: Side = Side.SERVER
    phase: Phase = Phase.READY
    prepare: Callable[[Connection], None] = nothing


def json_terminal(terminal: str, rest: str = '"stdin":true,"merge_stderr":true') -> str:
    return json_run(f'"argv":["a"],"terminal":{{{terminal}}},{rest}')


def json_modes(modes: str) -> str:
    return json_terminal(f'{SIZED},"modes":{modes}')


SIZE = '"size":{"columns":80,"rows":24}'
SIZED = f'"name":"xterm",{SIZE}'


def json_name(name: str) -> str:
    return json_terminal(f'"name":"{name}",{SIZE}')


def json_size(columns: str, rows: str) -> str:
    return json_terminal(f'"name":"xterm","size":{{"columns":{columns},"rows":{rows}}}')


def json_attach(rest: str) -> str:
    return f'{{"type":"attach","id":"{RUN_ID}",{rest}}}'


def on_channel(name: str, json: str | bytes, code: ErrorCode) -> Refused:
    return Refused(name, text(1, json), code, channel=1)


E = ErrorCode
CONNECTION_CASES = [
    Refused("message too large", encode_header(1, 0, MIN_MESSAGE + 1), E.FRAME_TOO_LARGE),
    Refused("message as large as a header can say", encode_header(1, 0, MAX_PAYLOAD), E.FRAME_TOO_LARGE),
    Refused("message too large before login", encode_header(1, 0, 16385), E.FRAME_TOO_LARGE, phase=Phase.HELLO),
    Refused("data too large", encode_header(2, 1, MIN_DATA + 1), E.FRAME_TOO_LARGE, before=message(1, run())),
    Refused("data too large for the client", encode_header(3, 1, MIN_DATA + 1), E.FRAME_TOO_LARGE, side=Side.CLIENT),
    Refused("kind 0", encode_header(0, 0, 0), E.UNKNOWN_KIND),
    Refused("kind 5", encode_header(5, 1, 3), E.UNKNOWN_KIND),
    Refused("kind 255", encode_header(255, 1, MAX_PAYLOAD), E.UNKNOWN_KIND),
    Refused("http", b"GET / HTTP/1.1\r\n\r\n", E.UNKNOWN_KIND, phase=Phase.HELLO),
    Refused("data on a channel never opened", data(Kind.STDIN, 1, b"x"), E.UNKNOWN_CHANNEL),
    Refused("data on channel 0", data(Kind.STDIN, 0, b"x"), E.UNKNOWN_CHANNEL),
    Refused("message on a channel never opened", message(1, m.Close()), E.UNKNOWN_CHANNEL),
    Refused("message on the last channel number", message(MAX_CHANNEL, m.Stop()), E.UNKNOWN_CHANNEL),
    Refused("end on a channel never opened", message(1, m.End(stream="stdin")), E.UNKNOWN_CHANNEL),
    Refused("service opens a channel", message(1, run()), E.UNKNOWN_CHANNEL, side=Side.CLIENT),
    Refused("service speaks on no channel", message(1, m.Started(pid=1)), E.UNKNOWN_CHANNEL, side=Side.CLIENT),
    Refused("service sends on no channel", data(Kind.STDOUT, 7, b"x"), E.UNKNOWN_CHANNEL, side=Side.CLIENT),
    Refused("message on a closed channel", message(1, m.Stop()), E.CHANNEL_CLOSED, before=CLOSED_CHANNEL),
    Refused("data on a closed channel", data(Kind.STDIN, 1, b"x"), E.CHANNEL_CLOSED, before=CLOSED_CHANNEL),
    Refused("bad JSON on a closed channel", text(1, "{"), E.CHANNEL_CLOSED, before=CLOSED_CHANNEL),
    Refused("second close", message(1, m.Close()), E.CHANNEL_CLOSED, before=CLOSED_CHANNEL),
    Refused(
        "service on a closed channel",
        message(1, m.Started(pid=1)),
        E.CHANNEL_CLOSED,
        side=Side.CLIENT,
        prepare=finish_one,
    ),
    Refused("number of an open channel", message(1, run()), E.CHANNEL_REUSED, before=message(1, run())),
    Refused("number of a closed channel", message(1, run()), E.CHANNEL_REUSED, before=CLOSED_CHANNEL),
    Refused("number left out", message(4, run()), E.CHANNEL_REUSED, before=message(5, run())),
    Refused(
        "data after the end",
        data(Kind.STDIN, 1, b"x"),
        E.DATA_AFTER_END,
        before=message(1, run()) + message(1, m.End(stream="stdin")),
    ),
    Refused(
        "second end",
        message(1, m.End(stream="stdin")),
        E.DATA_AFTER_END,
        before=message(1, run()) + message(1, m.End(stream="stdin")),
    ),
    Refused(
        "stdin that was not asked for", data(Kind.STDIN, 1, b"x"), E.DATA_AFTER_END, before=message(1, run(stdin=False))
    ),
    Refused("stdout from the client", data(Kind.STDOUT, 1, b"x"), E.DATA_AFTER_END, before=message(1, run())),
    Refused(
        "end of stdout from the client", message(1, m.End(stream="stdout")), E.DATA_AFTER_END, before=message(1, run())
    ),
    Refused(
        "data after the last message",
        data(Kind.STDIN, 1, b"x"),
        E.DATA_AFTER_END,
        before=message(1, run()) + message(1, m.Close()),
    ),
    Refused(
        "data after the outcome",
        message(1, ENDED) + data(Kind.STDOUT, 1, b"x"),
        E.DATA_AFTER_END,
        side=Side.CLIENT,
        prepare=open_one,
    ),
    Refused(
        "stderr that was merged", data(Kind.STDERR, 1, b"x"), E.DATA_AFTER_END, side=Side.CLIENT, prepare=open_merged
    ),
    Refused("output before started", data(Kind.STDOUT, 1, b"x"), E.NOT_LEGAL, side=Side.CLIENT, prepare=open_one),
    Refused(
        "done to a client that has not left", message(1, m.Done()), E.NOT_LEGAL, side=Side.CLIENT, prepare=open_merged
    ),
    Refused("stdin from the service", data(Kind.STDIN, 1, b"x"), E.DATA_AFTER_END, side=Side.CLIENT, prepare=open_one),
    Refused(
        "data beyond the window",
        data(Kind.STDIN, 1, b"x"),
        E.CREDIT_EXCEEDED,
        before=message(1, run()) + data(Kind.STDIN, 1, bytes(MIN_DATA)),
    ),
    Refused(
        "a grant that overflows",
        message(1, m.Credit(stream="stdout", bytes=MAX_WINDOW)),
        E.CREDIT_EXCEEDED,
        before=message(1, run()),
    ),
    Refused("an empty data frame", data(Kind.STDIN, 1, b""), E.NOT_LEGAL, before=message(1, run())),
    Refused("data before login", encode_header(2, 1, 1), E.NOT_LEGAL, phase=Phase.LOGIN),
    Refused("a channel before login", message(1, run()), E.NOT_LEGAL, phase=Phase.LOGIN),
    Refused("a channel while a login is judged", message(1, run()), E.NOT_LEGAL, phase=Phase.VERIFY),
    Refused("a hello twice", message(0, hello()), E.NOT_LEGAL),
    Refused("a run on channel 0", message(0, run()), E.NOT_LEGAL),
    Refused("stop after close", message(1, m.Stop()), E.NOT_LEGAL, before=message(1, run()) + message(1, m.Close())),
    Refused("bad JSON after close", text(1, "{"), E.BAD_JSON, before=message(1, run()) + message(1, m.Close())),
    Refused("a ping on a run's channel", message(1, m.Ping(id=1)), E.NOT_LEGAL, before=message(1, run())),
    Refused("an empty message", text(0, ""), E.BAD_JSON),
    Refused("bad JSON on channel 0", text(0, "{"), E.BAD_JSON),
    Refused("bad UTF-8 before login", text(0, b"\xff"), E.BAD_UTF8, phase=Phase.HELLO),
    Refused("unknown field before login", text(0, '{"type":"hello","x":1}'), E.INVALID_FIELD, phase=Phase.HELLO),
    Refused("bad JSON of the service", text(1, "{"), E.BAD_JSON, side=Side.CLIENT, prepare=open_one),
]

CHANNEL_CASES = [
    on_channel("not UTF-8", b'{"type":"\xff"}', E.BAD_UTF8),
    on_channel("UTF-16 surrogate in UTF-8", b'{"type":"\xed\xa0\x80"}', E.BAD_UTF8),
    on_channel("overlong UTF-8", b'{"type":"\xc0\xaf"}', E.BAD_UTF8),
    on_channel("byte order mark", b"\xef\xbb\xbf{}", E.BAD_JSON),
    on_channel("half an object", '{"type":"run"', E.BAD_JSON),
    on_channel("two objects", '{"type":"run"}{}', E.BAD_JSON),
    on_channel("lone surrogate", json_run('"argv":["\\ud800"]'), E.BAD_JSON),
    on_channel("lone surrogate in a key", json_run('"\\ud800":1'), E.BAD_JSON),
    on_channel("raw control character", json_run('"argv":["\x01"]'), E.BAD_JSON),
    on_channel("duplicate key", json_run('"argv":["a"],"argv":["b"]'), E.DUPLICATE_KEY),
    on_channel("duplicate key, spelled differently", json_run('"argv":["a"],"\\u0061rgv":["b"]'), E.DUPLICATE_KEY),
    on_channel("duplicate key, nested", json_run('"argv":[{"base64":"/w==","base64":"/w=="}]'), E.DUPLICATE_KEY),
    on_channel("NaN", json_run('"argv":["a"],"timeout":NaN'), E.BAD_NUMBER),
    on_channel("Infinity", json_run('"argv":["a"],"timeout":Infinity'), E.BAD_NUMBER),
    on_channel("-Infinity", json_run('"argv":["a"],"timeout":-Infinity'), E.BAD_NUMBER),
    on_channel("1e999", json_run('"argv":["a"],"timeout":1e999'), E.BAD_NUMBER),
    on_channel("NaN in an unknown field", json_run('"argv":["a"],"x":NaN'), E.BAD_NUMBER),
    on_channel("integer of 5000 digits", json_run('"timeout":' + "9" * 5000), E.BAD_NUMBER),
    on_channel("integer of 4000 digits", json_run('"argv":["a"],"timeout":' + "9" * 4000), E.BAD_NUMBER),
    on_channel("nested too deep", json_run('"argv":' + "[" * 10 + "]" * 10), E.TOO_NESTED),
    on_channel("nested too deep, in objects", json_run('"argv":' + '{"a":' * 10 + "1" + "}" * 10), E.TOO_NESTED),
    on_channel("nested beyond recursion", "[" * 16000, E.TOO_NESTED),
    on_channel("too many members", "{" + ",".join(f'"k{i}":1' for i in range(65)) + "}", E.TOO_MANY_KEYS),
    on_channel("no type", "{}", E.UNKNOWN_MESSAGE),
    on_channel("unknown type", '{"type":"exec"}', E.UNKNOWN_MESSAGE),
    on_channel("type is not a string", '{"type":["run"]}', E.UNKNOWN_MESSAGE),
    on_channel("not an object", "[]", E.INVALID_FIELD),
    on_channel("unknown field", json_run('"argv":["a"],"x":1'), E.UNKNOWN_FIELD),
    on_channel("unknown field in colour", json_run('"argv":["a"],"\\u001b[31m":1'), E.UNKNOWN_FIELD),
    on_channel("neither argv nor shell", json_run('"stdin":true'), E.INVALID_FIELD),
    on_channel("both argv and shell", json_run('"argv":["a"],"shell":"a"'), E.INVALID_FIELD),
    on_channel("no arguments", json_run('"argv":[]'), E.INVALID_FIELD),
    on_channel("text where a number is due", json_run('"argv":["a"],"timeout":"5"'), E.INVALID_FIELD),
    on_channel("number where a truth is due", json_run('"argv":["a"],"stdin":1'), E.INVALID_FIELD),
    on_channel("a time of 0", json_run('"argv":["a"],"timeout":0'), E.INVALID_FIELD),
    on_channel("an id that is no UUID", '{"type":"run","id":"1","argv":["a"]}', E.INVALID_FIELD),
    on_channel("NUL in argv", json_run('"argv":["a\\u0000"]'), E.NUL_BYTE),
    on_channel("NUL in base64", json_run('"argv":[{"base64":"AP8="}]'), E.NUL_BYTE),
    on_channel("NUL in shell", json_run('"shell":"a\\u0000b"'), E.NUL_BYTE),
    on_channel("NUL in cwd", json_run('"argv":["a"],"cwd":"\\u0000"'), E.NUL_BYTE),
    on_channel("NUL in an environment value", json_run('"argv":["a"],"env":[["A","\\u0000"]]'), E.NUL_BYTE),
    on_channel("NUL in an environment name", json_run('"argv":["a"],"env":[["\\u0000","a"]]'), E.NUL_BYTE),
    on_channel("= in an environment name", json_run('"argv":["a"],"env":[["A=B","c"]]'), E.BAD_ENVIRONMENT_NAME),
    on_channel("empty environment name", json_run('"argv":["a"],"env":[["","c"]]'), E.BAD_ENVIRONMENT_NAME),
    on_channel("environment name twice", json_run('"argv":["a"],"env":[["A","1"],["A","2"]]'), E.INVALID_FIELD),
    on_channel("environment pair of three", json_run('"argv":["a"],"env":[["A","1","2"]]'), E.INVALID_FIELD),
    on_channel("base64 of UTF-8", json_run('"argv":[{"base64":"YQ=="}]'), E.INVALID_FIELD),
    on_channel("base64 without padding", json_run('"argv":[{"base64":"/w"}]'), E.INVALID_FIELD),
    on_channel("base64 with bits in the padding", json_run('"argv":[{"base64":"/x=="}]'), E.INVALID_FIELD),
    on_channel("base64 with a line break", json_run('"argv":[{"base64":"/w==\\n"}]'), E.INVALID_FIELD),
    on_channel("base64 of the URL alphabet", json_run('"argv":[{"base64":"_w=="}]'), E.INVALID_FIELD),
    on_channel("base64 that is a number", json_run('"argv":[{"base64":1}]'), E.INVALID_FIELD),
    on_channel("base64 and something else", json_run('"argv":[{"base64":"/w==","x":1}]'), E.INVALID_FIELD),
    on_channel(
        "an attachment key of 15 bytes", json_run('"argv":["a"],"attachment":"AAAAAAAAAAAAAAAAAAAA"'), E.INVALID_FIELD
    ),
    on_channel("a spool below one frame", json_run('"argv":["a"],"spool":65535'), E.INVALID_FIELD),
    on_channel("an unknown bound", json_run('"argv":["a"],"bounds":{"disk":1}'), E.UNKNOWN_FIELD),
    on_channel("an offset below 0", f'{{"type":"attach","id":"{RUN_ID}","stdout":-1}}', E.INVALID_FIELD),
    on_channel("an offset beyond off_t", f'{{"type":"attach","id":"{RUN_ID}","stdout":{1 << 63}}}', E.INVALID_FIELD),
    on_channel(
        "a reader that feeds stdin", f'{{"type":"attach","id":"{RUN_ID}","stdin":0,"read_only":true}}', E.INVALID_FIELD
    ),
    on_channel("login and argv", json_run('"argv":["a"],"login":true'), E.INVALID_FIELD),
    on_channel("login and shell", json_run('"shell":"a","login":true'), E.INVALID_FIELD),
    on_channel("a login that is none", json_run('"login":false'), E.INVALID_FIELD),
    on_channel("a window below one frame", json_run('"argv":["a"],"window":65535'), E.INVALID_FIELD),
    on_channel("a window beyond all credit", json_run(f'"argv":["a"],"window":{1 << 31}'), E.INVALID_FIELD),
    on_channel("a terminal without stdin", json_terminal(SIZED, '"merge_stderr":true'), E.INVALID_FIELD),
    on_channel("a terminal without merged stderr", json_terminal(SIZED, '"stdin":true'), E.INVALID_FIELD),
    on_channel("a terminal without a size", json_terminal('"name":"xterm"'), E.INVALID_FIELD),
    on_channel("a terminal without a name", json_terminal(SIZE), E.INVALID_FIELD),
    on_channel("a terminal name that is a path", json_name("../../x"), E.INVALID_FIELD),
    on_channel("a terminal name with a line break", json_name("xterm\\n"), E.INVALID_FIELD),
    on_channel("a terminal name with a NUL byte", json_name("xterm\\u0000"), E.INVALID_FIELD),
    on_channel("a terminal name with an equals sign", json_name("xterm=x"), E.INVALID_FIELD),
    on_channel("a terminal name that is not ASCII", json_name("xterm\u00e9"), E.INVALID_FIELD),
    on_channel("an empty terminal name", json_name(""), E.INVALID_FIELD),
    on_channel("a terminal name of 65 characters", json_name("x" * 65), E.INVALID_FIELD),
    on_channel("columns below 0", json_size("-1", "24"), E.INVALID_FIELD),
    on_channel("rows beyond a short", json_size("80", "65536"), E.INVALID_FIELD),
    on_channel("half a column", json_size("80.5", "24"), E.INVALID_FIELD),
    on_channel("a size in pixels", json_size('80,"width":640', "24"), E.UNKNOWN_FIELD),
    on_channel("a mode that has no name", json_modes('[["VSTATUS",20]]'), E.INVALID_FIELD),
    on_channel("a mode twice", json_modes('[["ECHO",1],["ECHO",0]]'), E.INVALID_FIELD),
    on_channel("a flag that is 2", json_modes('[["ECHO",2]]'), E.INVALID_FIELD),
    on_channel("a character of 256", json_modes('[["VEOF",256]]'), E.INVALID_FIELD),
    on_channel("a character that is text", json_modes('[["VEOF","d"]]'), E.INVALID_FIELD),
    on_channel("a mode without a value", json_modes('[["ECHO"]]'), E.INVALID_FIELD),
    on_channel("65 modes", json_modes("[" + ",".join(['["ECHO",1]'] * 65) + "]"), E.INVALID_FIELD),
    on_channel("a reader that shares", json_attach(f'"read_only":true,"share":true,{SIZE}'), E.INVALID_FIELD),
    on_channel("sharing without typing", json_attach(f'"share":true,{SIZE}'), E.INVALID_FIELD),
    on_channel("sharing without a size", json_attach('"stdin":0,"share":true'), E.INVALID_FIELD),
    on_channel("a recording of no run", '{"type":"recording","id":"all"}', E.INVALID_FIELD),
    on_channel("a prefix that is no id's", '{"type":"list","prefix":"G"}', E.INVALID_FIELD),
    on_channel("a listing without end", '{"type":"list","limit":1001}', E.INVALID_FIELD),
    on_channel("signal 0", f'{{"type":"deliver","id":"{RUN_ID}","number":0}}', E.INVALID_FIELD),
    on_channel("NUL in a pattern", f'{{"type":"wait_for","id":"{RUN_ID}","pattern":"\\u0000"}}', E.NUL_BYTE),
    on_channel(
        "a pattern of 4097 bytes", f'{{"type":"wait_for","id":"{RUN_ID}","pattern":"{"x" * 4097}"}}', E.INVALID_FIELD
    ),
    on_channel("stdin to wait for", f'{{"type":"wait_for","id":"{RUN_ID}","stream":"stdin"}}', E.INVALID_FIELD),
    on_channel("base64 twice nested", json_run('"argv":[{"base64":{"base64":"/w=="}}]'), E.INVALID_FIELD),
    Refused(
        "a channel beyond the limit",
        message(3, run()),
        E.TOO_MANY_CHANNELS,
        channel=3,
        before=message(1, run()) + message(2, run()),
    ),
    Refused("a bad message on an open channel", text(1, "{"), E.BAD_JSON, channel=1, before=message(1, run())),
]


def whole(connection: Connection, bad: bytes) -> list[Event]:
    return list(connection.receive_data(bad))


def byte_by_byte(connection: Connection, bad: bytes) -> list[Event]:
    return [event for at in range(len(bad)) for event in connection.receive_data(bad[at : at + 1])]


def with_bytes_after(connection: Connection, bad: bytes) -> list[Event]:
    return list(connection.receive_data(bad + PING))


ways = pytest.mark.parametrize("way", [whole, byte_by_byte, with_bytes_after])


def prepared(case: Refused) -> Connection:
    connection = in_phase(case.side, case.phase, SMALL)
    case.prepare(connection)
    list(connection.receive_data(case.before))
    connection.data_to_send()
    assert not connection.closed
    return connection


OPENING = message(1, run())


@ways
def test_a_refusal_on_channel_0_ends_the_connection(way: Callable[[Connection, bytes], list[Event]]) -> None:
    with Cases() as cases:
        for case in CONNECTION_CASES:
            with cases.case(case.name):
                connection = prepared(case)
                failure = way(connection, case.bad)[-1]
                assert isinstance(failure, ConnectionFailed)
                assert failure.error.code is case.code
                assert connection.closed
                (frame,) = sent(connection)
                assert frame.channel == 0
                assert frame.message == m.Error(code=case.code, message=failure.error.reason)
                assert list(connection.receive_data(PING + OPENING)) == []
                assert connection.queued == 0


@ways
def test_a_refusal_on_a_channel_fails_that_channel_and_no_other(
    way: Callable[[Connection, bytes], list[Event]],
) -> None:
    with Cases() as cases:
        for case in CHANNEL_CASES:
            with cases.case(case.name):
                connection = prepared(case)
                (failure,) = way(connection, case.bad)
                assert isinstance(failure, ChannelFailed)
                assert (failure.channel, failure.error.code) == (case.channel, case.code)
                list(connection.receive_data(PING))
                error, *pongs = sorted(sent(connection), key=lambda frame: -frame.channel)
                assert error.channel == case.channel
                assert error.message == m.Error(code=case.code, message=failure.error.reason)
                assert {pong.message for pong in pongs} == {m.Pong(id=99)}


def test_every_refusal_has_a_short_reason() -> None:
    with Cases() as cases:
        for case in CONNECTION_CASES + CHANNEL_CASES:
            with cases.case(case.name):
                failure = whole(prepared(case), case.bad)[-1]
                assert isinstance(failure, ChannelFailed | ConnectionFailed)
                assert 10 < len(failure.error.reason) < 300
                assert failure.error.reason.isprintable()


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.CLOSED])
def test_a_header_of_exactly_the_limit_is_accepted_and_one_byte_more_is_refused(side: Side, phase: Phase) -> None:
    limits = Limits(login_message=MIN_MESSAGE + 10, message=MIN_MESSAGE + 20)
    limit = limits.message if phase is Phase.READY else limits.login_message
    assert list(in_phase(side, phase, limits).receive_data(encode_header(Kind.MESSAGE, 0, limit))) == []
    (failure,) = in_phase(side, phase, limits).receive_data(encode_header(Kind.MESSAGE, 0, limit + 1))
    assert isinstance(failure, ConnectionFailed)
    assert failure.error.code is E.FRAME_TOO_LARGE
