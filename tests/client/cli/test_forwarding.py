"""Forwards of a command: read from its options, made all or none, ended with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, cast

import pytest

from farhand_client.cli.forwarding import (
    RequestedForwards,
    add_forward_options,
    asks_for_any_port,
    print_chosen_port,
    print_refused,
    requested_forwards,
    trouble_sentence,
    with_local_paths,
)
from farhand_client.connection.address import Address
from farhand_client.errors import ConnectionLost, ForwardError
from farhand_client.forwards.reports import ForwardedConnection, ForwardEvent
from farhand_client.forwards.specs import ForwardSpec, parse_spec
from farhand_forwards.targets import InetTarget

SPEC = parse_spec("-L", "0:db:80")


class FakeForward:
    """A forward that a `FakeClient` has made."""

    def __init__(self, spec: ForwardSpec) -> None:
        self.spec = spec
        self.port = 43210
        self.open = True

    async def __aenter__(self) -> FakeForward:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.open = False


class FakeClient:
    """Makes forwards, but none of the port 1."""

    def __init__(self) -> None:
        self.made: list[FakeForward] = []
        self.watches: list[Any] = []

    async def forward(self, spec: ForwardSpec, *, watch: Any) -> FakeForward:
        self.watches.append(watch)
        if cast(InetTarget, spec.listen).port == 1:
            raise ForwardError("busy", "another program listens there")
        self.made.append(FakeForward(spec))
        return self.made[-1]


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_forward_options(parser)
    return parser.parse_args(words)


def test_the_options_are_read_in_their_order() -> None:
    requested = requested_forwards(options("-L", "1:db:80", "-D", "2", "-R3:db:80"))
    assert [str(spec) for spec in requested.specs] == ["-L 1:db:80", "-D 2", "-R 3:db:80"]
    assert requested
    assert not requested_forwards(options())


def test_an_agent_is_forwarded_only_if_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/agent")
    asked = options("-A")
    asked.host = "web"
    assert requested_forwards(options()).agent is None
    assert requested_forwards(asked) == RequestedForwards((), "/tmp/agent")
    monkeypatch.delenv("SSH_AUTH_SOCK")
    with pytest.raises(ValueError, match="SSH_AUTH_SOCK names none"):
        requested_forwards(asked)


@pytest.mark.parametrize("written", ["/tmp/other", "none"])
def test_the_agent_is_the_one_that_is_configured_for_the_host(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/agent")
    agent = "" if written == "none" else written
    monkeypatch.setattr("farhand_client.connection.address.resolve", lambda host, config: Address(host, agent=agent))
    asked = options("-A")
    asked.host = "web"
    if agent:
        assert requested_forwards(asked).agent == "/tmp/other"
    else:
        with pytest.raises(ValueError, match="IdentityAgent of ssh's configuration is none"):
            requested_forwards(asked)


async def test_all_live_as_long_as_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    client, events = FakeClient(), []
    specs = (SPEC, parse_spec("-R", "2:db:80"))
    async with RequestedForwards(specs).opened(
        cast(Any, client), lambda spec, event: events.append((spec, event)), print_chosen_port
    ) as opened:
        assert opened.variables == {}
        assert [forward.open for forward in client.made] == [True, True]
        client.watches[1](ForwardEvent("restored"))
    assert [forward.open for forward in client.made] == [False, False]
    assert events == [(specs[1], ForwardEvent("restored"))]
    assert capsys.readouterr().err == "farhand: -L 0:db:80: listening on port 43210\n"


async def test_if_one_cannot_be_made_none_is_and_nothing_is_said_of_the_others() -> None:
    client = FakeClient()
    said: list[Any] = []
    with pytest.raises(ForwardError, match=r"^-L 1:db:80: another program listens there; choose another port, or 0"):
        async with RequestedForwards((SPEC, parse_spec("-L", "1:db:80"))).opened(
            cast(Any, client), lambda spec, event: None, said.append
        ):
            raise AssertionError("not reached")
    assert [forward.open for forward in client.made] == [False]
    assert said == []


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (ForwardEvent("opened"), None),
        (ForwardEvent("closed"), None),
        (
            ForwardEvent("refused", ForwardedConnection("127.0.0.1:5", InetTarget("db", 80)), OSError("no")),
            "-L 0:db:80: the connection from 127.0.0.1:5 to db:80 was refused: no",
        ),
        (
            ForwardEvent("closed", ForwardedConnection("", None), OSError("reset")),
            "-L 0:db:80: the connection ended early: reset",
        ),
        (ForwardEvent("lost", error=ConnectionLost("gone")), "-L 0:db:80: not listening any more, trying again: gone"),
        (ForwardEvent("restored"), "-L 0:db:80: listening again"),
        (ForwardEvent("failed", error=ConnectionLost("gone")), "-L 0:db:80: ended: gone"),
    ],
)
def test_what_goes_wrong_is_said(event: ForwardEvent, sentence: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    assert trouble_sentence(SPEC, event) == sentence
    print_refused(SPEC, event)
    assert capsys.readouterr().err == (f"farhand: {sentence}\n" if sentence else "")


def test_sockets_here_get_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    specs = [parse_spec("-L", "./a:./b"), parse_spec("-R", "./a:./b"), parse_spec("-R", "1:db:80"), SPEC]
    assert [spec.text for spec in with_local_paths(specs)] == [
        f"{tmp_path}/a:./b",
        f"./a:{tmp_path}/b",
        "1:db:80",
        "0:db:80",
    ]


def test_a_port_is_chosen_where_it_is_zero() -> None:
    texts = ["0:db:80", "1:db:80", "/tmp/s:db:80"]
    assert [asks_for_any_port(parse_spec("-L", text)) for text in texts] == [True, False, False]
