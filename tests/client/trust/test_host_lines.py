"""The lines of a known_hosts file. `test_known_hosts` has the whole table of what they mean."""

from __future__ import annotations

import base64
import hmac

import pytest

from farhand_client.trust import KnownHostsError
from farhand_client.trust.host_lines import host_lines, look_up, names_service, service_names
from farhand_protocol.sshformat import PublicKey, format_public_key_line, pack_string, parse_public_key


def key(number: int) -> PublicKey:
    return parse_public_key(pack_string(b"ssh-ed25519") + pack_string(number.to_bytes(32, "big")))


K, L = format_public_key_line(key(1)), format_public_key_line(key(2))


@pytest.mark.parametrize(
    ("text", "state", "line"),
    [
        ("", "unknown", None),
        (f"# web {K}\nother {K}\n", "unknown", None),
        (f"other {K}\nWEB,x {K} a comment\n", "known", 2),
        (f"web {L}\n", "changed", 1),
        (f"web {L}\nweb {K}\n", "known", 2),
        (f"w?b,!web {K}\n", "unknown", None),
        ("web ssh-ed25519 damaged\n", "changed", 1),
        (f"web {K}\n@revoked * {K}\n", "revoked", 2),
        (f"@revoked * {L}\nweb {K}\n", "known", 2),
        (f"@cert-authority web {K}\n", "unknown", None),
        (f"@new web {K}\n", "changed", 1),
        ("web\n", "changed", 1),
    ],
)
def test_the_decisive_line_is_found(text: str, state: str, line: int | None) -> None:
    found, entry = look_up(text.encode(), service_names("web", 7022), key(1))
    assert (found, entry and entry.line) == (state, line)


def test_a_port_is_part_of_the_name() -> None:
    assert service_names("Web", 7022) == ("web", "[web]:7022")
    assert service_names("web", 7023) == ("[web]:7023",)
    for name in ("", "a b", "a,b", "*", "a\nb"):
        with pytest.raises(KnownHostsError):
            service_names(name, 7022)


def test_names_may_be_hashed() -> None:
    salt = bytes(20)
    parts = [base64.b64encode(part).decode() for part in (salt, hmac.digest(salt, b"web", "sha1"))]
    assert names_service(f"|1|{parts[0]}|{parts[1]}", ("web",))
    for other in (f"|1|{parts[1]}|{parts[0]}", f"|2|{parts[0]}|{parts[1]}", "|1|!|!", "|1", "|1|é|é"):
        assert not names_service(other, ("web",))


def test_what_is_wrong_with_a_key_is_kept() -> None:
    [entry] = host_lines(b"web ssh-ed25519 !\n")
    assert (entry.key, entry.problem) == (None, "the key is not valid base64")
