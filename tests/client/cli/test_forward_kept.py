"""Kept forwards are shown as a table or as JSON, and changed by the process that has them."""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from typing import Any

import pytest

from farhand_client.cli import forward_kept
from farhand_client.cli.forward_kept import cancel_all, change_kept, keep_forwards, list_kept
from farhand_client.errors import AddressError
from farhand_client.forwards.specs import parse_spec
from farhand_client.kept.place import KeptError, KeptPlace, kept_place
from farhand_client.kept.requests import ControlRequest

SPEC = parse_spec("-L", "0:db:80")


def forward_report(**changes: Any) -> dict[str, Any]:
    report = {"forward": str(SPEC), "listen": "localhost:43210", "port": 43210, "since": time.time() - 200}
    return report | {"connections": 3, "open": 1, "refused": 0, "sent": 5, "received": 2_000_000} | changes


def report(**changes: Any) -> dict[str, Any]:
    base = {"host": "web", "pid": 7, "state": "connected", "state_since": time.time() - 90, "log": "/state/web.log"}
    return base | {"forwards": [forward_report()]} | changes


def options(**changes: Any) -> argparse.Namespace:
    base: dict[str, Any] = {"host": "web", "json": False, "add": False, "all": False, "forwards": []}
    return argparse.Namespace(**base | {"connect_timeout": 3.0, "reconnect": None, "identity": []} | changes)


class Asked:
    """A kept process that records what it is asked."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.requests: list[ControlRequest] = []

    def __call__(self, place: KeptPlace, request: ControlRequest, timeout: float = 5.0) -> dict[str, Any]:
        self.requests.append(request)
        return self.answer


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked(report())
    monkeypatch.setattr(forward_kept, "ask", asked)
    monkeypatch.setattr(forward_kept, "kept_places", lambda: [kept_place("web")])
    monkeypatch.setattr(KeptPlace, "is_alive", lambda self: True)
    return asked


@pytest.fixture(autouse=True)
def runtime(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_the_table_has_a_line_for_each_forward_and_names_the_log(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = forward_report(error="another program\x1b listens there")
    asked.answer = report(forwards=[forward_report(), failed])
    assert list_kept(options(host=None)) == 0
    head, first, second, note = capsys.readouterr().out.splitlines()
    assert re.split(" {2,}", head) == [
        "HOST", "FORWARD", "LISTENING", "AGE", "CONNECTIONS", "SENT", "RECEIVED", "STATE",
    ]  # fmt: skip
    cells = ["web", "-L 0:db:80", "localhost:43210", "3 min", "1 of 3", "5 bytes", "1.9 MiB", "connected"]
    assert re.split(" {2,}", first) == cells
    assert second.endswith(r"not listening: another program\x1b listens there")
    assert note == "web: pid 7, log /state/web.log"


def test_the_table_says_how_long_it_has_been_reconnecting(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    asked.answer = report(state="reconnecting", error="cut")
    list_kept(options(host=None))
    assert capsys.readouterr().out.splitlines()[1].endswith("reconnecting for 90 s")


def test_json_has_an_object_for_each_host(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert list_kept(options(json=True)) == 0
    assert json.loads(capsys.readouterr().out) == asked.answer


def test_a_host_without_kept_forwards_is_named_with_those_that_have_some(asked: Asked) -> None:
    with pytest.raises(KeptError, match=r"no forwards of db are kept; there are some of web; farhand forward -f db"):
        list_kept(options(host="db"))


def test_added_forwards_print_the_ports_that_were_chosen(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    asked.answer = report(added=[forward_report()])
    assert change_kept(options(add=True, forwards=[SPEC])) == 0
    assert asked.requests == [ControlRequest("add", (SPEC,))]
    assert capsys.readouterr().out == "43210\n"


def test_a_second_process_is_not_started(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    asked.answer = report(added=[forward_report()])
    assert keep_forwards(options(forwards=[SPEC])) == 0
    assert asked.requests == [ControlRequest("add", (SPEC,))]


def test_forwards_are_cancelled_one_by_one_or_all(asked: Asked) -> None:
    assert change_kept(options(forwards=[SPEC])) == 0
    assert change_kept(options(all=True)) == 0
    assert asked.requests == [ControlRequest("cancel", (SPEC,)), ControlRequest("end")]


def test_the_forwards_of_all_hosts_are_cancelled_at_once_even_if_one_process_has_just_ended(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward_kept, "kept_places", lambda: [kept_place(host) for host in ("web", "gone", "db")])
    kept_place("db").socket.touch()

    def ask(place: KeptPlace, request: ControlRequest, timeout: float = 5.0) -> dict[str, Any]:
        if place == kept_place("gone"):
            raise KeptError("it has ended")
        return asked(place, request, timeout)

    monkeypatch.setattr(forward_kept, "ask", ask)
    assert cancel_all(options(host=None, all=True)) == 0
    assert asked.requests == [ControlRequest("end"), ControlRequest("end")]
    kept_place("gone").socket.touch()
    with pytest.raises(KeptError, match="it has ended"):
        cancel_all(options(host=None, all=True))


def test_a_wrong_host_is_refused_before_anything_is_started(asked: Asked) -> None:
    with pytest.raises(AddressError):
        keep_forwards(options(host="a b", forwards=[SPEC]))
    assert os.listdir(kept_place("web").lock.parent) == []  # noqa: PTH208  # only names


def test_a_process_that_does_not_answer_is_reported(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(place: KeptPlace, request: ControlRequest, timeout: float = 5.0) -> dict[str, Any]:
        raise KeptError("it did not answer")

    monkeypatch.setattr(forward_kept, "ask", ask)
    kept_place("web").socket.touch()
    assert list_kept(options(host=None)) == 0
    assert capsys.readouterr().err == "farhand: it did not answer\n"
    kept_place("web").socket.unlink()
    assert list_kept(options(host=None)) == 0
    assert capsys.readouterr().err == ""
