"""An invitation works once and for a while, and what it gives ends when it is not used."""

from __future__ import annotations

from farhand_client.web.access import INVITATION_TIME, MAX_INVITATIONS, MAX_SESSIONS, WebAccess

IDLE = 100.0


def session_of(access: WebAccess, now: float = 0.0) -> str:
    cookie = access.accept_invitation(access.new_invitation(now), now)
    assert cookie is not None
    return cookie


def test_an_invitation_works_once() -> None:
    access = WebAccess(IDLE)
    invitation = access.new_invitation(0.0)
    cookie = access.accept_invitation(invitation, 1.0)
    assert cookie is not None
    assert access.accept_invitation(invitation, 1.0) is None
    assert access.session(cookie, 1.0) is not None


def test_an_invitation_that_nobody_opens_in_time_is_worth_nothing() -> None:
    access = WebAccess(IDLE)
    assert access.accept_invitation(access.new_invitation(0.0), INVITATION_TIME) is None
    assert access.accept_invitation(access.new_invitation(0.0), INVITATION_TIME - 1) is not None


def test_nothing_else_gives_a_session() -> None:
    access = WebAccess(IDLE)
    cookie = session_of(access)
    assert access.accept_invitation("", 0.0) is None
    assert access.accept_invitation(cookie, 0.0) is None
    assert access.session("", 0.0) is None
    assert access.session(access.new_invitation(0.0), 0.0) is None


def test_secrets_are_long_and_never_the_same() -> None:
    access = WebAccess(IDLE)
    secrets = {access.new_invitation(0.0) for _ in range(50)}
    assert len(secrets) == 50
    assert min(map(len, secrets)) >= 43  # 256 bits in base64


def test_of_many_invitations_the_oldest_is_forgotten() -> None:
    access = WebAccess(IDLE)
    invitations = [access.new_invitation(0.0) for _ in range(MAX_INVITATIONS + 1)]
    assert access.accept_invitation(invitations[0], 0.0) is None
    assert access.accept_invitation(invitations[1], 0.0) is not None


def test_of_many_sessions_the_one_that_was_used_least_recently_ends() -> None:
    access = WebAccess(IDLE)
    first, second = session_of(access, 0.0), session_of(access, 0.0)
    for number in range(MAX_SESSIONS - 2):
        session_of(access, 1.0 + number / 1000)
    used = access.session(first, 2.0)
    ended = access.session(second, 0.5)
    session_of(access, 3.0)
    assert used is not None
    assert ended is not None
    assert not used.ended
    assert ended.ended


def test_a_session_that_is_used_lives_on_and_an_idle_one_ends() -> None:
    access = WebAccess(IDLE)
    cookie = session_of(access, 0.0)
    for now in (90.0, 180.0, 270.0):
        assert access.session(cookie, now) is not None
    assert access.session(cookie, 370.0) is None
    assert access.session(cookie, 370.0) is None


def test_an_idle_session_closes_its_connections_though_nobody_asks_for_it() -> None:
    access = WebAccess(IDLE)
    session = access.session(session_of(access, 0.0), 0.0)
    assert session is not None
    closed: list[str] = []
    session.closers[lambda: closed.append("it")] = None
    assert access.end_idle(99.0) == 100.0
    assert not closed
    assert access.end_idle(100.0) is None
    assert closed == ["it"]


def test_a_session_ends_once() -> None:
    access = WebAccess(IDLE)
    cookie = session_of(access)
    session = access.session(cookie, 0.0)
    assert session is not None
    closed: list[str] = []
    session.closers[lambda: closed.append("it")] = None
    session.end()
    session.end()
    access.end_all()
    assert closed == ["it"]
    assert access.session(cookie, 0.0) is None


def test_the_end_of_everything_ends_all_sessions_and_invitations() -> None:
    access = WebAccess(IDLE)
    session, invitation = access.session(session_of(access), 0.0), access.new_invitation(0.0)
    access.end_all()
    assert session is not None
    assert session.ended
    assert access.accept_invitation(invitation, 0.0) is None
