"""A connection of a forward says what it is, while it lasts and afterwards."""

from __future__ import annotations

import pickle
import time

import pytest

from farhand_client import ForwardError
from farhand_client.forwards.reports import ForwardedConnection
from farhand_forwards.targets import InetTarget


def test_a_connection_that_was_refused_has_counted_nothing() -> None:
    before = time.time()
    connection = ForwardedConnection("127.0.0.1:5000", InetTarget("web", 80))
    assert before <= connection.began <= time.time()
    assert (connection.address, connection.sent, connection.received, connection.error) == (None, 0, 0, None)
    assert repr(connection) == "<ForwardedConnection from 127.0.0.1:5000 to web:80, 0 bytes sent, 0 received>"
    connection.error = ForwardError("refused", "nothing listens there")
    assert repr(connection).endswith("0 received, nothing listens there>")


def test_a_connection_refuses_to_be_pickled() -> None:
    with pytest.raises(TypeError, match="a connection of a forward cannot be pickled"):
        pickle.dumps(ForwardedConnection("", None))
