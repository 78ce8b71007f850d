"""A user's ids are those of the databases."""

from __future__ import annotations

import pytest

from farhand_server.credentials import Credentials


def test_credentials_are_those_of_the_account() -> None:
    root = Credentials.of(0)
    assert (root.user, root.uid, root.gid) == ("root", 0, 0)
    assert 0 in root.groups


def test_a_uid_without_an_account_raises() -> None:
    with pytest.raises(KeyError):
        Credentials.of(3_999_999_999)
