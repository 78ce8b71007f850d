"""A caller is a principal with the account data that was looked up at login."""

from __future__ import annotations

import os
import pwd
import time

import pytest

from farhand_server.admission.caller import Caller
from farhand_server.auth.accounts import Principal
from tests.support.processes import no_descriptors


def test_a_caller_has_its_address_and_the_home_and_shell_of_its_account() -> None:
    account = pwd.getpwuid(os.getuid())
    caller = Caller.of(Principal(account.pw_name, account.pw_uid, "peer"), "192.0.2.7:50214")
    assert caller.home.directory == os.fsencode(account.pw_dir)
    assert caller.subject.user == account.pw_name
    assert caller.subject.local
    assert caller.peer == "192.0.2.7:50214"


def test_without_descriptors_a_caller_is_not_one_without_home_and_groups() -> None:
    who = Principal(pwd.getpwuid(os.getuid()).pw_name, os.getuid(), "peer")
    with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
        Caller.of(who)


def test_an_audit_entry_names_the_caller_and_the_moment() -> None:
    account = pwd.getpwuid(os.getuid())
    caller = Caller.of(Principal(account.pw_name, account.pw_uid, "key", "SHA256:one"), "192.0.2.7:50214")
    before = time.time()
    entry = caller.audit_entry("denial", run="one", argv=(b"rm",), commands="hash", detail="no")
    assert before <= entry.time <= time.time()
    assert (entry.event, entry.user, entry.how, entry.key, entry.peer) == (
        "denial", account.pw_name, "key", "SHA256:one", "192.0.2.7:50214",
    )  # fmt: skip
    assert (entry.run, entry.argv, entry.commands, entry.detail) == ("one", (b"rm",), "hash", "no")


def test_callers_share_what_is_equal_about_their_account_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    account = pwd.getpwuid(os.getuid())
    one, other = (Principal(account.pw_name, account.pw_uid, "key", key) for key in ("SHA256:one", "SHA256:other"))
    first, again, another = Caller.of(one, "192.0.2.7:1"), Caller.of(one, "192.0.2.7:2"), Caller.of(other)
    assert again.home is first.home is another.home
    assert again.subject is first.subject
    assert (first.subject.fingerprint, another.subject.fingerprint) == ("SHA256:one", "SHA256:other")
    monkeypatch.setenv("LANG", "xx_XX.UTF-8")
    later = Caller.of(one)
    assert later.home.environment[b"LANG"] == b"xx_XX.UTF-8"
    assert first.home.environment[b"LANG"] != b"xx_XX.UTF-8"


@pytest.mark.parametrize(
    ("peer", "arrival", "client", "connection"),
    [
        ("192.0.2.7:50214", "192.0.2.1 7022", b"192.0.2.7 50214 7022", b"192.0.2.7 50214 192.0.2.1 7022"),
        ("[2001:db8::7]:50214", "2001:db8::1 7022", b"2001:db8::7 50214 7022", b"2001:db8::7 50214 2001:db8::1 7022"),
        (None, None, b"UNKNOWN 65535 65535", b"UNKNOWN 65535 UNKNOWN 65535"),
    ],
)
def test_its_addresses_are_in_variables_as_sshd_writes_them(
    peer: str | None, arrival: str | None, client: bytes, connection: bytes
) -> None:
    caller = Caller.of(Principal(pwd.getpwuid(os.getuid()).pw_name, os.getuid(), "peer"), peer, arrival)
    assert caller.ssh_variables == {b"SSH_CLIENT": client, b"SSH_CONNECTION": connection}
