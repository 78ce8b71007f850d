"""What an HTTP request gets: files for those with a cookie, a cookie for an invitation, and nothing for all others."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import pytest

from farhand_client.web.access import WebAccess
from farhand_client.web.answers import OpenSocket, WebAnswer, WebPlace, answer, cookie_name
from farhand_client.web.pages import page_files
from farhand_protocol.page import CONTENT_POLICY, SAFETY_HEADERS

PLACE = WebPlace(("127.0.0.1:8022", "localhost:8022"), 8022)
SECURE = WebPlace(("box.example:8022",), 8022, "https")
ABOUT = b'{"version":"0.1.0"}'
WEBSOCKET = {"upgrade": "websocket", "connection": "Upgrade"}


def get(
    access: WebAccess, target: str, headers: Mapping[str, str] | None = None, *, place: WebPlace = PLACE
) -> WebAnswer | OpenSocket:
    return answer(place, access, ABOUT, target, {"host": place.first, **(headers or {})}, 0.0)


def status(found: WebAnswer | OpenSocket) -> int:
    assert isinstance(found, WebAnswer)
    return found.status.value


@pytest.fixture
def access() -> WebAccess:
    return WebAccess()


@pytest.fixture
def cookie(access: WebAccess) -> dict[str, str]:
    found = get(access, f"/open?invitation={access.new_invitation(0.0)}")
    assert isinstance(found, WebAnswer)
    return {"cookie": found.headers["Set-Cookie"].split(";")[0]}


class TestInvitations:
    def test_one_becomes_a_cookie_and_is_gone_from_the_address(self, access: WebAccess) -> None:
        found = get(access, f"/open?invitation={access.new_invitation(0.0)}")
        assert isinstance(found, WebAnswer)
        assert (found.status, found.headers["Location"]) == (HTTPStatus.SEE_OTHER, "/")
        name, *attributes = found.headers["Set-Cookie"].split("; ")
        assert name.startswith("farhand-8022=")
        assert attributes == ["Path=/", "HttpOnly", "SameSite=Strict"]
        assert found.headers["Cache-Control"] == "no-store"

    def test_over_tls_the_cookie_is_for_tls_alone(self, access: WebAccess) -> None:
        found = get(access, f"/open?invitation={access.new_invitation(0.0)}", place=SECURE)
        assert isinstance(found, WebAnswer)
        assert found.headers["Set-Cookie"].endswith("; Secure")

    @pytest.mark.parametrize(
        "query",
        [
            "",
            "?",
            "?invitation=",
            "?invitation=wrong",
            "?invitation={0}&invitation={0}",
            "?a=1&b=2&c=3&d=4&invitation={0}",
        ],
    )
    def test_anything_else_gives_no_cookie(self, access: WebAccess, query: str) -> None:
        found = get(access, "/open" + query.format(access.new_invitation(0.0)))
        assert status(found) == 401
        assert isinstance(found, WebAnswer)
        assert "Set-Cookie" not in found.headers


class TestFiles:
    @pytest.mark.parametrize("target", ["/", "/index.html", "/app.js?x=1", "/about.json", "/vendor/xterm/xterm.js"])
    def test_they_need_the_cookie(self, access: WebAccess, cookie: dict[str, str], target: str) -> None:
        assert status(get(access, target, cookie)) == 200
        assert status(get(access, target)) in (401, 404)
        assert status(get(access, target, {"cookie": f"{cookie_name(PLACE)}=guessed"})) in (401, 404)

    def test_a_browser_without_a_cookie_is_told_how_to_get_one(self, access: WebAccess) -> None:
        found = get(access, "/")
        assert isinstance(found, WebAnswer)
        assert b"farhand web" in found.content
        assert status(get(access, "/style/page.css")) == 200

    @pytest.mark.parametrize(
        "target",
        [
            "/../access.py",
            "/static/index.html",
            "/..%2faccess.py",
            "//etc/passwd",
            "/vendor/versions.json/..",
            "/wire",
            "/wire/",
            "/index.html/",
            "/INDEX.HTML",
            "/%69ndex.html",
            "/vendor/xterm/xterm.d.ts",
            "/\x00",
            "//[",
        ],
    )
    def test_what_is_not_in_the_table_does_not_exist(
        self, access: WebAccess, cookie: dict[str, str], target: str
    ) -> None:
        assert status(get(access, target, cookie)) == 404

    def test_all_of_them_are_served_as_they_are(self, access: WebAccess, cookie: dict[str, str]) -> None:
        for path, file in page_files().items():
            found = get(access, path, cookie)
            assert isinstance(found, WebAnswer)
            assert (found.content, found.headers["Content-Type"]) == (file.content, file.media_type)

    def test_a_browser_asks_each_time_and_gets_only_what_has_changed(
        self, access: WebAccess, cookie: dict[str, str]
    ) -> None:
        found = get(access, "/app.js", cookie)
        assert isinstance(found, WebAnswer)
        assert found.headers["Cache-Control"] == "no-cache"
        again = get(access, "/app.js", {**cookie, "if-none-match": found.headers["ETag"]})
        assert isinstance(again, WebAnswer)
        assert (again.status, again.content) == (HTTPStatus.NOT_MODIFIED, b"")
        assert status(get(access, "/app.js", {**cookie, "if-none-match": '"other"'})) == 200

    def test_the_page_learns_about_itself(self, access: WebAccess, cookie: dict[str, str]) -> None:
        found = get(access, "/about.json", cookie)
        assert isinstance(found, WebAnswer)
        assert (found.content, found.headers["Cache-Control"]) == (ABOUT, "no-store")


class TestForeignPages:
    """Another page in the same browser, whose requests the browser sends with whatever it has."""

    @pytest.mark.parametrize(
        "host", ["", "evil.example", "evil.example:8022", "127.0.0.1", "127.0.0.1:80", "[::1]:8022"]
    )
    def test_a_name_that_somebody_has_pointed_here_gets_nothing(
        self, access: WebAccess, cookie: dict[str, str], host: str
    ) -> None:
        for extra in ({}, WEBSOCKET):
            assert status(get(access, "/", {**cookie, "host": host, **extra})) == 421

    @pytest.mark.parametrize(
        "origin", ["http://evil.example", "http://127.0.0.1", "https://127.0.0.1:8022", "http://127.0.0.1:8023", "null"]
    )
    @pytest.mark.parametrize("target", ["/", "/hosts/web/connection", "/logout", "/about.json"])
    def test_another_origin_gets_nothing(
        self, access: WebAccess, cookie: dict[str, str], origin: str, target: str
    ) -> None:
        for extra in ({}, WEBSOCKET):
            assert status(get(access, target, {**cookie, "origin": origin, **extra})) == 403

    def test_another_origin_cannot_use_up_an_invitation(self, access: WebAccess) -> None:
        invitation = access.new_invitation(0.0)
        assert status(get(access, f"/open?invitation={invitation}", {"origin": "http://evil.example"})) == 403
        assert status(get(access, f"/open?invitation={invitation}")) == 303

    def test_a_websocket_needs_an_origin_and_a_cookie(self, access: WebAccess, cookie: dict[str, str]) -> None:
        own = {**WEBSOCKET, "origin": "http://localhost:8022", "host": "localhost:8022"}
        assert status(get(access, "/hosts/web/connection", {**cookie, **WEBSOCKET})) == 403
        assert status(get(access, "/hosts/web/connection", own)) == 401
        found = get(access, "/hosts/web/connection", {**cookie, **own})
        assert isinstance(found, OpenSocket)
        assert found.path == "/hosts/web/connection"

    def test_a_session_that_has_ended_opens_nothing(self, access: WebAccess, cookie: dict[str, str]) -> None:
        own = {**WEBSOCKET, "origin": "http://127.0.0.1:8022", **cookie}
        opened = get(access, "/logout", own)
        assert isinstance(opened, OpenSocket)
        opened.session.end()
        assert status(get(access, "/hosts/web/connection", own)) == 401
        assert status(get(access, "/", cookie)) == 401

    def test_cookies_of_others_are_not_looked_at(self, access: WebAccess, cookie: dict[str, str]) -> None:
        value = cookie["cookie"].partition("=")[2]
        assert status(get(access, "/", {"cookie": f"a=b; {cookie['cookie']}; c=d"})) == 200
        assert status(get(access, "/", {"cookie": f"farhand-9999={value}"})) == 401
        assert status(get(access, "/", {"cookie": "\x01=;;;"})) == 401


def test_every_answer_keeps_the_page_apart_from_everything_else(access: WebAccess, cookie: dict[str, str]) -> None:
    for target, headers in (
        ("/", cookie),
        ("/", {}),
        ("/nothing", cookie),
        ("/", {"host": "evil.example"}),
        ("/open?invitation=x", {}),
        (f"/open?invitation={access.new_invitation(0.0)}", {}),
    ):
        found = get(access, target, headers)
        assert isinstance(found, WebAnswer)
        for name, value in SAFETY_HEADERS.items():
            assert found.headers[name] == value


def test_the_policy_has_nothing_inline_nothing_evaluated_and_nothing_from_elsewhere() -> None:
    rules = dict(rule.split(" ", 1) for rule in CONTENT_POLICY.split("; "))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in CONTENT_POLICY
    assert "http" not in CONTENT_POLICY
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["require-trusted-types-for"] == "'script'"
