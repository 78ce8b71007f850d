"""Signals, and how a run on the direct path is stopped."""

from __future__ import annotations

import os
import signal

import pytest

from farhand_protocol import messages as m
from farhand_protocol.outcome import Killed
from tests.support.direct_peers import STARTED, Peer, acting, ended, out
from tests.support.fake_runs import ID
from tests.support.pairs import message


def test_ctrl_c_is_passed_on_once_and_the_second_one_leaves(capfd: pytest.CaptureFixture[str]) -> None:
    def script(peer: Peer) -> None:
        peer.until(m.RunRequest)
        peer.send(STARTED, message(0, m.Ping(id=1)))
        peer.until(m.Pong)
        os.kill(os.getpid(), signal.SIGINT)
        assert peer.until(m.Signal) == m.Signal(number=signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        peer.until(m.Stop)
        peer.until(m.Close)

    with acting(script) as run:
        assert run.go() == 130
    assert capfd.readouterr().err == f"farhand: abandoned run {ID}; the service stops it\n"


def test_a_stop_throws_output_away_and_waits_for_the_end(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    def script(peer: Peer) -> None:
        peer.until(m.RunRequest)
        peer.send(STARTED, out(b"seen"), message(0, m.Ping(id=1)))
        peer.until(m.Pong)
        os.kill(os.getpid(), signal.SIGTERM)
        peer.until(m.Stop)
        peer.send(out(b"unseen"), ended(Killed(reason="requested", signal=15), 10))
        peer.until(m.Close)

    with acting(script) as run:
        assert run.go() == 143
    assert capfdbinary.readouterr().out == b"seen"


@pytest.mark.parametrize(("options", "stops"), [((), True), (("--on-disconnect", "keep"), False)])
def test_a_second_signal_waits_no_longer_and_a_kept_run_is_left_at_once(options: tuple[str, ...], stops: bool) -> None:
    def script(peer: Peer) -> None:
        peer.until(m.RunRequest)
        os.kill(os.getpid(), signal.SIGINT)
        if stops:
            peer.until(m.Stop)
            os.kill(os.getpid(), signal.SIGINT)
        peer.until(m.Close)

    with acting(script, *options) as run:
        assert run.go() == 130


def test_nobody_reads_stdout_any_more() -> None:
    def script(peer: Peer) -> None:
        peer.until(m.RunRequest)
        peer.send(STARTED, out(b"for nobody"))
        peer.until(m.Stop)
        peer.send(ended(Killed(reason="requested", signal=15), 10))
        peer.until(m.Close)

    reading, writing = os.pipe()
    kept = os.dup(1)
    os.dup2(writing, 1)
    os.close(writing)
    try:
        with acting(script) as run:
            os.close(reading)
            assert run.go() == 141
    finally:
        os.dup2(kept, 1)
        os.close(kept)
