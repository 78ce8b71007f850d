"""Of every keyword of ssh it is known what `farhand rsh` does about it."""

from __future__ import annotations

from typing import Any

import pytest

from farhand_client.sshconfig.keywords import SSH_KEYWORDS
from farhand_client.sshconfig.uses import USES, refusals, warnings


def test_every_keyword_has_a_use() -> None:
    gone = {name for name, form in SSH_KEYWORDS.items() if form in ("deprecated", "unsupported")}
    assert USES.keys() - {"usekeychain"} == SSH_KEYWORDS.keys() - gone - {"usekeychain"}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"tunnel": "yes"}, "farhand rsh makes no tunnel devices (-w, Tunnel); forward ports with -L, -R or -D"),
        ({"bindaddress": "x"}, "farhand rsh lets the system choose the address to connect from (-b, bindaddress)"),
        ({"pubkeyauthentication": "no"}, "Farhand logs in with keys, and PubkeyAuthentication is off"),
        ({"refuseconnection": "moved"}, "RefuseConnection in ssh's configuration: moved"),
        ({"tunnel": "no", "permitremoteopen": ["any"], "remoteforward": ["1"]}, None),
    ],
)
def test_what_cannot_be_done_is_refused(values: dict[str, Any], sentence: str | None) -> None:
    assert next(refusals(values), None) == sentence


def test_what_is_left_out_is_said() -> None:
    values = {"forwardx11": "yes", "permitlocalcommand": "yes", "localcommand": "x"}
    assert list(warnings(values, ":0")) == [
        "X11 forwarding request failed on channel 0",
        "farhand rsh does not run LocalCommand",
    ]
    assert list(warnings(values, "")) == ["farhand rsh does not run LocalCommand"]
