"""Fields of features: sent to a peer that has announced them, and never to one that has not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.features import FEATURES, known_features, left_out
from farhand_protocol.outcome import Exited
from farhand_protocol.states import Side
from tests.support.pairs import ACCEPTED, RUN_ID, hello, message, run, sent, welcome

LEFT = m.LeftProcesses(count=2, names=("sleep", "ssh-agent"), stopped=True)
INFO = m.RunInfo(id=RUN_ID, owner="ada", command="x", began=1, duration=1, stdout=0, stderr=0, left_processes=LEFT)
ENDED = m.Ended(outcome=Exited(code=0), stdout=0, stderr=0, duration=1, left_processes=LEFT)


def ready(side: Side, features: tuple[str, ...]) -> Connection:
    """Return one side of a connection on which requests may be sent, whose peer has announced `features`."""
    connection = Connection(side)
    if side is Side.CLIENT:
        connection.send(0, hello())
        list(connection.receive_data(message(0, welcome(features=features)) + message(0, ACCEPTED)))
    else:
        list(connection.receive_data(message(0, hello(features=features))))
        connection.send(0, welcome())
        connection.send(0, ACCEPTED)
    connection.data_to_send()
    return connection


def sent_by_service(features: tuple[str, ...], request: m.Message, *answers: m.Message) -> list[m.Message]:
    """Return what a service sends as `answers` to a client that has announced `features`."""
    service = ready(Side.SERVER, features)
    list(service.receive_data(message(1, request)))
    for answer in answers:
        service.send(1, answer)
    return [frame.message for frame in sent(service)]


def sent_by_client(features: tuple[str, ...], request: m.Message) -> m.Message:
    """Return the request that a client sends to a service that has announced `features`."""
    client = ready(Side.CLIENT, features)
    client.open(request)
    return sent(client)[0].message


STARTED = m.Started(pid=7)


def test_a_peer_that_knows_no_transfers_is_not_told_which_runs_are_some() -> None:
    moving = INFO.model_copy(update={"transfer": True})
    others = tuple(feature for feature in FEATURES if feature != "files")
    assert sent_by_service(FEATURES, m.List(), m.Runs(runs=(moving,))) == [m.Runs(runs=(moving,))]
    assert sent_by_service(others, m.List(), m.Runs(runs=(moving,))) == [m.Runs(runs=(INFO,))]


def test_a_peer_that_knows_no_forwards_is_not_told_which_runs_are_tunnels() -> None:
    tunnel = INFO.model_copy(update={"forward": True})
    others = tuple(feature for feature in FEATURES if feature != "forwards")
    assert sent_by_service(FEATURES, m.List(), m.Runs(runs=(tunnel,))) == [m.Runs(runs=(tunnel,))]
    assert sent_by_service(others, m.List(), m.Runs(runs=(tunnel,))) == [m.Runs(runs=(INFO,))]


def test_a_peer_that_knows_all_features_receives_every_field() -> None:
    assert sent_by_service(FEATURES, run(), STARTED, ENDED) == [STARTED, ENDED]
    assert sent_by_service(FEATURES, m.List(), m.Runs(runs=(INFO,))) == [m.Runs(runs=(INFO,))]
    request = run(leave_processes=True)
    assert sent_by_client(FEATURES, request) == request
    deliver = m.Deliver(id=RUN_ID, number=15, kill_after=5.0)
    assert sent_by_client(FEATURES, deliver) == deliver


def test_a_peer_without_features_receives_only_the_fields_that_it_knows() -> None:
    older = ENDED.model_copy(update={"left_processes": None})
    assert sent_by_service((), run(), STARTED, ENDED) == [STARTED, older]
    listed = INFO.model_copy(update={"left_processes": None})
    assert sent_by_service((), m.List(), m.Runs(runs=(INFO, INFO))) == [m.Runs(runs=(listed, listed))]
    assert left_out("accepted", frozenset()) == {"ticket": True, "ticket_secret": True}
    assert left_out("service_status", frozenset({"service-status"})) == {"shares": True, "holds": True}
    client = ready(Side.CLIENT, ())
    client.open(run())
    assert b"leave_processes" not in b"".join(client.data_to_send())


def test_features_that_a_peer_has_made_up_change_nothing() -> None:
    assert left_out("ended", frozenset({"no-such-feature"})) == left_out("ended", frozenset())


@pytest.mark.parametrize("kind", [m.RunRequest, m.Ended, m.Deliver, m.RunInfo, m.Accepted, m.ServiceStatus])
def test_every_field_of_a_feature_is_optional(kind: type[BaseModel]) -> None:
    excluded: dict[str, Any] = (
        left_out("runs" if kind is m.RunInfo else kind.model_fields["type"].default, frozenset()) or {}
    )
    names = excluded["runs"]["__all__"] if kind is m.RunInfo else excluded
    assert names
    assert all(not kind.model_fields[name].is_required() for name in names)


def test_messages_without_such_fields_are_sent_whole() -> None:
    assert left_out("started", frozenset()) is None
    assert left_out("ended", frozenset(FEATURES)) is None


def test_connections_with_the_same_features_share_them_and_unknown_ones_are_not_kept() -> None:
    announced = {"shares", "run-details", "a feature of a later version"}
    known = known_features(frozenset(announced))
    assert known == {"shares", "run-details"}
    assert known_features(frozenset({"run-details", "shares", "another"})) is known
