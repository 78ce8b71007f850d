"""Requests to kept processes travel as lines of JSON, and nothing else is one."""

from __future__ import annotations

import pytest

from farhand_client.forwards.specs import parse_spec
from farhand_client.kept.requests import MAX_KEPT_FORWARDS, ControlRequest, decode_line

FORWARDS = (parse_spec("-L", "8080:db:80"), parse_spec("-R", "/tmp/\udcff:/tmp/s"), parse_spec("-D", "0"))


@pytest.mark.parametrize(
    "request_",
    [
        ControlRequest("list"),
        ControlRequest("end"),
        ControlRequest("add", FORWARDS),
        ControlRequest("cancel", FORWARDS[:1]),
    ],
)
def test_a_request_arrives_as_it_was_sent(request_: ControlRequest) -> None:
    line = request_.encode()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert ControlRequest.decode(line) == request_


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"\xff", "no JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "asked to do None"),
        (b'{"do": "dance"}', "asked to do 'dance'"),
        (b'{"do": ["list"]}', "asked to do"),
        (b'{"do": "list", "forwards": []}', "do and nothing else"),
        (b'{"do": "add"}', "do, forwards and nothing else"),
        (b'{"do": "add", "forwards": 1}', "list of at most"),
        (b'{"do": "add", "forwards": [1]}', "a flag and a text"),
        (b'{"do": "add", "forwards": [["-X", "1"]]}', "a flag and a text"),
        (b'{"do": "add", "forwards": [["-L", 1]]}', "a flag and a text"),
        (b'{"do": "add", "forwards": [["-L", "1"]]}', "not where to connect"),
        (b'{"do": "add", "forwards": [%s]}' % b",".join([b'["-D", "0"]'] * (MAX_KEPT_FORWARDS + 1)), "list of at most"),
    ],
)
def test_what_is_no_request_is_refused(line: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ControlRequest.decode(line)


def test_a_line_is_an_object() -> None:
    assert decode_line(b'{"ok": {}}\n') == {"ok": {}}
