"""The error about a login says which keys were tried, which were not, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client.connection.refusal import MAX_KEYS_SHOWN, refusal_text
from farhand_client.trust import AgentError, IdentityError
from farhand_client.trust.identities import Identities


class KnownIdentities(Identities):
    """Identities whose state a test sets."""

    def __init__(self, untried: list[str], not_named: int = 0) -> None:
        super().__init__(named=[Path("key")])
        self.not_named = not_named
        self._descriptions = untried

    @property
    def untried(self) -> list[str]:
        return self._descriptions


AUTHORIZE = "To accept a public key, run on the service's machine as ann: farhandd authorize KEYFILE.pub"


def test_beyond_the_limit_of_the_service_the_other_keys_and_what_to_do_are_named() -> None:
    text = refusal_text("web", "ann", ["a", "b"], KnownIdentities(["c", "d"]), attempts_used_up=True)
    assert text.splitlines() == [
        "web does not accept a login as ann with any of these keys:",
        "  a",
        "  b",
        "It allows 2 keys on one connection; these were not tried:",
        "  c",
        "  d",
        "If one of them is right, name it with -I FILE, or as `identities` in config.toml; "
        "for a key of the agent its .pub file will do",
        AUTHORIZE,
    ]


def test_perhaps_another_account_was_meant_than_the_one_of_the_same_name_as_here() -> None:
    text = refusal_text("web:1", "ann", ["a"], KnownIdentities([]), attempts_used_up=False, same_user_here=True)
    assert "\nann is the name of your account here; for another one there, write USER@web:1\n" in text
    assert "USER@" not in refusal_text("web:1", "ann", ["a"], KnownIdentities([]), attempts_used_up=False)


def test_a_long_list_of_keys_is_cut() -> None:
    names = [str(number) for number in range(MAX_KEYS_SHOWN + 3)]
    lines = refusal_text("web", "ann", ["a"], KnownIdentities(names), attempts_used_up=True).splitlines()
    assert lines[3 : 3 + MAX_KEYS_SHOWN + 1] == [*(f"  {name}" for name in names[:MAX_KEYS_SHOWN]), "  … and 3 more"]


@pytest.mark.parametrize("tried", [[], ["a"]])
def test_keys_of_the_agent_that_were_not_named_are_counted(tried: list[str]) -> None:
    text = refusal_text("web", "ann", tried, KnownIdentities([], not_named=1), attempts_used_up=False)
    assert "Only the keys named by -I or identities were tried, not the 1 other key of the ssh-agent" in text


def test_problems_come_first_if_no_key_was_tried_and_after_the_tried_keys_otherwise() -> None:
    identities = KnownIdentities([])
    identities.problems += [AgentError("no agent")]
    assert refusal_text("web", "ann", [], identities, attempts_used_up=False) == "cannot log in to web as ann: no agent"
    identities.problems += [IdentityError("no file")]
    assert refusal_text("web", "ann", [], identities, attempts_used_up=False).splitlines() == [
        "cannot log in to web as ann; no key could be used:",
        "  no agent",
        "  no file",
    ]
    assert refusal_text("web", "ann", ["a"], identities, attempts_used_up=False).splitlines()[1:] == [
        "  a",
        "  not tried: no agent",
        "  not tried: no file",
        AUTHORIZE,
    ]
