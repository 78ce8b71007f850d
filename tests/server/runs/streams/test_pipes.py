"""A pipe can be enlarged; anything else is left as it is."""

from __future__ import annotations

import fcntl
import os

from farhand_server.runs.streams.pipes import PIPE_SIZE, enlarge_pipe


def test_a_pipe_is_enlarged_and_what_is_none_is_no_error() -> None:
    reading, writing = os.pipe()
    enlarge_pipe(writing, PIPE_SIZE)
    assert fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ) == PIPE_SIZE
    os.close(reading)
    os.close(writing)
    enlarge_pipe(writing, PIPE_SIZE)
