import itertools
import json
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol.page import SAFETY_HEADERS, PageFile
from farhand_server.web.requests import MAX_REQUEST_HEAD, Answered, RequestReader, WebSite
from tests.support.browser_frames import request, upgrade
from tests.support.cost import assert_linear

FILES = {"/index.html": PageFile("text/html", b"<p>", "1"), "/app.js": PageFile("text/javascript", b"let a", "2")}
SITE = WebSite("http://localhost:8080", "localhost", FILES, "1.0")


def answers(*chunks: bytes) -> list[Answered]:
    reader = RequestReader(SITE)
    return [answer for chunk in chunks for answer in reader.receive(chunk)]


def status(answer: Answered) -> int:
    return int(answer.data.split(b" ", 2)[1])


def body(answer: Answered) -> bytes:
    return answer.data.partition(b"\r\n\r\n")[2]


def test_the_page_s_files_are_served_one_after_the_other_with_the_headers_that_keep_it_apart() -> None:
    index, script = answers(request("/"), request("/app.js?v=1"))
    assert (status(index), body(index), body(script)) == (200, b"<p>", b"let a")
    for name, value in SAFETY_HEADERS.items():
        assert f"{name}: {value}\r\n".encode() in index.data
    assert not index.ends
    assert index.fault is None


def test_the_page_is_told_that_it_has_to_log_in_and_where() -> None:
    (about,) = answers(request("/about.json"))
    assert json.loads(body(about)) == {"version": "1.0", "hosts": ["localhost"], "passkeys": "localhost"}


def test_a_file_that_the_browser_has_is_not_sent_again() -> None:
    (same,) = answers(request("/app.js", If_None_Match='"2"'))
    (head,) = answers(request("/app.js", method="HEAD"))
    assert (status(same), body(same), status(head), body(head)) == (304, b"", 200, b"")


def test_a_websocket_of_the_site_is_opened_and_what_follows_is_its_own() -> None:
    (opened,) = answers(upgrade() + b"frames")
    assert (status(opened), opened.opened, opened.rest) == (101, True, b"frames")
    assert b"Sec-WebSocket-Protocol: farhand.1\r\n" in opened.data
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in opened.data  # RFC 6455, section 1.3


REFUSED = {
    "a foreign name": (request(host="evil.example"), HTTPStatus.MISDIRECTED_REQUEST),
    "two names": (request(Host="evil.example"), HTTPStatus.MISDIRECTED_REQUEST),
    "a foreign page": (request(Origin="http://evil.example"), HTTPStatus.FORBIDDEN),
    "another method": (request(method="POST"), HTTPStatus.METHOD_NOT_ALLOWED),
    "a body": (request(Content_Length="3") + b"abc", HTTPStatus.BAD_REQUEST),
    "no path": (request("http://["), HTTPStatus.BAD_REQUEST),
    "no HTTP": (b"\x16\x03\x01\r\n\r\n", HTTPStatus.BAD_REQUEST),
    "too long": (request(A="a" * MAX_REQUEST_HEAD), HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    "endless": (b"GET / HTTP/1.1\r\nA: " + b"a" * MAX_REQUEST_HEAD, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    "a WebSocket of a foreign page": (upgrade(origin="http://localhost:8081"), HTTPStatus.FORBIDDEN),
    "a WebSocket of no page": (upgrade().replace(b"Origin:", b"X:"), HTTPStatus.FORBIDDEN),
    "another WebSocket": (upgrade("/logout"), HTTPStatus.NOT_FOUND),
    "half a WebSocket": (upgrade(Sec_WebSocket_Key="short"), HTTPStatus.BAD_REQUEST),
    "another protocol": (upgrade(Sec_WebSocket_Protocol="other"), HTTPStatus.BAD_REQUEST),
}


@pytest.mark.parametrize("what", REFUSED)
def test_whatever_else_is_refused_and_ends_the_connection(what: str) -> None:
    sent, expected = REFUSED[what]
    *_, answer = answers(sent)
    assert (status(answer), answer.ends, answer.opened) == (expected, True, False)
    assert answer.fault


def test_a_missing_file_is_no_failure_of_the_client() -> None:
    (answer,) = answers(request("/nothing"))
    assert (status(answer), answer.fault, answer.ends) == (404, None, False)


def test_a_connection_ends_after_the_answer_if_the_client_wants_it() -> None:
    (answer,) = answers(request(Connection="close"))
    assert answer.ends
    assert b"Connection: close\r\n" in answer.data


@given(st.lists(st.integers(1, 200), max_size=10))
def test_a_request_may_arrive_in_any_chunks(cuts: list[int]) -> None:
    sent = request() + request("/app.js") + upgrade()
    places = sorted({min(cut, len(sent)) for cut in cuts} | {0, len(sent)})
    chunks = [sent[a:b] for a, b in itertools.pairwise(places)]
    assert [status(answer) for answer in answers(*chunks)] == [200, 200, 101]


@given(st.binary(max_size=200))
def test_random_bytes_are_answered_or_awaited(data: bytes) -> None:
    for answer in answers(data + b"\r\n\r\n"):
        assert answer.data.startswith(b"HTTP/1.1 ")


def test_a_request_byte_by_byte_costs_no_more_than_its_length() -> None:
    def receive(sent: bytes) -> None:
        reader = RequestReader(SITE)
        for byte in sent:
            reader.receive(bytes((byte,)))

    assert_linear(receive, lambda size: b"GET / HTTP/1.1\r\nA: " + b"a" * size, 1000)
