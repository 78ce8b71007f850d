"""`farhand export` saves a run's output, with its timing, for asciinema's players."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Exited, SpawnFailed
from tests.support.command import Finished, farhand, running
from tests.support.fake_listing import info
from tests.support.fake_recordings import output_of, recorded
from tests.support.fake_runs import ID
from tests.support.fake_service import FakeConnection, FakeRun, FakeService

ENDED = Exited(code=3)
TERMINAL = info(
    command="vim é", outcome=ENDED, terminal=m.WindowSize(columns=120, rows=40), began=1000.5, duration=9.25
)


async def exported(service: FakeService, *options: str) -> tuple[dict[str, Any], list[list[Any]], bytes]:
    """Return the header, the events, and the messages on stderr."""
    done = await farhand("export", "--asciicast", "-", *options, service.host, ID[:13])
    assert done.code == 0, done.stderr
    header, *events = [json.loads(line) for line in done.stdout.decode().splitlines()]
    return header, events, done.stderr


async def test_a_run_on_a_terminal_is_exported_with_its_size(service: FakeService) -> None:
    service.behave = output_of("$ größe\r\n$ ".encode())
    marks = [
        m.OutputMark(at=0, size=m.WindowSize(columns=80, rows=24)),
        m.OutputMark(at=100, stdout=2),
        m.OutputMark(at=200, stdin=b"gr"),
        m.OutputMark(at=300, stdout=5),
        m.OutputMark(at=400, size=m.WindowSize(columns=120, rows=40)),
        m.OutputMark(at=2500, stdout=13),
    ]
    service.answer = recorded(TERMINAL, *marks)
    header, events, output = await exported(service, "--title", "how to")
    assert header == {
        "version": 2,
        "width": 80,
        "height": 24,
        "timestamp": 1000,
        "duration": 9.25,
        "command": "vim é",
        "title": "how to",
    }
    assert events == [
        [0.1, "o", "$ "],
        [0.2, "i", "gr"],
        [0.3, "o", "gr"],
        [0.4, "r", "120x40"],
        [2.5, "o", "öße\r\n$ "],
    ]
    assert output == b""
    asked = service.runs[-1].attach
    assert asked is not None
    assert (asked.stdout, asked.stderr, asked.follow, asked.hold, asked.read_only) == (0, None, False, False, True)


async def test_without_a_terminal_both_streams_are_exported_in_order_of_time(service: FakeService) -> None:
    service.behave = output_of(b"a\nb\n", b"err\n")
    service.answer = recorded(
        info(command="make", outcome=ENDED),
        m.OutputMark(at=0, stdout=2),
        m.OutputMark(at=10, stderr=4),
        m.OutputMark(at=20, stdout=4),
    )
    header, events, _ = await exported(service)
    assert (header["width"], header["height"]) == (80, 24)
    assert events == [[0.0, "o", "a\r\n"], [0.01, "o", "err\r\n"], [0.02, "o", "b\r\n"]]


async def test_missing_output_is_marked_and_takes_no_time(service: FakeService) -> None:
    service.behave = output_of(b"forgotten, kept", dropped=11)
    marks = [
        m.OutputMark(at=0, size=m.WindowSize(columns=80, rows=24)),
        m.OutputMark(at=2000, size=m.WindowSize(columns=100, rows=30)),
        m.OutputMark(at=4000, stdout=10),
        m.OutputMark(at=6000, stdout=15),
    ]
    service.answer = recorded(TERMINAL, *marks)
    header, events, output = await exported(service)
    gap = "11 bytes of stdout from offset 0 on are no longer kept"
    assert (header["width"], header["height"]) == (100, 30)
    assert (header["timestamp"], header["duration"]) == (1006, 3.25)
    assert events == [[0.0, "m", gap], [0.0, "o", "kept"]]
    assert output == f"farhand: {gap}\n".encode()


async def test_a_running_run_is_exported_up_to_now(service: FakeService) -> None:
    service.behave = output_of(b"so far", running=True)
    service.answer = recorded(info(outcome=None), m.OutputMark(at=5, stdout=6))
    header, events, output = await exported(service)
    assert "duration" not in header
    assert events == [[0.005, "o", "so far"]]
    assert output == f"farhand: run {ID} is still running; the recording ends here\n".encode()


async def test_a_run_without_output_has_a_recording(service: FakeService) -> None:
    service.behave = output_of(b"")
    service.answer = recorded(info(outcome=ENDED))
    header, events, _ = await exported(service)
    assert (header["version"], events) == (2, [])


async def test_a_file_is_replaced_as_a_whole(service: FakeService, tmp_path: Path) -> None:
    service.behave = output_of(b"x")
    service.answer = recorded(TERMINAL)
    file = tmp_path / "a cast"
    assert await export(service, file) == Finished(0, b"", b"")
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text().splitlines()[0])["version"] == 2
    file.chmod(0o644)
    link = tmp_path / "link"
    link.symlink_to(file)
    file.write_text("what was there")
    assert await export(service, link) == Finished(0, b"", b"")
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o644
    assert len(file.read_text().splitlines()) == 2
    assert sorted(path.name for path in tmp_path.iterdir() if "cast" in path.name) == ["a cast"]


async def test_an_incomplete_export_leaves_the_file_unchanged(service: FakeService, tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write_rest("stdout", b"half")
        run.client.flush()
        run.client.cut()

    service.behave = behave
    service.answer = recorded(TERMINAL)
    file = tmp_path / "cast"
    file.write_text("what was there")
    done = await export(service, file, "--reconnect", "0")
    assert (done.code, b"closed by the peer" in done.stderr) == (255, True)
    assert file.read_text() == "what was there"
    assert [path.name for path in tmp_path.iterdir() if "cast" in path.name] == ["cast"]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [("missing/cast", b"No such file or directory"), (".", b"Is a directory"), ("/dev/full", b"No space left")],
)
async def test_an_unwritable_file_is_reported(service: FakeService, tmp_path: Path, path: str, sentence: bytes) -> None:
    service.behave = output_of(b"x")
    service.answer = recorded(TERMINAL)
    done = await export(service, tmp_path / path)
    assert (done.code, done.stderr.count(b"\n")) == (255, 1)
    assert done.stderr.startswith(f"farhand: cannot write {tmp_path / path}: ".encode())
    assert sentence in done.stderr


async def test_a_refusal_is_reported_and_creates_no_file(service: FakeService, tmp_path: Path) -> None:
    def refuse(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        if isinstance(question, m.RecordingRequest):
            fake.send(m.Error(code=ErrorCode.EXPIRED, message="it is kept no more"), channel)
        else:
            recorded(TERMINAL)(fake, channel, question)

    service.answer = refuse
    file = tmp_path / "cast"
    done = await export(service, file)
    assert (done.code, b"it is kept no more" in done.stderr, file.exists()) == (255, True, False)


async def test_a_run_that_did_not_start_has_no_recording(service: FakeService, tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.ended(SpawnFailed(errno=2, error="ENOENT", what="program", message="there is no program x"))

    service.behave = behave
    service.answer = recorded(TERMINAL)
    done = await export(service, tmp_path / "cast")
    assert (done.code, (tmp_path / "cast").exists()) == (255, False)
    assert b"there is no program x" in done.stderr


async def test_a_pipe_is_written_to_as_data_arrives(service: FakeService, tmp_path: Path) -> None:
    service.behave = output_of(b"x" * 300_000)
    service.answer = recorded(TERMINAL)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = asyncio.create_task(asyncio.to_thread(pipe.read_bytes))
    assert await export(service, pipe) == Finished(0, b"", b"")
    lines = (await reading).decode().splitlines()
    assert "".join(json.loads(line)[2] for line in lines[1:]) == "x" * 300_000


async def test_a_closed_stdout_ends_the_export_with_141(service: FakeService) -> None:
    service.behave = output_of(b"x" * 1_000_000)
    service.answer = recorded(TERMINAL)
    reading, writing = os.pipe()
    async with running("export", "--asciicast", "-", service.host, ID, stdout=writing) as process:
        os.close(writing)
        await asyncio.to_thread(os.read, reading, 10)
        os.close(reading)
        _, stderr = await process.communicate()
        assert (process.returncode, stderr) == (141, b"")


async def test_the_output_format_is_required(service: FakeService) -> None:
    done = await farhand("export", service.host, ID)
    assert (done.code, b"--asciicast" in done.stderr) == (2, True)


async def export(service: FakeService, file: Path, *options: str) -> Finished:
    return await farhand("export", "--asciicast", str(file), *options, service.host, ID)
