"""`farhand trust` records a host key only if it is right; `farhand ping` prints who answers, `status` how it is."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_protocol.features import FEATURES
from tests.support.command import Finished, farhand
from tests.support.fake_service import FakeConnection, FakeService, welcome
from tests.support.fake_tls import port, record, tls_service

WRONG = "SHA256:" + "A" * 43


async def trust(directory: Path, service: FakeService, *fingerprint: str) -> Finished:
    env = os.environ | {"XDG_CONFIG_HOME": str(directory / "config")}
    return await farhand("trust", f"127.0.0.1:{port(service)}", *fingerprint, env=env)


async def test_the_expected_key_is_recorded(tmp_path: Path) -> None:
    async with tls_service(tmp_path, known=False) as (service, key):
        name = f"127.0.0.1:{port(service)}"
        for fingerprint in (key.fingerprint, key.fingerprint + "="):
            done = await trust(tmp_path, service, fingerprint)
            printed = f"the host key of {name} is {key.fingerprint} ({record(tmp_path).path})\n"
            assert (done.code, done.stdout.decode(), done.stderr) == (0, printed, b"")
        assert record(tmp_path).path.read_text().count("ssh-ed25519") == 1


async def test_another_key_is_not_recorded(tmp_path: Path) -> None:
    async with tls_service(tmp_path, known=False) as (service, key):
        done = await trust(tmp_path, service, WRONG)
        expected = f"has the key {key.fingerprint}, not {WRONG}; nothing was recorded"
        assert (done.code, done.stdout, expected in done.stderr.decode()) == (255, b"", True)
        assert not record(tmp_path).path.exists()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("md5:aa", "an MD5 fingerprint"),
        ("MD5:" + ":".join(["0f"] * 16), "an MD5 fingerprint"),
        (":".join(["0f"] * 16), "an MD5 fingerprint"),
        ("SHA256:short", "no fingerprint"),
        ("ssh-ed25519", "no fingerprint"),
    ],
)
async def test_what_is_no_fingerprint_is_refused_before_connecting(text: str, what: str) -> None:
    done = await farhand("trust", "127.0.0.1:1", text)
    assert done.code == 2
    assert f"{text!r} is {what}; write SHA256: and 43 characters" in done.stderr.decode()


async def test_in_a_script_an_unknown_key_is_not_recorded_without_a_fingerprint(tmp_path: Path) -> None:
    async with tls_service(tmp_path, known=False) as (service, key):
        done = await trust(tmp_path, service)
        assert (done.code, done.stdout, key.fingerprint in done.stderr.decode()) == (255, b"", True)
        assert not record(tmp_path).path.exists()


async def test_a_recorded_key_is_confirmed_without_a_question(tmp_path: Path) -> None:
    async with tls_service(tmp_path) as (service, key):
        done = await trust(tmp_path, service)
        assert (done.code, f" is {key.fingerprint}" in done.stdout.decode()) == (0, True)


async def test_the_expected_key_replaces_a_recorded_one(tmp_path: Path) -> None:
    async with tls_service(tmp_path / "other", known=False) as (_, other):
        pass
    async with tls_service(tmp_path, known=False) as (service, key):
        record(tmp_path).add("127.0.0.1", port(service), other)
        assert (await trust(tmp_path, service)).code == 255
        done = await trust(tmp_path, service, key.fingerprint)
        assert (done.code, b", which replaces another key (" in done.stdout) == (0, True)
        assert (await trust(tmp_path, service)).code == 0


async def test_a_service_that_does_not_answer_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        env = os.environ | {"XDG_CONFIG_HOME": str(tmp_path)}
        done = await farhand("trust", "--connect-timeout", "0.5", host, env=env)
        assert (done.code, b"did not answer within 0.5 seconds" in done.stderr) == (255, True)


async def test_ping_prints_who_answers_and_the_times(service: FakeService) -> None:
    done = await farhand("ping", "-c", "2", service.host)
    assert done.code == 0
    first, second, *times, summary = done.stdout.decode().splitlines()
    assert first == f"{service.host}: ann on fake"
    assert second == "fake/1, protocol 1, features: none"
    assert [line.split()[:2] for line in times] == [["round", "trip"]] * 2
    assert summary.startswith("min ")


@pytest.mark.parametrize("count", ["0", "1001", "x"])
async def test_ping_accepts_a_count_from_1_to_1000(service: FakeService, count: str) -> None:
    done = await farhand("ping", "-c", count, service.host)
    assert (done.code, f"{count!r} is not a number from 1 to 1000".encode() in done.stderr) == (2, True)


def knowing_status(service: FakeService, *faults: str, shares: tuple[m.ShareInfo, ...] = ()) -> None:
    """Let the service announce and answer the question for its status."""

    def answer(client: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        assert isinstance(question, m.StatusRequest)
        holds = m.LoopHolds(times=3, longest=0.2, total=0.3) if faults else m.LoopHolds()
        status = m.ServiceStatus(pid=7, uptime=1.5, runs=3, connections=2, faults=faults, shares=shares, holds=holds)
        client.send(status, channel)

    service.features, service.answer = FEATURES, answer


async def test_status_prints_how_a_service_is(service: FakeService) -> None:
    knowing_status(service)
    done = await farhand("status", service.host)
    assert (done.code, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [
        f"{service.host}: fake/1, pid 7: serving for 2 s",
        "3 runs, 2 connections",
    ]


async def test_faults_are_printed_and_the_exit_code_is_1(service: FakeService) -> None:
    knowing_status(service, "its disk is gone")
    done = await farhand("status", service.host)
    assert (done.code, done.stdout.decode().splitlines()[-2:]) == (
        1,
        ["fault: its disk is gone", "loop held 3 times for more than 50 ms: at most 0.200 s, 0.300 s in all"],
    )
    done = await farhand("status", "--json", service.host)
    assert json.loads(done.stdout) == {
        "pid": 7, "uptime": 1.5, "runs": 3, "connections": 2, "draining": False, "faults": ["its disk is gone"],
        "shares": [], "holds": {"times": 3, "longest": 0.2, "total": 0.3},
    }  # fmt: skip


async def test_shares_are_printed_after_everything_else(service: FakeService) -> None:
    knowing_status(service, shares=(m.ShareInfo(user="ann\x1b", resource="runs", used=3, limit=640),))
    done = await farhand("status", service.host)
    assert (done.code, done.stdout.decode().splitlines()[-1]) == (0, r"ann\x1b: 3 of 640 runs")


async def test_nothing_that_a_service_says_about_itself_controls_the_terminal(service: FakeService) -> None:
    knowing_status(service, "\x1b]0;all is well\x07\x9b2J\u202e\nfine")

    def greet(client: FakeConnection, message: m.AnyMessage) -> None:
        if isinstance(message, m.Hello):
            client.send(welcome(client, login=False).model_copy(update={"software": "fake\x1b[2J\r"}))
            client.send(m.Accepted(user="ann\x1b[2J", host="fake\x9b2J"))

    service.greet = greet
    for command in (["ping", "-c", "1"], ["status"], ["status", "--json"]):
        done = await farhand(*command, service.host)
        assert done.code in (0, 1)
        assert all(line.isprintable() for line in done.stdout.decode().split("\n"))
        assert len(done.stdout.splitlines()) <= 4


async def test_a_service_that_knows_no_status_is_not_asked(service: FakeService) -> None:
    done = await farhand("status", service.host)
    assert done.code == 255
    assert b"runs fake/1, which is too old to be asked for its status" in done.stderr
    assert service.questions == []
